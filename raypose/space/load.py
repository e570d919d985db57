"""Reads a specification file and the options that override it, and reports every fault at once.

Runs in: command line, driver. Later wins: defaults, then the file, then the options.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from raypose.errors import SpecError
from raypose.space import yaml_lines
from raypose.space.explain import explain, show_path
from raypose.space.one_line import one_line
from raypose.space.schema import MAY_BE_EMPTY, Experiment
from raypose.space.yaml_lines import Document, YamlError, read_yaml

MAX_BYTES: Final = 256 * 1024
Fault = tuple[yaml_lines.Path, str]


def load_spec(
    spec: Path | Mapping[str, Any], overrides: Mapping[str, str] | None = None, *, single: bool = False
) -> Experiment:
    """Reads a file, lays the overrides over it and checks the whole.

    Args:
        spec: YAML file, or the saved copy of one; relative paths within it stay as written.
        overrides: YAML text by key, such as `train.epochs` or `space.lr`; what follows the first dot is one key.
        single: whether it is for a single training, which needs no space.

    Raises:
        SpecError: with all problems, those of the file in the order of its lines, then those of the options.
    """
    document = _read(spec) if isinstance(spec, Path) else Document(dict(spec), {}, [])
    data, changed, problems = _lay_over(document.data, overrides or {})
    located = [(line, f"{show_path(place)}: {text}" if place else text) for place, line, text in document.problems]
    experiment, faults = _validate({"space": {}, **data} if single else data, empty_space=single)
    broken = {place for place, _, _ in document.problems}
    for place, text in faults:
        if place in broken:
            continue
        if place[:2] in changed or place[:1] in changed:
            problems.append(f"--set {show_path(place)}: {text}")
        else:
            located.append((document.line(place), f"{show_path(place)}: {text}"))
    file = spec if isinstance(spec, Path) else None
    lines = [f"{file}:{line}: {text}" if file else text for line, text in sorted(located, key=lambda item: item[0])]
    if experiment is None or lines or problems:
        raise SpecError([one_line(problem) for problem in lines + problems])
    return experiment


def parse_spec(data: Mapping[str, Any], *, empty_space: bool = False) -> Experiment:
    """Checks plain data, such as the saved copy of a specification (`Experiment.model_dump(mode="json")`).

    `empty_space` allows that of a single training.

    Raises:
        SpecError: with all problems.
    """
    experiment, faults = _validate(dict(data) if isinstance(data, Mapping) else data, empty_space)
    if experiment is None:
        raise SpecError([one_line(f"{show_path(place)}: {text}" if place else text) for place, text in faults])
    return experiment


def _validate(data: object, empty_space: bool) -> tuple[Experiment | None, list[Fault]]:
    if not isinstance(data, dict):
        return None, [((), "expected keys with values, such as space: {lr: {log_uniform: [2.0e-4, 1.6e-2]}}")]
    try:
        return Experiment.model_validate(data, context=MAY_BE_EMPTY if empty_space else None), []
    except ValidationError as error:
        return None, explain(error)


def _read(path: Path) -> Document:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError([one_line(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}")]) from error
    except ValueError as error:  # a null byte in the name
        raise SpecError([one_line(f"{path}: is not the name of a file")]) from error
    if len(content) > MAX_BYTES:
        raise SpecError([one_line(f"{path}: is larger than {MAX_BYTES // 1024} KiB, which no specification is")])
    return _parse(path, content)


def _parse(path: Path, content: bytes) -> Document:
    try:
        document = read_yaml(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError([one_line(f"{path}:{line}: not text in UTF-8; save the file in that encoding")]) from error
    except YamlError as error:
        raise SpecError([one_line(f"{path}:{error.line}: {error.message}")]) from error
    if document.data is None and not document.problems:
        raise SpecError([one_line(f"{path}: is empty; name at least space, the knobs to explore")])
    if not isinstance(document.data, dict):
        line = 1 if not document.problems else document.problems[0][1]
        raise SpecError([one_line(f"{path}:{line}: expected keys with values at the top, such as space: {{...}}")])
    return document


def _lay_over(data: Any, overrides: Mapping[str, str]) -> tuple[Any, set[yaml_lines.Path], list[str]]:
    """The data with the overrides in place, the places they changed, and what is wrong with the options themselves."""
    problems: list[str] = []
    changed: set[yaml_lines.Path] = set()
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}
    for option, text in overrides.items():
        try:
            document = read_yaml(text)
        except YamlError as error:
            problems.append(f"--set {show_path((option,))}: {error.message}")
            continue
        problems += [f"--set {show_path((option,))}: {message}" for _, _, message in document.problems]
        section, dot, key = option.partition(".")
        if not dot:
            merged[section] = document.data
        elif isinstance(merged.get(section), dict):
            merged[section][key] = document.data
        elif merged.get(section) is None:  # missing, or null as in final: null
            merged[section] = {key: document.data}
            changed.add((section,))
        else:
            problems.append(f"--set {show_path((option,))}: {section} holds one value, no keys")
            continue
        changed.add((section, key) if dot else (section,))
    _move_knobs(merged, changed)
    return merged, changed, problems


def _move_knobs(merged: dict[str, Any], changed: set[yaml_lines.Path]) -> None:
    """An option that holds a knob takes it out of the file's space, and one that varies it out of the file's fixed."""
    for section, *knob in changed:
        other = {"space": "fixed", "fixed": "space"}.get(str(section), "")
        untouched = isinstance(merged.get(other), dict) and not {(other,), (other, *knob)} & changed
        if knob and untouched:
            merged[other].pop(knob[0], None)

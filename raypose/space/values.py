"""Knobs with their values, as options of a command give them. Runs in: command line."""

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from raypose.errors import SpecError
from raypose.space.by_knob import Values
from raypose.space.explain import explain, show_path
from raypose.space.knobs import Value
from raypose.space.one_line import one_line
from raypose.space.yaml_lines import YamlError, read_yaml


def parse_values(texts: Mapping[str, str], option: str) -> dict[str, Value]:
    """The values of knobs, each a YAML text. Raises SpecError with all problems, each after the option's name."""
    raw, problems = {}, []
    for knob, text in texts.items():
        try:
            document = read_yaml(text)
            raw[knob] = document.data
            problems += [f"{knob}: {message}" for _, _, message in document.problems]
        except YamlError as error:
            problems.append(f"{knob}: {error.message}")
    try:
        values: dict[str, Value] = TypeAdapter(dict[str, Values]).validate_python({option: raw})[option]
    except ValidationError as error:
        problems += [f"{show_path(place[1:])}: {text}" for place, text in explain(error)]
    if problems:
        raise SpecError([one_line(f"{option} {problem}") for problem in problems])
    return values

"""Which MMEngine configs may run: a config is a program. Runs in: command line, driver.

Those that come with MMPose are trusted. Any other is run because a person said so on the command line, and only as long
as it is the one that was there then. What it imports is not looked at.
"""

import ast
import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from raypose.errors import SpecError
from raypose.space.schema import PRESETS, Experiment

BASES: Final = "_base_"


def config_sha256(model: str) -> str | None:
    """What tells the config at this path from any other; None for a preset, one of MMPose's, and where there is none.

    The sha256 of the file if it has no bases but MMPose's, else of its sha256 and theirs, one after another.

    Raises SpecError for a base that cannot be known without running the config, or that lies elsewhere.
    """
    digests: dict[Path, bytes] = {}
    waiting = [] if model in PRESETS else [Path(model).absolute()]
    while waiting:
        file = waiting.pop(0)
        if file not in digests and file.is_file() and not _is_shipped(file):
            content = file.read_bytes()
            digests[file] = hashlib.sha256(content).digest()
            waiting += _bases(file, content)
    if len(digests) < 2:
        return next((digest.hex() for digest in digests.values()), None)
    return hashlib.sha256(b"".join(digests.values())).hexdigest()


def trusting(experiment: Experiment, trust: bool) -> Experiment:
    """The experiment as a file describes it, with the config that it may run in `trust_config`.

    `trust` is whether the person at the command line trusts any config. Raises SpecError if they do not and the config
    is none of MMPose's, and if the file itself says what to trust.
    """
    if experiment.trust_config is not None:
        raise SpecError(["trust_config: only the command line can say what to trust; take it out: --trust-config"])
    return experiment.model_copy(update={"trust_config": trusted(experiment.model, trust)})


def trusted(model: str, trust: bool) -> str | None:
    """`config_sha256` of a config that may be run. Raises SpecError if it is none of MMPose's and nobody trusts it."""
    found = config_sha256(model)
    if found and not trust:
        text = "a config is a program, and this is none of MMPose's: read it, and add --trust-config to run it"
        raise SpecError([f"model: {model}: {text}"])
    return found


def require_trusted(experiment: Experiment) -> None:
    """Raise SpecError if the config of a saved experiment is not the one that was trusted when it was made."""
    found = config_sha256(experiment.model)
    if found and found != experiment.trust_config:
        was = experiment.trust_config or "none that was trusted"
        text = f"changed since the experiment began (sha256 {found}; it was {was})"
        raise SpecError([f"model: {experiment.model}: {text}: put it back, or start a new experiment"])


def _is_shipped(file: Path) -> bool:
    """Does the file, and not only a link to it, lie among the configs that were installed with MMPose?"""
    mmpose = find_spec("mmpose")
    if mmpose is None or mmpose.origin is None:
        return False
    return file.resolve().is_relative_to((Path(mmpose.origin).parent / ".mim" / "configs").resolve())


def _bases(file: Path, content: bytes) -> list[Path]:
    """The files of this machine that MMEngine runs before this one, none of installed packages."""
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError):  # MMEngine will not run it either
        return []
    assigned = (n for n in nodes if isinstance(n, ast.Assign) and any(_is_name(t, BASES) for t in n.targets))
    named = [base for node in assigned for base in _named(file, node.value)]
    blocks = (node for node in nodes if isinstance(node, ast.With) and any(map(_reads_base, node.items)))
    return [*named, *(base for block in blocks for base in _imported(file, block))]


def _named(file: Path, value: ast.expr) -> Iterator[Path]:
    """Of `_base_ = ...`"""
    try:
        bases = ast.literal_eval(value)
    except (ValueError, TypeError) as fault:
        raise SpecError([f"model: {file}: {BASES} is computed; write the names of its files out"]) from fault
    for base in bases if isinstance(bases, list | tuple) else [bases]:
        packaged = isinstance(base, str) and "::" in base and ".." not in base
        if not packaged and not (isinstance(base, str) and base.endswith(".py") and (file.parent / base).is_file()):
            raise SpecError([f"model: {file}: {BASES}: {base!r} is no .py file on this machine, such as './x.py'"])
        if not packaged:
            yield file.parent / base


def _imported(file: Path, block: ast.With) -> Iterator[Path]:
    """Of `with read_base(): from .x import *`"""
    for node in block.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = file.parents[node.level - 1]
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (folder.joinpath(*module.split(".")).with_suffix(".py") for module in modules)


def _reads_base(item: ast.withitem) -> bool:
    return isinstance(item.context_expr, ast.Call) and _is_name(item.context_expr.func, "read_base")


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name

"""What can be turned: the named knobs, any dotted key of the config, and their legal values.

Runs in: command line, driver.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from raypose.space.nearest import suggest

Value = str | int | float | bool | None

KNOBS: Final = {
    "lr": "Peak learning rate of the whole schedule, at the effective batch of all workers together.",
    "freeze": "Part of the model that stays exactly as it was loaded; several as a list, or as text joined by +.",
    "input_size": "Width and height that the model sees, as 'WxH', both multiples of 32.",
    "layer_decay": "Factor on the learning rate from each stage to the one below it, from head to stem; 1: none.",
    "unfreeze.at": "Share of the training after which the frozen part learns too; 1: never.",
}
LR_MULT_HELP: Final = "Factor on the learning rate of this part of the model."
NUMBERS: Final = {  # what it is, and the largest that makes sense; all are above 0
    "lr": ("a learning rate", math.inf),
    "lr_mult": ("a factor on the learning rate", 100),
    "layer_decay": ("a layer decay", 1),
    "unfreeze.at": ("a share of the training", 1),
}
FREEZE_SETS: Final = (
    *("none", "stem", "stage1", "stage2", "stage3", "stage4", "backbone"),
    *("head", "head.final_layer", "head.mlp", "head.gau", "head.cls", "norms"),
)
PARTS: Final = FREEZE_SETS[1:]
_PART: Final = rf"({'|'.join(part for part in PARTS if '.' not in part)}|neck|(backbone|neck|head)(\.[A-Za-z0-9_]+)+)"
_CONFIG_KEY: Final = (
    r"(?!(lr|freeze|input_size|layer_decay|lr_mult|unfreeze)\.)[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)+"
)
PART: Final = rf"^{_PART}$"
JOINED_PARTS: Final = rf"^{_PART}( *\+ *{_PART})*$"
LR_MULT: Final = rf"^lr_mult\.{_PART}$"
CONFIG_KEY: Final = rf"^{_CONFIG_KEY}$"
DOTTED: Final = rf"^(unfreeze\.at|lr_mult\.{_PART}|{_CONFIG_KEY})$"
INPUT_SIZE: Final = r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$"
SIDES: Final = range(32, 1024 + 1, 32)


def shown(value: object) -> str:
    """A value as a person would write it in the file, on one short line."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case int() if abs(value) >= 10**15:
            return "a huge number"
        case str():
            return value if len(value) <= 60 else f"{value[:57]}..."
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return str(value)


def values_text(values: Mapping[str, Value]) -> str:
    """Knobs with their values, on one line."""
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items()) or "the base config's own values"


def quoted(value: object) -> str:
    """Like `shown`, with text in quotes, so that the text 'true' is not taken for the truth value."""
    return f"'{shown(value)}'" if isinstance(value, str) else shown(value)


def same(one: Value, other: Value) -> bool:
    """Whether these are one value of a knob: 1 is 1.0, but true is not 1."""
    return one == other and isinstance(one, bool) is isinstance(other, bool)


def canonical(name: str, value: Any) -> Any:
    """The one way to write a value: several freeze sets are one text, `stem+norms`; all else stays as it is."""
    if name != "freeze" or not isinstance(value, str | list | tuple):
        return value
    parts = value.split("+") if isinstance(value, str) else [p if isinstance(p, str) else shown(p) for p in value]
    return "+".join(part.strip() for part in parts)


def name_problem(name: str) -> str | None:
    """Why this cannot be a knob, or None; whether a dotted key exists is known only to the base config."""
    first, dot, rest = name.partition(".")
    if name in KNOBS or re.fullmatch(CONFIG_KEY, name):
        return None
    if first == "unfreeze":
        return "write unfreeze.at, the share of the training after which the frozen part learns too"
    if first == "lr_mult":
        return _part_problem(rest)
    if first in KNOBS:
        return f"the knob {first} has no parts; write {first} alone"
    if dot:
        return "not a dotted key of the config, such as a.b.c"
    others = ", lr_mult.<part>, or any dotted key of the config, such as optim_wrapper.optimizer.weight_decay"
    return f"unknown knob; {suggest(name, KNOBS, others)}"


def _part_problem(part: str) -> str | None:
    if not part:
        return "name a part of the model in the same key, such as lr_mult.backbone"
    if re.fullmatch(PART, part):
        return None
    return (
        f"unknown part of the model '{shown(part)}'; {suggest(part, PARTS, ', or a module such as backbone.stage1.0')}"
    )


def value_problem(name: str, value: Value) -> str | None:
    """Why this knob cannot have this value, or None."""
    family = "lr_mult" if name.startswith("lr_mult.") else name
    if family in NUMBERS:
        return _number_problem(value, *NUMBERS[family])
    match name:
        case "freeze":
            return _freeze_problem(value)
        case "input_size":
            return _input_size_problem(value)
    return None


def _number_problem(value: Value, what: str, most: float) -> str | None:
    limits = "above 0" if most == math.inf else f"above 0 and at most {most}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"expected {what}, a number {limits}, got {quoted(value)}"
    return None if 0 < value <= most else f"{what} is {limits}, got {shown(value)}"


def _freeze_problem(value: Value) -> str | None:
    if not value or not isinstance(value, str):
        return f"expected the name of a freeze set, got {quoted(value)}; to freeze nothing write none"
    parts = value.split("+")
    unknown = [part for part in parts if part != "none" and not re.fullmatch(PART, part)]
    if unknown:
        modules = ", or a module such as backbone.stage1.0"
        return f"unknown freeze set {quoted(unknown[0])}; {suggest(unknown[0], FREEZE_SETS, modules)}"
    if "none" in parts and len(parts) > 1:
        return f"none freezes nothing, so it stands alone; got {quoted(value)}"
    twice = [part for index, part in enumerate(parts) if part in parts[:index]]
    return f"{quoted(twice[0])} is named twice in {quoted(value)}" if twice else None


def _input_size_problem(value: Value) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(INPUT_SIZE, value):
        return f"expected an input size as width x height, such as 192x256, got {quoted(value)}"
    wrong = [side for side in value.split("x") if int(side) not in SIDES]
    if not wrong:
        return None
    return f"the side {wrong[0]} of {value} is not a multiple of 32 from {SIDES[0]} to {SIDES[-1]}"

"""What can be turned: the three named knobs, any dotted key of the config, and their legal values.

Runs in: command line, driver.
"""

import math
import re
from typing import Final

from raypose.space.nearest import suggest

Value = str | int | float | bool | None

KNOBS: Final = {
    "lr": "Peak learning rate of the whole schedule, at the effective batch of all workers together.",
    "freeze": "Part of the model that stays exactly as it was loaded.",
    "input_size": "Width and height that the model sees, as 'WxH', both multiples of 32.",
}
FREEZE_SETS: Final = (
    *("none", "stem", "stage1", "stage2", "stage3", "stage4", "backbone"),
    *("head.final_layer", "head.mlp", "head.gau", "head.cls", "norms"),
)
MODULE_NAME: Final = r"^(backbone|head)(\.[A-Za-z0-9_]+)+$"
CONFIG_KEY: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)+$"
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


def quoted(value: object) -> str:
    """Like `shown`, with text in quotes, so that the text 'true' is not taken for the truth value."""
    return f"'{shown(value)}'" if isinstance(value, str) else shown(value)


def name_problem(name: str) -> str | None:
    """Why this cannot be a knob, or None; whether a dotted key exists is known only to the base config."""
    first, dot, _ = name.partition(".")
    if not dot:
        others = ", or any dotted key of the config, such as optim_wrapper.optimizer.weight_decay"
        return None if name in KNOBS else f"unknown knob; {suggest(name, KNOBS, others)}"
    if first in KNOBS:
        return f"the knob {first} has no parts; write {first} alone"
    return None if re.fullmatch(CONFIG_KEY, name) else "not a dotted key of the config, such as a.b.c"


def value_problem(name: str, value: Value) -> str | None:
    """Why this knob cannot have this value, or None."""
    match name:
        case "lr":
            return _lr_problem(value)
        case "freeze":
            return _freeze_problem(value)
        case "input_size":
            return _input_size_problem(value)
    return None


def _lr_problem(value: Value) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"expected a learning rate, a number above 0, got {quoted(value)}"
    return None if value > 0 and math.isfinite(value) else f"a learning rate is above 0, got {shown(value)}"


def _freeze_problem(value: Value) -> str | None:
    if value is None:
        return "expected the name of a freeze set, got null; to freeze nothing write none"
    if not isinstance(value, str):
        return f"expected the name of a freeze set, got {shown(value)}; to freeze nothing write none"
    if value in FREEZE_SETS or re.fullmatch(MODULE_NAME, value):
        return None
    modules = ", or a module such as backbone.stage1.0"
    return f"unknown freeze set {quoted(value)}; {suggest(value, FREEZE_SETS, modules)}"


def _input_size_problem(value: Value) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(INPUT_SIZE, value):
        return f"expected an input size as width x height, such as 192x256, got {quoted(value)}"
    wrong = [side for side in value.split("x") if int(side) not in SIDES]
    if not wrong:
        return None
    return f"the side {wrong[0]} of {value} is not a multiple of 32 from {SIDES[0]} to {SIDES[-1]}"

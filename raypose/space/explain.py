"""Pydantic's errors as places and sentences for people. Runs in: command line, driver."""

from typing import Final, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from raypose.space.base import Form, Strict
from raypose.space.domain import DOMAINS
from raypose.space.knobs import KNOBS, name_problem, quoted
from raypose.space.nearest import suggest
from raypose.space.schema import Experiment
from raypose.space.yaml_lines import Path

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "invalid_key": "text as a key",
    "tuple_type": "a list",
    "none_required": "no step: the values of a log range are not evenly spaced",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "finite_number": "a finite number",
    "string_too_short": "some text",
    "string_too_long": "at most {max_length} characters",
}
_SECTIONS: Final[dict[str, type[Strict]]] = {
    name: section
    for name, field in Experiment.model_fields.items()
    for section in (field.annotation, *get_args(field.annotation))
    if isinstance(section, type) and issubclass(section, Strict)
}
_FAMILIES = {"lr_mult": "lr_mult.backbone: 0.1", "unfreeze": "unfreeze.at: 0.5"}
_FORMS = "{choice: [...]}, or [low, high] of uniform, log_uniform, int_uniform or int_log_uniform"


def explain(error: ValidationError) -> list[tuple[Path, str]]:
    """The place of each fault, as written in the file, and what is wrong there."""
    return [(_place(detail["loc"]), _message(detail)) for detail in error.errors(include_url=False)]


def show_path(path: Path) -> str:
    """A place for people: `space.freeze.choice[1]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if part and part == part.strip() else f"'{part}'")
    return text


def _place(loc: Path) -> Path:
    """Without pydantic's own words: for a key, and in third place for the form that was tried."""
    loc = loc[:-1] if len(loc) > 2 and loc[-1] == "[key]" else loc
    return loc[:2] + tuple(part for part in loc[2:3] if isinstance(part, int)) + loc[3:]


def _message(detail: ErrorDetails) -> str:
    kind, value, loc = detail["type"], detail["input"], detail["loc"]
    match kind:
        case "fault":
            return detail["msg"]
        case "extra_forbidden":
            return _unknown_key(loc)
        case "missing":
            return "missing; name at least one knob to explore, such as lr: {log_uniform: [2.0e-4, 1.6e-2]}"
        case "union_tag_not_found":
            return _no_form(value)
        case "literal_error":
            return _not_listed(value, loc)
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"expected keys with values ({', '.join(_known_keys((*loc, '')))}), got {_got(value)}"
    if kind not in _EXPECTED:
        return detail["msg"].lower()
    auto = "auto or " if loc[2:] == ("number",) else ""
    limits = {name: int(limit) for name, limit in detail.get("ctx", {}).items() if isinstance(limit, int | float)}
    expected = _EXPECTED[kind].format(**limits)
    return f"expected {auto}{expected}, got {_got(value)}" + _none_hint(loc, value)


def _got(value: object) -> str:
    return "nothing" if value is None else quoted(value) if value != "" else "empty text"


def _none_hint(loc: Path, value: object) -> str:
    return "; to start from random weights write none" if loc == ("weights",) and value is None else ""


def _known_keys(loc: Path) -> list[str]:
    """The keys that are legal beside the last one of this place."""
    if len(loc) == 1:
        return list(Experiment.model_fields)
    if loc[0] in ("space", "fixed"):
        return _form_keys(str(loc[2])) if len(loc) > 3 else [*KNOBS, "lr_mult.<part>, or a dotted key of the config"]
    return list(_SECTIONS[str(loc[0])].model_fields)


def _form_keys(form: str) -> list[str]:
    fields = DOMAINS[form].model_fields
    own_first = sorted(fields, key=lambda name: name in Form.model_fields)
    return [fields[name].alias or name for name in own_first if not fields[name].exclude]


def _unknown_key(loc: Path) -> str:
    key = str(loc[-1])
    if len(loc) == 1:
        if key in _FAMILIES:
            return f"unknown key; write {_FAMILIES[key]} below fixed, or explore it below space"
        if name_problem(key) is None:
            return f"unknown key; '{key}' belongs below space (to explore it) or fixed (to hold it)"
        for section, model in _SECTIONS.items():
            if key in model.model_fields:
                return f"unknown key; '{key}' belongs below {section}"
    if loc[0] == "space" and key == "step":
        return "unknown key; only uniform and int_uniform have steps"
    return f"unknown key; {suggest(key, _known_keys(loc))}"


def _no_form(value: object) -> str:
    if not isinstance(value, dict):
        return f"expected {_FORMS}, got {_got(value)}; one value for all trials belongs below fixed"
    forms = [key for key in DOMAINS if key in value]
    if forms:
        return f"expected one form only, got {' and '.join(forms)}"
    others = [str(key) for key in value if key not in ("step", *Form.model_fields)]
    return f"expected {_FORMS}" + (f"; '{others[0]}' is unknown, {suggest(others[0], DOMAINS)}" if others else "")


def _not_listed(value: object, loc: Path) -> str:
    names = _SECTIONS[str(loc[0])].model_json_schema()["properties"][str(loc[1])]["enum"]
    if isinstance(value, str):
        return f"unknown {loc[1]} {_got(value)}; {suggest(value, names)}"
    hint = "; to stop no trial early write none" if loc[1] == "pruner" and value in (None, False) else ""
    return f"expected one of {', '.join(names)}, got {_got(value)}{hint}"

"""The JSON schema by which editors complete and check a specification. Runs in: a developer's shell.

`python -m raypose.space.editor > search_spaces/spec.schema.json` writes the file that the shipped specifications name.
"""

import json
import math
from typing import Any

from raypose.space.domain import DOMAINS
from raypose.space.knobs import (
    CONFIG_KEY,
    FREEZE_SETS,
    INPUT_SIZE,
    JOINED_PARTS,
    KNOBS,
    LR_MULT,
    LR_MULT_HELP,
    NUMBERS,
    PART,
    PARTS,
)
from raypose.space.schema import Experiment

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_Schema = dict[str, Any]
_PART: _Schema = {"anyOf": [{"enum": list(PARTS)}, {"type": "string", "pattern": PART}]}
_VALUES: dict[str, _Schema] = {
    "freeze": {
        "anyOf": [
            {"enum": list(FREEZE_SETS)},
            {"type": "string", "pattern": JOINED_PARTS},
            {"type": "array", "items": _PART, "minItems": 1, "uniqueItems": True},
        ]
    },
    "input_size": {"type": "string", "pattern": INPUT_SIZE, "examples": ["192x192", "192x256", "256x256", "288x384"]},
}
for _name, (_, _most) in NUMBERS.items():
    _VALUES[_name] = {"type": "number", "exclusiveMinimum": 0} | ({} if _most == math.inf else {"maximum": _most})


def json_schema() -> _Schema:
    """The schema of a specification file, in the 2020-12 draft."""
    schema = Experiment.model_json_schema()
    choice = schema["$defs"]["Choice"]
    _name_knobs(schema["properties"]["space"], {knob: _domain(knob, choice) for knob in _VALUES})
    _name_knobs(schema["properties"]["fixed"], _VALUES)
    _name_knobs(schema["$defs"]["Search"]["properties"]["start"]["items"], _VALUES)
    return {"$schema": DIALECT, **schema, "title": "raypose specification"}


def _name_knobs(section: _Schema, knobs: dict[str, _Schema]) -> None:
    """Offers the named knobs with their help, and allows beside them only factors of parts and keys of the config."""
    any_key = section.pop("additionalProperties")
    section["properties"] = {knob: {**knobs[knob], "description": KNOBS[knob]} for knob in KNOBS}
    section["patternProperties"] = {LR_MULT: {**knobs["lr_mult"], "description": LR_MULT_HELP}, CONFIG_KEY: any_key}
    section["additionalProperties"] = False


def _domain(knob: str, choice: _Schema) -> _Schema:
    """The forms that this knob can have: a choice of its legal values, and for a number ranges within its limits."""
    value, properties = _VALUES[knob], choice["properties"]
    listed = {**choice, "properties": {**properties, "choice": {**properties["choice"], "items": value}}}
    if knob not in NUMBERS:
        return listed
    ranges = {key: form.__name__ for key, form in DOMAINS.items() if key != "choice"}
    refs = [{"$ref": f"#/$defs/{name}"} for name in ranges.values()]
    return {"oneOf": [listed, *refs], "properties": {key: {"items": value} for key in ranges}}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))

"""The JSON schema by which editors complete and check a specification. Runs in: a developer's shell.

`python -m raypose.space.editor > search_spaces/spec.schema.json` writes the file that the shipped specifications name.
"""

import json
from typing import Any

from raypose.space.domain import DOMAINS
from raypose.space.knobs import CONFIG_KEY, FREEZE_SETS, INPUT_SIZE, KNOBS, MODULE_NAME
from raypose.space.schema import Experiment

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_Schema = dict[str, Any]
_VALUES: dict[str, _Schema] = {
    "lr": {"type": "number", "exclusiveMinimum": 0},
    "freeze": {"anyOf": [{"enum": list(FREEZE_SETS)}, {"type": "string", "pattern": MODULE_NAME}]},
    "input_size": {"type": "string", "pattern": INPUT_SIZE, "examples": ["192x192", "192x256", "256x256", "288x384"]},
}


def json_schema() -> _Schema:
    """The schema of a specification file, in the 2020-12 draft."""
    schema = Experiment.model_json_schema()
    _name_knobs(schema["properties"]["space"], {knob: _domain(knob) for knob in KNOBS})
    _name_knobs(schema["properties"]["fixed"], _VALUES)
    return {"$schema": DIALECT, **schema, "title": "raypose specification"}


def _name_knobs(section: _Schema, knobs: dict[str, _Schema]) -> None:
    """Offers the named knobs with their help, and allows beside them only dotted keys."""
    any_key = section.pop("additionalProperties")
    section["properties"] = {knob: {"description": KNOBS[knob], **knobs[knob]} for knob in knobs}
    section["patternProperties"] = {CONFIG_KEY: any_key}
    section["additionalProperties"] = False


def _domain(knob: str) -> _Schema:
    choice = {
        "title": "Choice",
        "type": "object",
        "properties": {"choice": {"type": "array", "items": _VALUES[knob], "minItems": 1, "uniqueItems": True}},
        "required": ["choice"],
        "additionalProperties": False,
    }
    ranges = [{"$ref": f"#/$defs/{form.__name__}"} for key, form in DOMAINS.items() if key != "choice"]
    return {"oneOf": [choice, *ranges]} if knob == "lr" else choice


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))

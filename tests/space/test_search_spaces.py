"""The shipped specifications load, and editors judge them as raypose does."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from raypose.space import load_spec
from raypose.space.editor import json_schema

FOLDER = Path(__file__).parents[2] / "search_spaces"
SCHEMA = FOLDER / "spec.schema.json"
SHIPPED = sorted(FOLDER.rglob("*.yaml"))


def test_all_are_there() -> None:
    names = {"all.yaml", "freeze.yaml", "input_size.yaml", "lr.yaml"}
    assert {file.relative_to(FOLDER).as_posix() for file in SHIPPED} == names | {f"mpii/{name}" for name in names}


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.relative_to(FOLDER).as_posix())
def test_shipped_specification(file: Path) -> None:
    paper = file.parent.name == "mpii"
    experiment = load_spec(file)
    assert experiment.model == ("rtmpose-m" if paper else "rtmpose-n")
    assert (experiment.train.epochs, experiment.resources.workers) == ((210, 8) if paper else (6, 1))
    first, text = file.read_text().split("\n", 1)
    assert (file.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve() == SCHEMA
    Draft202012Validator(json_schema()).validate(yaml.safe_load(text))


def test_schema_file_is_the_generated_one() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json.loads(SCHEMA.read_text()) == json_schema(), (
        "run: python -m raypose.space.editor > search_spaces/spec.schema.json"
    )


def test_schema_accepts_the_saved_copy() -> None:
    saved = load_spec(FOLDER / "all.yaml", {"fixed.a.b": "3"}).model_dump(mode="json")
    Draft202012Validator(json_schema()).validate(saved)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"space": {}},
        {"space": {"lrr": {"choice": [1]}}},
        {"space": {"lr": {"log_uniform": [1, 2], "step": 1}}},
        {"space": {"lr": {"uniform": [1]}}},
        {"space": {"freeze": {"choice": ["stage5"]}}},
        {"space": {"input_size": {"choice": [256]}}},
        {"space": {"a.b": {"choice": [1]}}, "train": {"epoch": 3}},
        {"space": {"a.b": {"choice": [1]}}, "search": {"sampler": "best"}},
        {"space": {"a.b": {"choice": [1]}}, "fixed": {"input_size": 3}},
    ],
)
def test_schema_refuses(wrong: dict[str, object]) -> None:
    assert not Draft202012Validator(json_schema()).is_valid(wrong)

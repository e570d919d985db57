"""The command line as a user meets it: exit codes, one line an error, help with an example, JSON for programs."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from raypose.cli.app import app

SEARCH_SPACES = Path(__file__).parents[2] / "search_spaces"
LR = str(SEARCH_SPACES / "lr.yaml")


def raypose(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "raypose", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tune", "nix.yaml"], "nix.yaml: cannot be read: no such file"),
        (["tune", LR, "--epochs", "0"], "--set train.epochs: "),
        (["tune", LR, "--set", "train.epoks=3"], "--set train.epoks: unknown key; did you mean 'epochs'?"),
        (["tune", LR, "--set", "space.model.backbone.widen=1"], "space.model.backbone.widen: "),
        (["tune", LR, "--set", "epochs"], "--set: 'epochs': expected KEY=VALUE"),
        (["tune", LR, "--model", "rtmpose-z"], "--set model: no preset 'rtmpose-z'"),
        (["tune", LR, "--data", "nowhere"], "nowhere is not a sound MPII layout"),
        (["tune", LR, "--name", "a/b"], "--name: 'a/b': use letters"),
        (["restore", "nix"], "no experiment 'nix' in "),
        (["show", "nix"], "no experiment 'nix' in "),
        (["watch", "nix"], "no experiment 'nix' in "),
        (["ui"], "no MLflow record yet"),
        (["data", "demo", ".", "--train", "1", "--val", "1"], "no demo set"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("somebody's")
    done = raypose(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
    assert all(line.startswith("raypose: ") for line in done.stderr.splitlines())
    assert [f.name for f in tmp_path.iterdir()] == ["mine.txt"]


def test_what_only_the_model_can_tell_is_found_all_at_once_before_anything_is_made(
    tiny_data: Path, tmp_path: Path
) -> None:
    settings = {
        "space.optim_wrapper.optimizer.wd={uniform: [0, 0.1]}": "optimizer.wd: the base config has no such key",
        "space.codec.sigma={choice: [4, 5]}": "codec.sigma: the base config has no such key",
    }
    options = [f"--set={setting}" for setting in settings]
    done = raypose("tune", LR, "--data", str(tiny_data), *options, cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert all(said in done.stderr for said in settings.values()) and "Traceback" not in done.stderr


def test_a_plan_shows_what_each_trial_changes_and_leaves_nothing(tiny_data: Path, tmp_path: Path) -> None:
    spec = str(SEARCH_SPACES / "all.yaml")
    done = raypose("plan", spec, "--data", str(tiny_data), "--sampled", "2", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["base_values"]["lr"] == 4e-3 and plan["base_values"]["input_size"] == "128x128"
    base, drawn = plan["trials"]
    assert base["differences"] == {} and base["values"] == plan["base_values"]
    assert drawn["differences"]["optim_wrapper.optimizer.lr"] == ["0.004", repr(drawn["values"]["lr"])]
    assert list(tmp_path.iterdir()) == []


def test_the_demo_set_is_drawn_and_found_sound(tmp_path: Path) -> None:
    assert raypose("data", "demo", "set", "--train", "4", "--val", "2", cwd=tmp_path).returncode == 0
    done = raypose("data", "check", "set", cwd=tmp_path)
    assert done.returncode == 0 and "4 people to train on in 4 images, 2 to validate in 2" in done.stdout
    (tmp_path / "set" / "annotations" / "mpii_val.json").write_text("[")
    broken = raypose("data", "check", "set", "--json", cwd=tmp_path)
    assert broken.returncode == 2
    assert json.loads(broken.stdout)["problems"][0]["place"] == "annotations/mpii_val.json"


def test_no_experiments_is_no_error(tmp_path: Path) -> None:
    assert "no experiments in mlruns" in raypose("list", cwd=tmp_path).stdout
    assert raypose("list", "--json", cwd=tmp_path).stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []


def verbs(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield from verbs(command, (*path, name)) if isinstance(command, TyperGroup) else [(*path, name)]


@pytest.mark.parametrize("verb", verbs(cast(TyperGroup, get_command(app))), ids=" ".join)
def test_every_verb_explains_itself_with_an_example_to_copy(verb: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*verb, "--help"])
    examples = [line.strip() for line in shown.stdout.splitlines() if line.strip().startswith("Example: ")]
    assert shown.exit_code == 0 and examples
    assert all(line.startswith(f"Example: raypose {' '.join(verb)} ".rstrip()) for line in examples)


def test_help_begins_with_a_line_for_each_of_the_first_steps() -> None:
    lines = CliRunner().invoke(app, ["--help"]).stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("  raypose ")] == ["tune", "restore", "ui"]

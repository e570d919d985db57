"""`raypose plan` and `raypose lr-range` as programs: what they print, draw and write, and that they leave no trace."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raypose.errors import SpecError
from raypose.space import load_spec
from raypose.space.load import parse_spec
from raypose.tuning.plan import draw

SPEC = """\
# Mine.
model: rtmpose-n
weights: demo
space:
  lr: {log_uniform: [1.0e-5, 1.0]}   # far too wide
  freeze: {choice: [none, stem, [stem, norms]]}
  lr_mult.backbone: {choice: [0.1], when: {freeze: none}}
fixed: {input_size: 64x64}
train: {batch_size: 8, epochs: 4}
search: {start: [{lr: 1.0e-3, freeze: none, lr_mult.backbone: 0.1}]}
"""


def raypose(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command, one = [sys.executable, "-m", "raypose", *arguments], {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=one, capture_output=True, text=True, timeout=240, check=False)


def test_a_plan_of_one_trial_with_its_picture(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    done = raypose("plan", "spec.yaml", "--data", str(tiny_data), "--trial", "1", "--plot", "lr.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "trial 1: input_size 64x64, lr 0.001, freeze none, lr_mult.backbone 0.1" in done.stdout
    assert "trial 0:" not in done.stdout and "INFO" not in done.stdout + done.stderr
    assert "resampled: head.cls_x.weight" in done.stdout and " backbone.stem, " in done.stdout
    assert "lr: peak 0.001 at an effective batch of 8" in done.stdout
    table = {line.strip("│ ").split()[0]: line for line in done.stdout.splitlines() if line.startswith("│")}
    assert {"none", "stem", "stem+norms"} <= set(table) and "0%" in table["none"]
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lr.png", "spec.yaml"]


def test_trials_are_drawn_as_far_as_there_are_any() -> None:
    experiment = parse_spec({"space": {"lr": {"log_uniform": [1e-4, 1e-2]}}, "search": {"trials": 3}})
    base = {"lr": 4e-3}
    assert [trial.number for trial in draw(experiment, base, range(9))] == [0, 1, 2]
    assert draw(experiment, base, [2]) == draw(experiment, base, range(9))[2:]
    with pytest.raises(SpecError, match="--trial: there is no trial 3; the last of 3 is 2"):
        draw(experiment, base, [3])


def test_a_range_test_writes_its_bounds_and_nothing_else(tiny_data: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    options = f"--data {tiny_data} --weights none --steps 150 --plot range.png --write --json".split()
    options += ["--set", "resources.workers=2", "--set", "train.batch_size=4"]  # one process takes both batches
    done = raypose("lr-range", "spec.yaml", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["lrs"][1] / found["lrs"][0] == pytest.approx(1e6 ** (1 / 299))
    assert 1e-6 <= found["low"] * 10 <= found["high"] <= 1.0
    lines = zip(SPEC.splitlines(), spec.read_text().splitlines(), strict=True)
    ((before, after),) = [(old, new) for old, new in lines if old != new]
    assert before.startswith("  lr:") and after.endswith("# far too wide")
    domain = load_spec(spec).space["lr"]
    assert not isinstance(domain, str) and domain.bounds == (found["low"], found["high"])  # type: ignore[union-attr]
    assert (tmp_path / "range.png").read_bytes().startswith(b"\x89PNG")

"""`raypose plan` and `raypose lr-range` as programs: what they print, draw and write, and that they leave no trace."""

import json
import os
import subprocess
import sys
from pathlib import Path

from raypose.space import load_spec

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
    assert "resampled: head.cls_x.weight" in done.stdout and "lr: peak 0.001 at an effective batch of 8" in done.stdout
    table = {line.strip("│ ").split()[0]: line for line in done.stdout.splitlines() if line.startswith("│")}
    assert {"none", "stem", "stem+norms"} <= set(table) and "0%" in table["none"]
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lr.png", "spec.yaml"]

    done = raypose("plan", "spec.yaml", "--data", str(tiny_data), "--sampled", "2", "--json", cwd=tmp_path)
    planned = json.loads(done.stdout)
    assert [trial["number"] for trial in planned["trials"]] == [0, 1]
    assert planned["base_values"]["lr_mult.backbone"] == 1.0


def test_a_range_test_writes_its_bounds_and_nothing_else(tiny_data: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    options = [
        "--data",
        str(tiny_data),
        "--weights",
        "none",
        "--steps",
        "150",
        "--plot",
        "range.png",
        "--write",
        "--json",
    ]
    done = raypose("lr-range", "spec.yaml", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 1e-6 <= found["low"] * 10 <= found["high"] <= 1.0
    lines = zip(SPEC.splitlines(), spec.read_text().splitlines(), strict=True)
    ((before, after),) = [(old, new) for old, new in lines if old != new]
    assert before.startswith("  lr:") and after.endswith("# far too wide")
    domain = load_spec(spec).space["lr"]
    assert not isinstance(domain, str) and domain.bounds == (found["low"], found["high"])  # type: ignore[union-attr]
    assert (tmp_path / "range.png").read_bytes().startswith(b"\x89PNG")

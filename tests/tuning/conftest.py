"""A folder in which raypose runs as a program, as a user has it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SPEC = """
model: rtmpose-n
weights: none
space:
  lr: {log_uniform: [2.0e-4, 1.6e-2]}
fixed: {input_size: 64x64}
prune: {pruner: none}
train: {batch_size: 8}
"""
START_S = 240


class Home:
    """A folder with a specification and a tiny data set, and raypose run in it as a program."""

    def __init__(self, path: Path, data: Path) -> None:
        self.path, self.data = path, data
        (path / "lr.yaml").write_text(SPEC)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        with (self.path / f"{arguments[0]}.txt").open("w") as out:
            command = [sys.executable, "-m", "raypose", *arguments]
            return subprocess.Popen(command, cwd=self.path, stdout=out, stderr=subprocess.STDOUT, text=True)

    def tune(self, *options: str) -> subprocess.Popen[str]:
        return self.start("tune", "lr.yaml", "--name", "exp", "--data", str(self.data), *options)

    def show(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "raypose", "show", "exp", "--json"]
        done = subprocess.run(command, cwd=self.path, capture_output=True, text=True, check=True)
        view: dict[str, Any] = json.loads(done.stdout)
        return view

    def epochs(self) -> list[Path]:
        return sorted(self.path.glob("mlruns/experiments/exp/trials/*/epoch_*"))

    def wait_for(self, true: Callable[[], object], process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + START_S
        while not true():
            assert process.poll() is None and time.monotonic() < deadline, self.output()
            time.sleep(0.1)

    def output(self) -> str:
        return "\n".join(f.read_text() for f in self.path.glob("*.txt"))


@pytest.fixture
def home(tmp_path: Path, tiny_data: Path) -> Home:
    return Home(tmp_path, tiny_data)

"""`raypose tune` as a user runs it, and what it has spent whenever it says something. Runs in: command line."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raypose.bench.processes import Spent, counted

ONE_LANE = ("--set", "resources.concurrent_trials=1")
WORKER = "ray::RayTrainWorker"


@dataclass(frozen=True)
class Mark:
    """A line, when it came, and the CPU time of all processes until then."""

    line: str
    at: float
    spent: Spent


def tune(folder: Path, batch: int, *options: str) -> Iterator[tuple[Mark, int]]:
    """Search lr in `folder`, on the data in `folder/data`, with one trial at a time; with each mark the driver's id."""
    space = "space: {lr: {log_uniform: [1.0e-3, 1.0e-2]}}\nprune: {pruner: none}\n"
    (folder / "bench.yaml").write_text(f"{space}train: {{batch_size: {batch}}}\n")
    command = [sys.executable, "-m", "raypose", "tune", "bench.yaml", "--data", "data", *ONE_LANE, *options]
    with (
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as search,
        counted(search.pid) as spent,
    ):
        for line in search.stdout or ():
            yield Mark(_short(line), time.monotonic(), spent()), search.pid


def _short(line: str) -> str:
    """Without a trial's values and figures."""
    told, _, rest = line.strip().partition(": ")
    return f"{told}, epoch {rest.partition('; epoch ')[2].partition(',')[0]}" if "; epoch " in rest else told

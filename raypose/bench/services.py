"""What an epoch costs beside its training: checkpoint, record, MLflow, Ray, hooks. Runs in: command line."""

from pathlib import Path
from typing import Any

from raypose.bench.processes import DRIVER, require_linux
from raypose.bench.start import Course, Stage
from raypose.bench.tune import WORKER, Mark, tune
from raypose.bench.turns import aside
from raypose.space.run import Run

FIRST, LAST = "trial 0 running, epoch 1", "trial 0 running, epoch 3"


def services(folder: Path, run: Run) -> Course:
    """The CPU time of the processes of `raypose tune` an epoch, and of raypose's hooks in a training alone.

    Raises ResourceError where there is no /proc.
    """
    require_linux()
    hooks = aside("epoch.hooks_cost", run)
    marks = {mark.line: mark for mark, _ in tune(folder, run.batch_size, "--trials", "1", "--epochs", "4")}
    worker, driver, rays = _an_epoch(marks[FIRST], marks[LAST])
    share = worker / sum(hooks.values())
    of_hooks = {f"of it {part}": share * seconds for part, seconds in hooks.items() if part != "all else"}
    spent = {**of_hooks, "the driver: Optuna, Tune, MLflow": driver, "Ray's processes": rays}
    stages = [Stage(f"{part}: {100 * seconds / worker:.1f} %", None, seconds) for part, seconds in spent.items()]
    wall = (marks[LAST].at - marks[FIRST].at) / 2
    title = f"what an epoch of {run.train_people} people in `raypose tune` costs, one trial at a time"
    return Course(title, [Stage("the worker", wall, worker), *stages], {})


def _an_epoch(first: Mark, last: Mark) -> tuple[float, float, float]:
    """CPU seconds of the worker, the driver and all others in each of the two epochs between the marks."""
    spent: dict[str, Any] = {name: (seconds - first.spent.get(name, 0)) / 2 for name, seconds in last.spent.items()}
    worker, driver = spent.pop(WORKER), spent.pop(DRIVER)
    return worker, driver, sum(spent.values())

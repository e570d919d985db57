"""How soon trials begin: from the command on, on a warm lane, and by a Ray Train run of their own.

Runs in: command line, and for each table in processes that it starts. The trainings are as small as they can be, epochs
of one step of 16 people and a validation of 8, so that what is measured is their start.
"""

import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from raypose.bench.processes import Memory, below_named, counted, memory, require_linux
from raypose.bench.tune import WORKER, Mark, tune
from raypose.bench.turns import aside
from raypose.datasets.demo import render_demo
from raypose.datasets.mpii import TRAIN
from raypose.record.epochs import META, read_epochs
from raypose.space.run import Run

PEOPLE, VALIDATED = 16, 8
MANY = 22_246  # MPII's people


@dataclass(frozen=True)
class Stage:
    """A stretch of a start, or another part of something: the time it took, and the CPU time of all processes in it."""

    name: str
    seconds: float | None
    cpu_seconds: float


@dataclass(frozen=True)
class Course:
    """One table: the stages of a start, and what the processes held in the end, by name."""

    title: str
    stages: list[Stage]
    megabytes: dict[str, Memory]
    headings = "", "seconds", "CPU seconds"

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Each row's."""
        for stage in self.stages:
            yield stage.name, "" if stage.seconds is None else f"{stage.seconds:.2f}", f"{stage.cpu_seconds:.2f}"
        for process, held in self.megabytes.items():
            yield f"the {process}: {held.resident:,.0f} MB, {held.own_part:,.0f} where it shares them", "", ""


def measure_start(folder: Path, run: Run, rounds: int, told: Callable[[int, int], None]) -> list[Course]:
    """All the tables; `told` hears how many are done. Raises ResourceError where there is no /proc."""
    require_linux()
    render_demo(folder / "data", train=PEOPLE, val=VALIDATED)
    tables = (
        lambda: command_line(rounds),
        lambda: search(folder),
        lambda: aside("start.parts_of_a_start", folder, run),
        lambda: aside("start.lane_or_run", folder, run),
    )
    courses: list[Course] = []
    for table in tables:
        courses.append(table())
        told(len(courses), len(tables))
    return courses


def command_line(rounds: int) -> Course:
    """A verb that needs no framework: the fastest of several."""
    stages = []
    for _ in range(rounds):
        before, began = os.times(), time.monotonic()
        subprocess.run([sys.executable, "-m", "raypose", "--help"], stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        stages.append(Stage("raypose --help", time.monotonic() - began, spent))
    return Course("the command line", [min(stages, key=lambda stage: stage.cpu_seconds)], {})


def search(folder: Path) -> Course:
    """`raypose tune` by what it says, until its second trial's first epoch: each stage begins with its line."""
    marks, megabytes = [Mark("imports and the data's check", time.monotonic(), {})], dict[str, Memory]()
    for mark, driver in tune(folder, PEOPLE, "--trials", "2", "--epochs", "3"):
        marks.append(mark)
        if not megabytes and _is_end(mark.line):
            megabytes = {"driver": memory(driver), "worker": memory(below_named(driver, WORKER))}
    return Course("raypose tune, by the lines that it prints", list(_stages(marks)), megabytes)


def _stages(marks: Sequence[Mark]) -> Iterator[Stage]:
    """Up to the line that tells of the second trial's first epoch."""
    for mark, following in itertools.pairwise(marks):
        yield Stage(mark.line, following.at - mark.at, sum(following.spent.values()) - sum(mark.spent.values()))
        if _is_end(following.line):
            return


def _is_end(line: str) -> bool:
    """Whether the second trial has ended its first epoch, or more, as the screen tells of the latest state only."""
    return line.startswith("trial 1 ") and not line.endswith("epoch 0")


def parts_of_a_start(folder: Path, run: Run) -> Course:
    """What `train` does until its first step is done, of the second trial in a process part by part."""
    from raypose.bench.trial import first_step, watched

    run = replace(run, data=_as_many(folder / "data", folder / "many"), train_people=MANY)
    watch = watched()
    first, second = [first_step(replace(run, folder=folder / f"start-{number}"), watch) for number in range(2)]
    spent = {**second, "together": np.sum([*second.values()], 0), "the first trial's": np.sum([*first.values()], 0)}
    title = f"a trial's start in a warm process, up to the end of its first step, with {MANY:,} people's annotations"
    return Course(title, [Stage(part, float(both[0]), float(both[1])) for part, both in spent.items()], {})


def _as_many(data: Path, copy: Path) -> Path:
    """The data set with its people again and again, until it has as many as MPII."""
    shutil.copytree(data, copy)
    people = json.loads((data / TRAIN).read_text())
    (copy / TRAIN).write_text(json.dumps((people * (MANY // len(people) + 1))[:MANY]))
    return copy


def lane_or_run(folder: Path, run: Run) -> Course:
    """Trials that a warm lane takes, and Ray Train runs of a trial each, on one cluster."""
    from raypose.tuning.cluster import cluster  # first, as Ray reads its settings when it is imported

    with cluster(None):
        stages = [*_on_a_lane(folder, run), *_in_a_run(folder, run)]
    return Course("from a chosen trial to the end of its first epoch, on one Ray cluster", stages, {})


def _on_a_lane(folder: Path, run: Run) -> Iterator[Stage]:
    import ray

    from raypose.tuning.broker import Broker
    from raypose.tuning.cluster import Capacity
    from raypose.tuning.lane import keep_lane

    broker = ray.remote(Broker).options(num_cpus=0).remote(0, 1)
    lane = ray.remote(keep_lane).options(num_cpus=0).remote(broker, 0, Capacity(1, 1, 1, 0.0), 1, str(folder / "ray"))

    def train(number: int, trial: Run) -> None:
        ray.get(broker.submit.remote(number, asdict(trial)))
        heard: list[Any] = []
        while not heard or heard[-1]["kind"] != "end":
            heard += ray.get(broker.messages.remote(number, len(heard)))
            if heard[-1]["kind"] == "epoch":
                ray.get(broker.decide.remote(number, 1, False))

    for number, name in enumerate(("a lane's first trial, with the lane's start", "its second", "its third")):
        yield _timed(name, replace(run, folder=folder / f"lane-{number}"), functools.partial(train, number))
    ray.get(broker.close.remote())
    ray.get(lane)


def _in_a_run(folder: Path, run: Run) -> Iterator[Stage]:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def train(name: str, trial: Run) -> None:
        TorchTrainer(
            train_alone,
            train_loop_config=asdict(trial),
            scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(name=name, storage_path=str(folder / "ray")),
        ).fit()

    for number, name in enumerate(("a Ray Train run of its own", "another")):
        trial = replace(run, folder=folder / f"run-{number}")
        yield _timed(name, trial, functools.partial(train, f"run-{number}"))


def _timed(name: str, trial: Run, train: Callable[[Run], None]) -> Stage:
    """Until the epoch is in the record; the CPU time also of what is done after that."""
    with counted(os.getpid()) as spent:
        began, before = time.time(), sum(spent().values())
        train(trial)
        (epoch,) = read_epochs(trial.folder)
        return Stage(name, (epoch.folder / META).stat().st_mtime - began, sum(spent().values()) - before)


def train_alone(settings: dict[str, Any]) -> None:
    """What a Ray Train run calls on its worker."""
    from raypose.bench.trial import as_in_a_lane
    from raypose.training.train import train

    as_in_a_lane()
    train(Run(**settings), lambda metrics, folder: True)

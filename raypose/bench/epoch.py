"""A whole trial of an epoch: by MMEngine's bare Runner with MMPose, and by raypose. Runs in: a process of a way."""

import itertools
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import replace

from mmengine.runner import Runner

from raypose.bench.stopwatch import Stopwatch
from raypose.bench.trial import as_in_a_lane
from raypose.space.run import Run
from raypose.training import hooks, pause
from raypose.training.config import build_config
from raypose.training.train import train

HOOKS = {
    "checkpoint and record": ((hooks.EpochHook, "after_val_epoch"),),
    "seeds, pauses, unreadable images": (
        (hooks.SeedHook, "before_train_iter"),
        (pause.PauseHook, "after_train_iter"),
        (hooks.UnreadableHook, "after_train_epoch"),
    ),
}


def bare(run: Run) -> Callable[[], None]:
    """Trains one epoch and validates it, and keeps nothing."""

    def again() -> None:
        config = build_config(run)
        for loader in (config.train_dataloader, config.val_dataloader):
            loader.dataset.type = "MpiiDataset"
        config.experiment_name, config.log_level = uuid.uuid4().hex, "ERROR"
        with tempfile.TemporaryDirectory() as config.work_dir:
            Runner.from_cfg(config).train()

    return again


def kept(run: Run) -> Callable[[], None]:
    """Trains one epoch and validates it, as a lane does: with a checkpoint, its digests, and the record."""
    folders = (run.folder / f"trial-{number}" for number in itertools.count())

    def again() -> None:
        train(replace(run, folder=next(folders)), lambda metrics, folder: False)

    return again


def hooks_cost(run: Run) -> dict[str, float]:
    """CPU seconds of a training's epoch, on average, that go into each kind of raypose's hooks, and into all else."""
    as_in_a_lane()
    watch = Stopwatch()
    for part, methods in HOOKS.items():
        for owner, name in methods:
            watch.watch(owner, name, part)
    watch.restart()
    train(replace(run, folder=run.folder / "hooks"), lambda metrics, folder: False)
    spent = {**watch.spent, "all else": watch.rest()}
    return {part: float(both[1]) / run.epochs for part, both in spent.items()}

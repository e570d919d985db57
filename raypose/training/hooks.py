"""What raypose adds to MMEngine's training loop: seeds, whole steps, the check for divergence, an epoch's end.

Runs in: GPU worker.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed

from raypose.errors import DivergedError
from raypose.record.epochs import commit_epoch, is_intact, read_epochs, retire, staging_folder
from raypose.record.view import Epoch, best_epoch
from raypose.space.run import Run
from raypose.training.base import FIGURES
from raypose.training.checkpoint import load_state, save_state

Report = Callable[[Mapping[str, float], Path], bool]
"""Called on rank 0 with an epoch's metrics and its checkpoint folder; true asks the training to stop there."""


class SeedHook(Hook):
    """Draw every epoch's random numbers from (seed, epoch, rank), so that a resumed epoch equals a first one."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed Python, NumPy and torch; loader processes take their seeds from torch's."""
        seed = (self.seed * 1009 + runner.epoch) * 1009 + dist.get_rank()
        set_random_seed(seed % 2**32)  # NumPy takes no larger one


class FiniteLossHook(Hook):
    """End a training whose loss is no longer a number, on all ranks together."""

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Raise DivergedError if any rank's loss is NaN or infinite."""
        bad = torch.logical_not(torch.isfinite(outputs["loss"])).float()
        if dist.get_world_size() > 1:
            dist.all_reduce(bad, "max")
        if bad.item():
            raise DivergedError(f"the loss is not finite in epoch {runner.epoch + 1}, step {batch_idx + 1}")


class EpochHook(Hook):
    """At the end of an epoch commit its checkpoint, report it, and stop if asked or due; at the start, resume.

    `end` is the last epoch to train here: of the run, or of its part with the freeze set. `costs` are figures of the
    model that every epoch's metrics hold. `stopped` says whether the report asked to stop before the run's own end.
    """

    priority = "LOW"  # after EMAHook has put the trained weights back

    def __init__(self, run: Run, end: int, report: Report, costs: Mapping[str, float]) -> None:
        self.run, self.end, self.report, self.costs = run, end, report, costs
        self.stopped = False
        self._began = time.monotonic()

    def before_train(self, runner: Runner) -> None:
        """Go on from the trial's last epoch whose files are whole."""
        last = last_epoch(self.run.folder)
        if last is not None:
            load_state(runner, last.folder)
            runner.logger.info(f"going on after epoch {last.number}")
        runner.train_loop.stop_training = runner.epoch >= self.end
        dist.barrier()

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the epoch's clock, and its count of batches: no step takes some from one epoch, some from the next."""
        self._began = time.monotonic()
        runner.optim_wrapper.initialize_count_status(runner.model, 0, len(runner.train_dataloader))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Rank 0 commits and reports; all ranks stop or go on together."""
        # On all ranks: MMEngine gives them the same metrics, and so they end together if one is no number.
        figures = _finite({**(metrics or {}), **_training_figures(runner), **self.costs}, self.run.metric)
        stop = [False]
        if dist.is_main_process():
            stop = [self._end_epoch(runner, figures)]
        if dist.get_world_size() > 1:
            dist.broadcast_object_list(stop, src=0)
        self.stopped = stop[0] and runner.epoch < self.run.epochs
        runner.train_loop.stop_training = stop[0] or runner.epoch >= self.end

    def _end_epoch(self, runner: Runner, metrics: dict[str, float]) -> bool:
        staging = staging_folder(self.run.folder, runner.epoch)
        save_state(runner, staging)
        folder = commit_epoch(staging, runner.epoch, metrics, time.monotonic() - self._began)
        stop = self.report(metrics, folder)
        # Epochs that follow were damaged, and are yet to be done again: neither last nor best.
        _keep_last_and_best(read_epochs(self.run.folder)[: runner.epoch], self.run.metric)
        return stop


def last_epoch(trial: Path) -> Epoch | None:
    """The trial's last epoch whose files are whole: what a training goes on from."""
    return next((epoch for epoch in reversed(read_epochs(trial)) if is_intact(epoch)), None)


def _keep_last_and_best(epochs: tuple[Epoch, ...], metric: str) -> None:
    """Free the space of all other epochs; only now, when the last one is committed and reported."""
    best = best_epoch(epochs, metric)
    for epoch in epochs[:-1]:
        if epoch.has_weights and epoch != best:
            retire(epoch)


def _finite(metrics: Mapping[str, Any], needed: str) -> dict[str, float]:
    """The figures that are numbers; of a joint group that no validation person shows MMPose gives a negative one."""
    sound = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
    figures = {name: value for name, value in sound.items() if value >= 0 or name not in FIGURES}
    if needed not in figures:
        raise DivergedError(f"{needed} is {metrics.get(needed, 'not reported')}")
    return figures


def _training_figures(runner: Runner) -> dict[str, float]:
    """Mean loss and SimCC accuracy over the epoch's steps, and the last LR, before any group's own factor."""
    scalars, steps = runner.message_hub.log_scalars, len(runner.train_dataloader)
    figures = {"lr": float(scalars["train/base_lr" if "train/base_lr" in scalars else "train/lr"].current())}
    for name in ("loss", "acc_pose"):
        if f"train/{name}" in scalars:
            figures[name] = float(scalars[f"train/{name}"].mean(steps))
    return figures

"""What raypose adds to MMEngine's training loop: seeds, the check for divergence, and the end of an epoch.

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
from raypose.training.checkpoint import load_state, save_state

Report = Callable[[Mapping[str, float], Path], bool]
"""Called on rank 0 with an epoch's metrics and its checkpoint folder; true asks the training to stop there."""


class SeedHook(Hook):
    """Draw every epoch's random numbers from (seed, epoch, rank), so that a resumed epoch equals a first one."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed Python, NumPy and torch; loader processes take their seeds from torch's."""
        set_random_seed((self.seed * 1009 + runner.epoch) * 1009 + dist.get_rank())


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
    """At the end of an epoch commit its checkpoint, report it, and stop if asked; at the start, resume."""

    priority = "LOW"  # after EMAHook has put the trained weights back

    def __init__(self, trial: Path, metric: str, report: Report) -> None:
        self.trial, self.metric, self.report = trial, metric, report
        self._began = time.monotonic()

    def before_train(self, runner: Runner) -> None:
        """Go on from the trial's last epoch whose files are whole."""
        last = next((e for e in reversed(read_epochs(self.trial)) if is_intact(e)), None)
        if last is not None:
            load_state(runner, last.folder)
            runner.logger.info(f"going on after epoch {last.number}")
        dist.barrier()

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the epoch's clock."""
        self._began = time.monotonic()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Rank 0 commits and reports; all ranks stop or go on together."""
        # On all ranks: MMEngine gives them the same metrics, and so they end together if one is no number.
        figures = _finite({**(metrics or {}), **_training_figures(runner)}, self.metric)
        stop = [False]
        if dist.is_main_process():
            stop = [self._end_epoch(runner, figures)]
        if dist.get_world_size() > 1:
            dist.broadcast_object_list(stop, src=0)
        runner.train_loop.stop_training = stop[0]

    def _end_epoch(self, runner: Runner, metrics: dict[str, float]) -> bool:
        staging = staging_folder(self.trial, runner.epoch)
        save_state(runner, staging)
        folder = commit_epoch(staging, runner.epoch, metrics, time.monotonic() - self._began)
        stop = self.report(metrics, folder)
        # Epochs that follow were damaged, and are yet to be done again: neither last nor best.
        _keep_last_and_best(read_epochs(self.trial)[: runner.epoch], self.metric)
        return stop


def _keep_last_and_best(epochs: tuple[Epoch, ...], metric: str) -> None:
    """Free the space of all other epochs; only now, when the last one is committed and reported."""
    best = best_epoch(epochs, metric)
    for epoch in epochs[:-1]:
        if epoch.has_weights and epoch != best:
            retire(epoch)


def _finite(metrics: Mapping[str, Any], needed: str) -> dict[str, float]:
    """The figures that are numbers; a joint group that no validation person shows has none."""
    figures = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
    if needed not in figures:
        raise DivergedError(f"{needed} is {metrics.get(needed, 'not reported')}")
    return figures


def _training_figures(runner: Runner) -> dict[str, float]:
    """Mean loss and SimCC accuracy over the epoch's steps, and the first group's last learning rate."""
    scalars, steps = runner.message_hub.log_scalars, len(runner.train_dataloader)
    figures = {"lr": float(scalars["train/lr"].current())}
    for name in ("loss", "acc_pose"):
        if f"train/{name}" in scalars:
            figures[name] = float(scalars[f"train/{name}"].mean(steps))
    return figures

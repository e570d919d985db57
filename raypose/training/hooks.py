"""What raypose adds to MMEngine's training loop: seeds, unreadable images, one model on all ranks, an epoch's end.

Runs in: GPU worker.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.runner import Runner

from raypose.errors import DivergedError
from raypose.record.epochs import commit_epoch, keep_last_and_best, last_whole, read_epochs, staging_folder
from raypose.space.run import Run
from raypose.training.base import FIGURES
from raypose.training.checkpoint import buffers, export_weights, load_state, save_state
from raypose.training.partial import drop_partial
from raypose.training.pause import PauseHook, step_of
from raypose.training.people import UNREADABLE, Unreadable
from raypose.training.seeds import mixed, seed_generators

Report = Callable[[Mapping[str, float], Path], bool]
"""Called on rank 0 with an epoch's metrics and its checkpoint folder; true asks the training to stop there."""


class SeedHook(Hook):
    """Draw random numbers from the place in the training, so that one taken up again equals an unbroken one."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_epoch(self, runner: Runner) -> None:
        """Tell the data set, which the epoch's loader processes inherit."""
        runner.train_dataloader.dataset.place = (self.seed, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """For what the model itself draws; its ranks draw different numbers."""
        seed_generators(mixed("step", self.seed, runner.epoch, step_of(runner), dist.get_rank()))


class UnreadableHook(Hook):
    """Let the training leave out a share of its images if they cannot be read, and say how many in the log."""

    def __init__(self, folder: Path, share: float) -> None:
        self.folder, self.share = folder, share

    def before_train(self, runner: Runner) -> None:
        """Give the data set its list, and that what it knows of already."""
        people = runner.train_dataloader.dataset
        people.unreadable = Unreadable(self.folder / UNREADABLE, self.share * people.images)
        for image, fault in people.found_unreadable:
            people.leave_out(image, fault)

    def after_train_epoch(self, runner: Runner) -> None:
        """Warn of them; as MMEngine's log takes a warning once, it tells of later epochs only if they find more."""
        people = runner.train_dataloader.dataset
        if dist.is_main_process() and (count := people.unreadable.count()):
            runner.logger.warning(
                f"{count} of {people.images} training images cannot be used and are left out; {UNREADABLE} lists them"
            )


class BuffersHook(Hook):
    """After an epoch's last step all ranks take rank 0's buffers, so that one model is validated, saved and resumed.

    But for those of `frozen` tensors, which are the same on all ranks: if one is not, KeepFrozenHook is to see it.
    """

    priority = "VERY_LOW"  # after MMEngine's SyncBuffersHook, where a config has it

    def __init__(self, frozen: Iterable[str]) -> None:
        self.frozen = {f"{part}.{name}" for name in frozen for part in ("model", "ema.module")}

    def after_train_epoch(self, runner: Runner) -> None:
        """Those of BatchNorm, and of the moving average."""
        if dist.get_world_size() > 1:
            own = {name: tensor for name, tensor in buffers(runner).items() if name not in self.frozen}
            first = [{name: tensor.cpu() for name, tensor in own.items()} if dist.is_main_process() else {}]
            dist.broadcast_object_list(first, src=0)
            for name, tensor in first[0].items():
                own[name].copy_(tensor)


class EpochHook(Hook):
    """At the end of an epoch commit its checkpoint, report it, and stop if asked or due; at the start, resume.

    `end` is the last epoch to train here: of the run, or of its part with the freeze set. `costs` are figures of the
    model that every epoch's metrics hold; `pauses` keeps the epoch's time. `stopped` says whether the report asked to
    stop before the run's own end.
    """

    priority = "LOW"  # after EMAHook has put the trained weights back

    def __init__(self, run: Run, end: int, report: Report, costs: Mapping[str, float], pauses: PauseHook) -> None:
        self.run, self.end, self.report, self.costs, self.pauses = run, end, report, costs, pauses
        self.stopped = False

    def before_train(self, runner: Runner) -> None:
        """Go on from the trial's last epoch whose files are whole."""
        last = last_whole(self.run.folder)
        if last is not None:
            load_state(runner, last.folder)
            runner.logger.info(f"going on after epoch {last.number}")
        runner.train_loop.stop_training = runner.epoch >= self.end
        dist.barrier()

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
        export_weights(runner, staging)
        folder = commit_epoch(staging, runner.epoch, metrics, self.pauses.seconds())
        drop_partial(self.run.folder)
        stop = self.report(metrics, folder)
        # Epochs that follow were damaged, and are yet to be done again: neither last nor best.
        keep_last_and_best(read_epochs(self.run.folder)[: runner.epoch], self.run.metric)
        return stop


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

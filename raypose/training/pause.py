"""A training that pauses between two steps, and goes on from there in another process. Runs in: GPU worker."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import Sampler

from raypose.errors import DivergedError
from raypose.space.run import Run
from raypose.training.memory import batch_of
from raypose.training.partial import resume_partial, write_partial

BLOWN_UP = 1e6
"""Of a loss that is between 0.1 and 100 in a sane training: with lr 0.5 instead of 0.004 it reaches 4e6 in step 5 and
9e18 later, and what comes back from there finds nobody's joints."""


class Paused(Exception):
    """The training ends here for now: all of it is saved."""


class PauseHook(Hook):
    """After each step all ranks agree whether to go on; a paused epoch goes on with the step after.

    `end` is the last epoch to train here. `asked` is called on rank 0 after every step, and has to be quick.
    """

    priority = "VERY_LOW"  # after all other hooks, schedulers and the moving average too, are done with a step

    def __init__(self, run: Run, end: int, asked: Callable[[], bool]) -> None:
        self.run, self.end, self.asked = run, end, asked
        self._done, self._began = 0, time.monotonic()
        self._batch = (run.workers, batch_of(run), run.accumulation)

    def seconds(self) -> float:
        """What the running epoch has taken up to now, in all attempts."""
        return time.monotonic() - self._began

    def before_train(self, runner: Runner) -> None:
        """Go on within the epoch after the last whole one, if it was paused."""
        spent = 0.0
        if runner.epoch < self.end:
            self._done, spent = resume_partial(runner, self.run.folder, self._batch)
        self._began = time.monotonic() - spent

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin the epoch's count of batches, so that no step takes some from one epoch, some from the next."""
        loader = runner.train_dataloader
        runner.optim_wrapper.initialize_count_status(runner.model, self._done % len(loader), len(loader))
        if self._done:
            sampler = loader.batch_sampler.sampler
            loader.batch_sampler.sampler = _Rest(sampler, self._done * loader.batch_sampler.batch_size)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Raise, on all ranks, DivergedError if a loss is no number, and Paused if rank 0 was asked for it."""
        bad, pause = self._agreed(runner, outputs["loss"])
        step, steps = step_of(runner) + 1, len(runner.train_dataloader)
        if bad:
            where = f"in epoch {runner.epoch + 1}, step {step}"
            raise DivergedError(f"the loss is {outputs['loss'].item():.3g} {where}: not finite, or blown up")
        if pause:
            runner.train_loop._iter += 1  # as the loop does after this
            write_partial(runner, self.run.folder, step, self._batch, self.seconds())
            runner.logger.info(f"paused in epoch {runner.epoch + 1} after step {step} of {steps}")
            raise Paused

    def after_train_epoch(self, runner: Runner) -> None:
        """From the next epoch on, all samples again."""
        batches = runner.train_dataloader.batch_sampler
        if isinstance(batches.sampler, _Rest):
            batches.sampler = batches.sampler.whole
        self._done = 0

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Start the next epoch's clock."""
        self._began = time.monotonic()

    def _agreed(self, runner: Runner, loss: Tensor) -> tuple[bool, bool]:
        """Whether any rank's loss is NaN or blown up, and whether to pause: only where no gradient is left over."""
        bad = torch.logical_not(loss.abs() < BLOWN_UP).float()
        pause = dist.is_main_process() and runner.optim_wrapper.should_update() and self.asked()
        flags = torch.stack((bad, torch.full_like(bad, float(pause))))
        if dist.get_world_size() > 1:
            dist.all_reduce(flags, "max")
        any_bad, any_pause = flags.tolist()
        return any_bad > 0, any_pause > 0


class _Rest(Sampler[int]):
    """A sampler without its first samples, as long as the whole: schedules are made of that length."""

    def __init__(self, whole: Sampler[int], done: int) -> None:
        self.whole, self.done = whole, done

    def __iter__(self) -> Iterator[int]:
        return islice(iter(self.whole), self.done, None)

    def __len__(self) -> int:
        return len(self.whole)  # type: ignore[arg-type]


def step_of(runner: Runner) -> int:
    """The running step of the epoch, from 0; a loop's own index counts from where the epoch was taken up again."""
    step: int = runner.iter - runner.epoch * len(runner.train_dataloader)
    return step

"""How long an epoch takes on this machine, from a few of its steps. Runs in: a child process of the command line."""

import dataclasses
import math
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.hasten import hastened
from raypose.training.hooks import UnreadableHook
from raypose.training.memory import is_out_of_memory
from raypose.training.model import build_model
from raypose.training.runner import build_runner, registered

STEPS, BATCHES, LIMIT_S = 5, 2, 6.0
ON_CPU = 8  # people of a step there, where a larger one takes longer for each of them, not less


class Pace(TypedDict):
    """Seconds of an epoch with its validation, where they were measured, and how many GPUs there are."""

    epoch_s: float
    device: str
    gpus: int


def gpus() -> int:
    """How many GPUs this machine has."""
    return torch.cuda.device_count()


def pace(run: Run, threads: int) -> Pace | None:
    """Time a few steps and batches of validation with so many threads.

    People are loaded from photos, as in a first epoch; a checkpoint's time is not in it. None where the run is for a
    GPU and here is none, or the other way round, and where memory holds no step of it.
    """
    if run.gpu != torch.cuda.is_available():
        return None
    torch.set_num_threads(threads)
    people = run.batch_size if run.gpu else min(run.batch_size, ON_CPU)
    with tempfile.TemporaryDirectory() as folder:
        one = dataclasses.replace(run, batch_size=people, workers=1, folder=Path(folder))
        try:
            each_s, val_s = _measured(one)
        except (MemoryError, RuntimeError) as fault:
            if not is_out_of_memory(fault):
                raise
            return None
    epoch_s = math.ceil(run.train_people / run.workers) * each_s + val_s
    return {"epoch_s": epoch_s, "device": "GPU" if run.gpu else "CPU", "gpus": gpus()}


def _measured(run: Run) -> tuple[float, float]:
    """Seconds a person trained, and of the whole validation."""
    config = hastened(build_config(run), run)
    config.train_cfg = {"type": "IterBasedTrainLoop", "max_iters": STEPS, "val_begin": STEPS + 1}
    config.train_dataloader.sampler.type = "InfiniteSampler"
    config.param_scheduler, config.custom_hooks = [], []  # neither average nor second pipeline
    with registered(run.folder / "log", "pace") as config.experiment_name:
        model, *_ = build_model(config, run)
        clock = _ClockHook()
        runner = build_runner(config, model, run, str(run.folder))
        runner.register_hook(clock)
        runner.register_hook(UnreadableHook(run.folder, run.bad_images))
        runner.train()
        return clock.step_s() / run.batch_size, _validation(runner)


@torch.no_grad()
def _validation(runner: Runner) -> float:
    """Seconds of the whole, from its first batches."""
    runner.model.eval()
    loader, began = runner.val_loop.dataloader, time.monotonic()
    for batch in islice(loader, BATCHES):
        runner.model.val_step(batch)
        _wait()
    return (time.monotonic() - began) * len(loader) / min(BATCHES, len(loader))


class _ClockHook(Hook):
    """Note when each step ends, and end the training when enough time has gone by."""

    def __init__(self) -> None:
        self._ends: list[float] = []

    def before_train(self, runner: Runner) -> None:
        """The first step's begin."""
        self._ends = [time.monotonic()]

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """The end of a step, on a GPU too."""
        _wait()
        self._ends.append(time.monotonic())
        runner.train_loop.stop_training = self._ends[-1] - self._ends[0] > LIMIT_S

    def step_s(self) -> float:
        """Median of the steps but for the first, which starts processes and chooses kernels, if there are others."""
        steps = [end - begin for begin, end in zip(self._ends, self._ends[1:], strict=False)]
        return statistics.median(steps[1:] or steps)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()

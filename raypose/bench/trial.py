"""A trial's start, part by part, in a process that is set up like a lane's worker. Runs in: a process of its own."""

import gc
from typing import Final

import cv2
import mmengine.hooks
import torch
from mmengine.model import BaseModel

from raypose.bench.stopwatch import Spent, Stopwatch
from raypose.space.run import Run
from raypose.training import hooks, model, pause, runner
from raypose.training import train as training
from raypose.training.people import People

PARTS: Final = (
    ("config", training, "build_config"),
    ("config", training, "hastened"),
    ("crop cache", training, "add_cache"),
    ("model", training, "build_model"),
    ("weights", model, "load_weights"),
    ("runner", training, "build_runner"),
    ("cost measurement", training, "trial_costs"),
    ("checkpoint lookups", training, "last_whole"),
    ("checkpoint lookups", hooks, "last_whole"),
    ("checkpoint lookups", pause, "resume_partial"),
    ("annotations", People, "full_init"),
    ("loaders", runner._Runner, "build_train_loop"),
    ("loaders", runner._Runner, "build_val_loop"),
    ("optimizer", runner._Runner, "build_optim_wrapper"),
    ("moving average", mmengine.hooks.EMAHook, "before_run"),
    ("first batch", People, "prepare_data"),
    ("first step", BaseModel, "train_step"),
)


def as_in_a_lane() -> None:
    """One thread, and no search for garbage in what is imported."""
    gc.freeze()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def watched() -> Stopwatch:
    """A stopwatch on all PARTS, in a process that is set up like a lane's."""
    as_in_a_lane()
    watch = Stopwatch()
    for part, owner, name in PARTS:
        watch.watch(owner, name, part)
    return watch


def first_step(run: Run, watch: Stopwatch) -> dict[str, Spent]:
    """Train one step; what each part has spent until its end, and all else."""
    found: dict[str, Spent] = {}

    def after_a_step() -> bool:
        found.update({**watch.spent, "all else": watch.rest()})
        return True

    watch.restart()
    training.train(run, lambda metrics, folder: True, after_a_step)
    return found

"""Training from files, loader and model at once; several at once. Runs in: a process of a way, and its own."""

import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from mmengine.runner import Runner

from raypose.bench import turns
from raypose.space.run import Run
from raypose.training.cache import add_cache
from raypose.training.config import build_config
from raypose.training.hasten import hastened
from raypose.training.memory import keep_freed
from raypose.training.model import build_model
from raypose.training.runner import build_runner, registered

What = Literal["both", "model", "loader"]
TIMES = 64
"""How often a data set holds each of its people, so that an epoch is longer than what is measured."""


def training(run: Run, what: What, batches: int) -> Callable[[], None]:
    """Trains so many batches as they come from the loader, or the first one again and again, or only loads them."""
    config = build_config(run)
    if run.fast_transforms:
        keep_freed()
        config = hastened(config, run)
        add_cache(config, run)
    loader = config.train_dataloader
    loader.dataset = {"type": "RepeatDataset", "times": TIMES, "dataset": loader.dataset}
    with registered(run.folder / "bench.log", run.folder.name) as config.experiment_name:
        model, frozen, _ = build_model(config, run)
        runner = build_runner(config, model, run, str(run.folder))
        wrapper = runner.build_optim_wrapper(config.optim_wrapper)
        coming = _endless(Runner.build_dataloader(loader))
    first = next(coming)
    train_step: Any = model.train_step
    model.train()
    for module in frozen:
        module.eval()

    def again() -> None:
        for _ in range(batches):
            batch = first if what == "model" else next(coming)
            if what != "loader":
                train_step(batch, wrapper)

    return again


def _endless(loader: Any) -> Iterator[Any]:
    return itertools.chain.from_iterable(itertools.repeat(loader))


def together(run: Run, count: int, threads: int, batches: int) -> Callable[[], None]:
    """Trains so many batches in all, shared out to `count` trainings at once, each with so many threads."""
    arguments = ("joined.training", run, "both", batches // count)
    spawn = multiprocessing.get_context("spawn")
    pools = [spawn.Pool(1, turns.prepare, arguments) for _ in range(count)]  # which end with this process

    def of_all(function: Callable[..., object], argument: object) -> None:
        for asked in [pool.apply_async(function, (argument,)) for pool in pools]:
            asked.get()

    of_all(torch.set_num_threads, threads)
    return lambda: of_all(turns.measure, "wall")

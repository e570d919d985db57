"""Training steps: MMPose's with a learning rate of 0 for what is frozen, and raypose's. Runs in: a process of a way.

They are made on one batch, which was loaded before, but for `steps_on_views`, which loads each batch.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.hasten import hastened
from raypose.training.memory import keep_freed
from raypose.training.model import build_model
from raypose.training.runner import build_runner, registered
from raypose.training.views import make_training, take_training


def steps(run: Run, count: int, zero_rate: bool = False) -> Callable[[], None]:
    """Trains so many steps on one batch of the run's data; with a rate of zero for the backbone, as guides advise."""
    config = build_config(run)
    if run.fast_transforms:
        keep_freed()
        config = hastened(config, run)
    if zero_rate:
        config.optim_wrapper.paramwise_cfg.custom_keys = {"backbone": {"lr_mult": 0.0}}
    with trainer(config, run) as (_, train_step):
        batch = first_batch(config)

    def again() -> None:
        for _ in range(count):
            train_step(batch)

    return again


def steps_on_views(run: Run, count: int) -> Callable[[], None]:
    """Trains so many steps on views of the run's data, each on people drawn anew, their maps and labels loaded."""
    keep_freed()
    config = hastened(build_config(run), run)
    with trainer(config, run) as (model, train_step):
        take_training(config, run, make_training(config, model, run))
        people: Any = Runner.build_dataloader(config.train_dataloader).dataset
    people.place, draw = (run.seed, 0), np.random.default_rng(run.seed)

    def again() -> None:
        for _ in range(count):
            drawn = draw.choice(len(people), run.batch_size, replace=run.batch_size > len(people))
            train_step(people.__getitems__(drawn.tolist()))

    return again


def first_batch(config: Config) -> Any:
    """A whole batch, of each person as often as it takes."""
    loader = copy.deepcopy(config.train_dataloader)
    loader.dataset = {"type": "RepeatDataset", "times": loader.batch_size, "dataset": loader.dataset}
    return next(iter(Runner.build_dataloader(loader)))


@contextmanager
def trainer(config: Config, run: Run) -> Iterator[tuple[nn.Module, Callable[[Any], Any]]]:
    """The model of a config, and what trains it on a batch."""
    with registered(run.folder / "bench.log", run.folder.name) as config.experiment_name:
        model, frozen, _ = build_model(config, run)
        runner = build_runner(config, model, run, str(run.folder))
        wrapper = runner.build_optim_wrapper(config.optim_wrapper)
        model.train()
        for module in frozen:
            module.eval()
        train_step: Any = model.train_step
        yield model, lambda batch: train_step(batch, wrapper)

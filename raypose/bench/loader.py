"""Loading people: with MMPose's transforms, with raypose's, and from the crop cache. Runs in: a process of a way."""

import copy
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS

from raypose.space.run import Run
from raypose.training.cache import add_cache
from raypose.training.config import build_config
from raypose.training.hasten import hastened
from raypose.training.memory import keep_freed


def load(run: Run, how: Literal["stock", "fast", "cached"], people: int) -> Callable[[], None]:
    """Loads so many people of the run's training data, from the same random draws each time."""
    init_default_scope("mmpose")
    config = build_config(run)
    if how == "stock":
        config.train_dataloader.dataset.type = "MpiiDataset"  # MMPose's own
    else:
        keep_freed()
        config = hastened(config, run)
    if how == "cached":
        add_cache(config, run)
    data: Any = DATASETS.build(copy.deepcopy(config.train_dataloader.dataset))

    def again() -> None:
        for index in range(people):
            np.random.seed(index)
            data.prepare_data(index % len(data))

    return again

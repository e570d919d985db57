"""MMEngine's Runner around a model that is already built, and its log. Runs in: GPU worker, `raypose plan`."""

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmpose.visualization import PoseLocalVisualizer
from torch import nn
from torch.utils.data import DataLoader

from raypose.space.knobs import Value
from raypose.space.run import Run
from raypose.training.checkpoint import bare_model
from raypose.training.layer_rates import rate_factors, scale_rates
from raypose.training.loader_faults import told_plainly


class _Runner(Runner):
    """MMEngine's Runner with the trial's shares of the LR, and without files of its own, which raypose keeps."""

    def __init__(self, values: Mapping[str, Value], **parts: Any) -> None:
        self._values = values
        super().__init__(**parts)

    @told_plainly()
    def train(self) -> nn.Module:
        """MMEngine's, with errors of the loader processes as they were."""
        model: nn.Module = super().train()
        return model

    @told_plainly()
    def val(self) -> dict[str, float]:
        """MMEngine's, with errors of the loader processes as they were."""
        figures: dict[str, float] = super().val()
        return figures

    def build_optim_wrapper(self, optim_wrapper: Any) -> OptimWrapper:
        """MMEngine's, with `lr_mult` and `layer_decay` on top; the schedulers that are built next keep the ratios."""
        built = super().build_optim_wrapper(optim_wrapper)
        scale_rates(built.optimizer, rate_factors(bare_model(self), self._values))
        return built

    def build_logger(self, *_: object, **__: object) -> MMLogger:
        """The logger that `registered` has made."""
        return MMLogger.get_current_instance()

    def dump_config(self) -> None:
        """Already written, once for all attempts."""

    @staticmethod
    def build_dataloader(dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> DataLoader[Any]:
        """Without MMEngine's seed, which would make every epoch's loader processes draw the same random numbers."""
        return cast("DataLoader[Any]", Runner.build_dataloader(dataloader, None, diff_rank_seed))


def build_runner(config: Config, model: nn.Module, run: Run, work_dir: str) -> Runner:
    """MMEngine's Runner around a model that is already built, so that it is frozen before anything wraps it."""
    names = ("train_dataloader", "val_dataloader", "train_cfg", "val_cfg", "optim_wrapper", "param_scheduler")
    more = ("val_evaluator", "default_hooks", "custom_hooks", "env_cfg", "log_processor", "visualizer", "launcher")
    return _Runner(
        run.values,
        model=model,
        work_dir=work_dir,
        default_scope="mmpose",
        randomness={"seed": run.seed},
        experiment_name=config.experiment_name,
        cfg=config,
        **{name: config[name] for name in (*names, *more) if name in config},
    )


@contextmanager
def registered(log: Path, stem: str) -> Iterator[str]:
    """MMEngine's text log goes to a file, its errors to the worker's output too; forget all of it in the end.

    Yields the name MMEngine is to use: it keeps loggers, message hubs and visualizers by it for the life of the
    process, and a lane trains many trials.
    """
    name = f"{stem}-{uuid.uuid4().hex[:8]}"
    logger = MMLogger.get_instance(name, logger_name="raypose", log_file=str(log), file_mode="a")
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler:
            handler.setLevel(logging.ERROR)
    try:
        yield name
    finally:
        for handler in logger.handlers:
            handler.close()
        for manager in (MMLogger, MessageHub, DefaultScope, Visualizer, PoseLocalVisualizer):
            for key in [k for k in manager._instance_dict if name in k]:
                del manager._instance_dict[key]

"""Training steps: MMPose's with a learning rate of 0 for what is frozen, and raypose's. Runs in: a process of a way."""

from collections.abc import Callable
from typing import Any

from mmengine.runner import Runner

from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.hasten import hastened
from raypose.training.memory import keep_freed
from raypose.training.model import build_model
from raypose.training.runner import build_runner, registered


def steps(run: Run, count: int, zero_rate: bool = False) -> Callable[[], None]:
    """Trains so many steps on one batch of the run's data; with a rate of zero for the backbone, as guides advise."""
    config = build_config(run)
    if run.fast_transforms:
        keep_freed()
        config = hastened(config, run)
    if zero_rate:
        config.optim_wrapper.paramwise_cfg.custom_keys = {"backbone": {"lr_mult": 0.0}}
    with registered(run.folder / "bench.log", run.folder.name) as config.experiment_name:
        model, frozen, _ = build_model(config, run)
        runner = build_runner(config, model, run, str(run.folder))
        wrapper = runner.build_optim_wrapper(config.optim_wrapper)
        batch = next(iter(Runner.build_dataloader(config.train_dataloader)))
    train_step: Any = model.train_step
    model.train()
    for module in frozen:
        module.eval()

    def again() -> None:
        for _ in range(count):
            train_step(batch, wrapper)

    return again

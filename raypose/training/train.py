"""Train one trial with MMEngine's Runner and the official RTMPose recipe. Runs in: GPU worker, or under a debugger.

Nothing here knows of Ray, Optuna or MLflow: epochs go out through `report`, a plain callable.
"""

import logging
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import Runner, set_random_seed
from mmengine.visualization import Visualizer
from mmpose.registry import MODELS
from mmpose.visualization import PoseLocalVisualizer
from torch import nn
from torch.utils.data import DataLoader

from raypose.errors import SpecError
from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.freeze import KeepFrozenHook, freeze
from raypose.training.hooks import EpochHook, FiniteLossHook, Report, SeedHook
from raypose.training.weights import Loaded, load_weights


def train(run: Run, report: Report) -> None:
    """Train a trial to its end, or until `report` asks to stop; go on from its last epoch if there is one.

    Raises DivergedError for a loss that is not finite, SpecError and WeightsError for values that cannot be used.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    config = build_config(run)
    with tempfile.TemporaryDirectory() as work_dir, registered(run.folder / "train.log", run.folder.name) as name:
        config.experiment_name = name
        model, frozen, _ = build_model(config, run)
        runner = build_runner(config, model, run.seed, work_dir)
        for hook in (
            SeedHook(run.seed),
            KeepFrozenHook(frozen),
            FiniteLossHook(),
            EpochHook(run.folder, run.metric, report),
        ):
            runner.register_hook(hook)
        if is_main_process():
            config.dump(run.folder / "config.py")
        runner.train()


def build_model(config: Config, run: Run) -> tuple[nn.Module, list[nn.Module], Loaded]:
    """The trial's model, weights loaded, freeze set frozen, still on the CPU; with it what froze and what loaded."""
    init_default_scope("mmpose")
    source = config.model.backbone.pop("init_cfg", None)
    set_random_seed(run.seed)  # for all that the weights do not cover; MMEngine's Runner seeds only after this
    model: nn.Module = MODELS.build(config.model)
    model.init_weights()  # type: ignore[operator]  # mmengine's, which torch's stubs do not know
    loaded = load_weights(model, run.weights, source)
    choice = str(run.values.get("freeze", "none"))
    if choice != "none" and run.weights == "none":
        raise SpecError([f"freeze: '{choice}' would freeze random weights; give weights, or freeze none"])
    return model, freeze(model, choice), loaded


class _Runner(Runner):
    """MMEngine's Runner without files of its own: raypose keeps log and config in the trial's folder."""

    def build_logger(self, *_: object, **__: object) -> MMLogger:
        """The logger that `registered` has made."""
        return MMLogger.get_current_instance()

    def dump_config(self) -> None:
        """Already written, once for all attempts."""

    @staticmethod
    def build_dataloader(dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> DataLoader[Any]:
        """Without MMEngine's seed, which would make every epoch's loader processes draw the same random numbers."""
        return cast("DataLoader[Any]", Runner.build_dataloader(dataloader, None, diff_rank_seed))


def build_runner(config: Config, model: nn.Module, seed: int, work_dir: str) -> Runner:
    """MMEngine's Runner around a model that is already built, so that it is frozen before anything wraps it."""
    names = ("train_dataloader", "val_dataloader", "train_cfg", "val_cfg", "optim_wrapper", "param_scheduler")
    more = ("val_evaluator", "default_hooks", "custom_hooks", "env_cfg", "log_processor", "visualizer", "launcher")
    return _Runner(
        model=model,
        work_dir=work_dir,
        default_scope="mmpose",
        randomness={"seed": seed},
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

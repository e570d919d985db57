"""Train one trial with MMEngine's Runner and the official RTMPose recipe. Runs in: GPU worker, or under a debugger.

Nothing here knows of Ray, Optuna or MLflow: epochs go out through `report`, a plain callable.
"""

import tempfile

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmpose.registry import MODELS
from torch import nn

from raypose.errors import SpecError
from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.freeze import KeepFrozenHook, freeze
from raypose.training.hooks import EpochHook, FiniteLossHook, Report, SeedHook
from raypose.training.runner import build_runner, registered
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
        runner = build_runner(config, model, run, work_dir)
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

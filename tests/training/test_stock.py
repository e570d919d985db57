"""Training with default knobs is MMPose's own: the same losses and weights as MMEngine's stock Runner gives.

The stock side knows nothing of raypose: it starts from the official MPII config file. What both must have in common,
as random numbers have to be the same, are the seeds; a transform and a hook of the config bring them to the stock side.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS, TRANSFORMS
from mmengine.runner import Runner, set_random_seed
from safetensors.torch import load_file

from raypose.record.epochs import read_epochs
from raypose.space.run import Run
from raypose.training.base import MPII_CONFIG, base_config
from raypose.training.checkpoint import TENSORS
from raypose.training.train import train

MakeRun = Callable[..., Run]
STEPS = 60  # of 2 people, in 5 epochs of 24
STOCK: dict[str, Any] = {"fast_transforms": False, "channels_last": False, "fused": False}


class Losses(Hook):
    """The loss of every step of the last training; a hook of the config, so that both Runners have it."""

    seen: list[float] = []

    def before_train(self, runner: Runner) -> None:
        self.seen.clear()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.seen.append(outputs["loss"].item())


def set_seed(*place: int | str) -> None:
    """MMEngine's seed of everything, for a place in a training with the seed 3."""
    set_random_seed(int.from_bytes(hashlib.blake2b(repr(place).encode(), digest_size=4).digest(), "big"))


class SampleSeed(BaseTransform):
    """The random numbers of raypose's samples."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        set_seed("sample", 3, results["dataset"].epoch, results["sample_idx"])
        return results


class StepSeed(Hook):
    """The random numbers of raypose's steps, and the epoch for those of the samples."""

    def before_train_epoch(self, runner: Runner) -> None:
        runner.train_dataloader.dataset.epoch = runner.epoch

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        set_seed("step", 3, runner.epoch, batch_idx, 0)


@pytest.fixture(scope="module")
def trained(make_run: MakeRun, start: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[float]]:
    """A training of five epochs by raypose, and its losses."""
    for hook in (Losses, StepSeed):
        HOOKS.register_module(module=hook, force=True)
    TRANSFORMS.register_module(module=SampleSeed, force=True)
    folder = tmp_path_factory.mktemp("stock")
    config = base_config("rtmpose-n")
    config.custom_hooks.append({"type": "Losses"})
    config.dump(folder / "own.py")
    torch.save({"state_dict": load_file(start)}, folder / "start.pth")
    run = make_run(
        model=str(folder / "own.py"), weights=str(folder / "start.pth"), epochs=5, batch_size=2, seed=3, **STOCK
    )
    train(run, lambda metrics, folder: False)
    return run, list(Losses.seen)


def official_config(run: Run) -> Config:
    """MMPose's MPII config with what a user has to change by hand for this training, all of it in numbers."""
    config = Config.fromfile(MPII_CONFIG)
    config.model.backbone.update(deepen_factor=0.33, widen_factor=0.25, use_depthwise=True, init_cfg=None)
    config.model.head.update(in_channels=256, input_size=(64, 64), in_featuremap_size=(2, 2))
    config.model.head.decoder.update(input_size=(64, 64), sigma=(2.83, 2.83))
    _, switch = config.custom_hooks
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(run.data)
    config.val_dataloader.dataset.headbox_file = str(run.data / "annotations" / "mpii_gt_val.mat")
    pipelines = (loader.dataset.pipeline for loader in (config.train_dataloader, config.val_dataloader))
    for step in (step for pipeline in (*pipelines, switch.switch_pipeline) for step in pipeline):
        if step.type == "TopdownAffine":
            step.input_size = (64, 64)
        elif step.type == "GenerateTarget":
            step.encoder.update(input_size=(64, 64), sigma=(2.83, 2.83))
    for pipeline in (config.train_dataloader.dataset.pipeline, switch.switch_pipeline):
        pipeline.insert(0, {"type": "SampleSeed"})
    fit_by_hand(config)
    return config


def fit_by_hand(config: Config) -> None:
    """The recipe's 210 epochs of 44 steps as 5 of 12, its shares kept."""
    warm_up, cosine = config.param_scheduler
    average, switch = config.custom_hooks
    config.train_cfg.update(max_epochs=5, val_interval=1)
    warm_up.end = 6
    cosine.update(begin=2.5, end=5, T_max=2.5, eta_min=2e-4)
    average.update(momentum=0.0308, gamma=2000 / 154)
    switch.switch_epoch = 4


@pytest.fixture(scope="module")
def stock(trained: tuple[Run, list[float]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Runner, list[float]]:
    """The official config, trained by MMEngine's Runner."""
    run, _ = trained
    config = official_config(run)
    config.work_dir, config.load_from = str(tmp_path_factory.mktemp("work")), run.weights
    config.randomness = {"seed": run.seed}
    config.default_hooks.checkpoint = None
    config.custom_hooks += [{"type": "Losses"}, {"type": "StepSeed"}]
    runner = Runner.from_cfg(config)
    runner.train()
    return runner, list(Losses.seen)


def test_every_loss_is_the_same(trained: tuple[Run, list[float]], stock: tuple[Runner, list[float]]) -> None:
    (_, ours), (_, theirs) = trained, stock
    assert len(ours) == len(theirs) == STEPS and len(set(ours)) > 50
    assert ours == pytest.approx(theirs, rel=1e-6)  # on one processor they are equal to the last bit


def test_the_weights_are_the_same(trained: tuple[Run, list[float]], stock: tuple[Runner, list[float]]) -> None:
    saved = load_file(read_epochs(trained[0].folder)[-1].folder / TENSORS)
    runner, _ = stock
    (average,) = (hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook))
    for part, theirs in (("model", runner.model.state_dict()), ("ema", average.state_dict())):
        for name, tensor in theirs.items():
            torch.testing.assert_close(saved[f"{part}.{name}"], tensor, rtol=1e-5, atol=1e-7, msg=f"{part}.{name}")


def losses_of(run: Run, folder: Path, **levers: bool) -> list[float]:
    """Of a training with a small LR: with the recipe's, Adam makes 1 % of what rounds in three steps."""
    changes = {"values": {**run.values, "lr": 1e-5}, "folder": folder, **levers}
    train(dataclasses.replace(run, **changes), lambda metrics, folder: False)
    return list(Losses.seen)


@pytest.fixture(scope="module")
def without_levers(trained: tuple[Run, list[float]], tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return losses_of(trained[0], tmp_path_factory.mktemp("plain") / "trial")


@pytest.mark.parametrize("lever", ["channels_last", "fused"])
def test_a_lever_changes_losses_by_rounding_alone(
    trained: tuple[Run, list[float]], without_levers: list[float], tmp_path: Path, lever: str
) -> None:
    losses = losses_of(trained[0], tmp_path / "trial", **{lever: True})
    assert losses != without_levers and losses == pytest.approx(without_levers, rel=1e-3)

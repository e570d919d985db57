"""MMPose on today's stack: no stand-in left behind, and what compat.py mends."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS, init_default_scope
from mmengine.runner import Runner

from raypose.space.run import Run
from raypose.training.compat import PipelineSwitchHook
from raypose.training.config import build_config
from raypose.training.model import build_model
from raypose.training.runner import build_runner, registered

MakeRun = Callable[..., Run]


@pytest.mark.parametrize("absent", ["mmdet", "mmdet.utils", "mmcv.ops", "chumpy"])
def test_no_stand_in_is_left(absent: str) -> None:
    assert absent not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(absent)


def test_only_the_registry_stays_in_mmdets_name() -> None:
    assert [name for name in sys.modules if name.split(".")[0] == "mmdet"] == ["mmdet.registry"]


def test_a_part_that_needs_mmdet_says_so() -> None:
    from mmpose.models.heads.hybrid_heads import rtmo_head

    with pytest.raises(ImportError, match="needs mmdet"):
        rtmo_head.reduce_mean(1)


@pytest.fixture
def runner(make_run: MakeRun, tmp_path: Path) -> Iterator[Runner]:
    run = make_run(epochs=9)
    with registered(tmp_path / "log", "trial") as name:
        config = build_config(run)
        config.experiment_name = name
        model, _, _ = build_model(config, run)
        yield build_runner(config, model, run, str(tmp_path))


def small_crops(runner: Runner) -> list[dict[str, Any]]:
    """The training pipeline, but with crops of another size."""
    pipeline = [dict(transform) for transform in runner.cfg.train_dataloader.dataset.pipeline]
    next(t for t in pipeline if t["type"] == "TopdownAffine")["input_size"] = (32, 32)
    return [t for t in pipeline if t["type"] != "GenerateTarget"]


@pytest.mark.parametrize(("epoch", "side"), [(0, 64), (3, 64), (4, 32), (7, 32)])
def test_pipeline_switches_also_when_the_runner_starts_past_its_epoch(runner: Runner, epoch: int, side: int) -> None:
    hook = PipelineSwitchHook(4, small_crops(runner))
    runner.train_loop._epoch = epoch
    hook.before_train_epoch(runner)
    assert runner.train_loop.dataloader.dataset[0]["inputs"].shape == (3, side, side)


@pytest.mark.parametrize("persistent", [False, True])
def test_loader_processes_get_the_second_pipeline(runner: Runner, persistent: bool) -> None:
    runner._train_loop["max_epochs"] = 2
    runner._train_dataloader.update(num_workers=1, persistent_workers=persistent)
    hook = PipelineSwitchHook(1, small_crops(runner))
    sides = []
    for epoch in range(2):
        runner.train_loop._epoch = epoch
        hook.before_train_epoch(runner)
        sides += [{inputs.shape[-1] for inputs in batch["inputs"]} for batch in runner.train_loop.dataloader]
    assert sides == [{64}] * 3 + [{32}] * 3


def test_albumentation_draws_from_numpys_seed() -> None:
    init_default_scope("mmpose")
    kinds = [{"type": "Blur", "p": 0.5}, {"type": "CoarseDropout", "max_holes": 3, "max_height": 0.4, "max_width": 0.4}]
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)

    def draw(seed: int) -> list[bytes]:
        transform = TRANSFORMS.build({"type": "Albumentation", "transforms": kinds})
        np.random.seed(seed)
        return [transform.transform({"img": image.copy()})["img"].tobytes() for _ in range(4)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)
    assert len(set(draw(3))) > 1

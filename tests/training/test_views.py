"""Views through a frozen backbone: the same training as through the backbone itself, computed once for a machine."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import Runner

from raypose.errors import DataError
from raypose.record.epochs import read_epochs
from raypose.record.files import read_json
from raypose.record.view import CACHE, CACHED_VIEWS
from raypose.space.run import Run
from raypose.training.cache import cache_folder
from raypose.training.config import build_config
from raypose.training.freeze import VERDICT
from raypose.training.hasten import hastened
from raypose.training.maps import Maps
from raypose.training.model import build_model
from raypose.training.plan import plan_trials
from raypose.training.runner import build_runner, registered
from raypose.training.train import train
from raypose.training.viewed import view_of
from raypose.training.views import hindrance, make_training, take_training

MakeRun = Callable[..., Run]
FROZEN = {"freeze": "backbone"}


@pytest.fixture
def viewed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: Path) -> dict[str, Any]:
    """What a run says so that views are kept, in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return {"data_digest": "of these data", "cache_bytes": 10**9, "weights": str(start), "cached_views": 2}


def trained(run: Run) -> list[dict[str, float]]:
    """Each epoch's figures, but for those that are timed."""
    train(run, lambda metrics, folder: False)
    timed = ("latency_ms", "images_per_s")
    return [{k: v for k, v in epoch.metrics.items() if k not in timed} for epoch in read_epochs(run.folder)]


def entries() -> list[Path]:
    return sorted(cache_folder().glob("*.views"))


def losses(run: Run, on_views: bool, steps: int = 6) -> list[float]:
    """Of so many steps on the first epoch's draws, from images or from views."""
    run.folder.mkdir(parents=True, exist_ok=True)
    config = hastened(build_config(run), run)
    with registered(run.folder / "log", run.folder.name) as config.experiment_name:
        model, frozen, _ = build_model(config, run)
        if on_views:
            take_training(config, run, make_training(config, model, run))
        runner = build_runner(config, model, run, str(run.folder))
        wrapper = runner.build_optim_wrapper(config.optim_wrapper)
        loader = Runner.build_dataloader(config.train_dataloader)
        found: list[float] = []
        model.train()
        for module in frozen:
            module.eval()
        while len(found) < steps:
            loader.dataset.place = (run.seed, 0)
            for batch in loader:
                assert isinstance(batch["inputs"], Maps) is on_views
                found.append(model.train_step(batch, wrapper)["loss"].item())
    return found


@pytest.mark.parametrize("changes", [{}, {"fast_transforms": False, "channels_last": False}])
def test_losses_are_those_of_the_same_views_through_the_backbone(
    make_run: MakeRun, viewed: dict[str, Any], changes: dict[str, Any]
) -> None:
    run = make_run({**FROZEN, "lr": 1e-4}, **{**viewed, "cached_views": 1, **changes})
    through_backbone, from_table = losses(run, on_views=False), losses(run, on_views=True)
    assert from_table == pytest.approx(through_backbone, rel=1e-5)
    assert len(set(from_table)) == len(from_table), "each step trains"

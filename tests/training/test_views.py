"""Views through a frozen backbone: the same training as through the backbone itself, computed once for a machine."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import Runner

from raypose.datasets.made_once import size_of
from raypose.errors import DataError
from raypose.record.epochs import read_epochs
from raypose.record.files import read_json, write_json
from raypose.record.view import CACHE, CACHED_VIEWS
from raypose.space.run import Run
from raypose.training.cache import cache_folder
from raypose.training.checkpoint import WEIGHTS
from raypose.training.config import build_config
from raypose.training.cost import COSTS
from raypose.training.freeze import VERDICT
from raypose.training.hasten import hastened
from raypose.training.maps import Maps
from raypose.training.model import build_model
from raypose.training.people import UNREADABLE
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
    """Each epoch's figures; the model's costs are given, as measuring them takes longer than the training."""
    run.folder.mkdir(parents=True)
    write_json(run.folder / "cost.json", dict.fromkeys(COSTS, 1.0))
    train(run, lambda metrics, folder: False)
    return [epoch.metrics for epoch in read_epochs(run.folder)]


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


def test_as_many_views_as_epochs_change_nothing(make_run: MakeRun, viewed: dict[str, Any]) -> None:
    run = make_run({**FROZEN, "lr": 1e-3}, **viewed, epochs=4)  # the last one of the second pipeline
    drawn_anew = trained(dataclasses.replace(run, cached_views=0))
    plain = torch.load(run.folder / "epoch_0004" / WEIGHTS, weights_only=True)["state_dict"]
    verdict = read_json(run.folder / VERDICT)
    shutil.rmtree(run.folder)
    on_views = trained(dataclasses.replace(run, cached_views=4))
    exported = torch.load(run.folder / "epoch_0004" / WEIGHTS, weights_only=True)["state_dict"]
    assert [{**figures, CACHED_VIEWS: 4} for figures in drawn_anew] == [pytest.approx(f, rel=1e-4) for f in on_views]
    assert exported.keys() == plain.keys() and read_json(run.folder / VERDICT) == verdict
    assert all(torch.allclose(exported[name], plain[name], atol=1e-5) for name in plain)
    assert "MapsEstimator" not in (run.folder / "config.py").read_text(), "what plain MMPose trains"


def test_fewer_views_are_made_once_for_all_trials(make_run: MakeRun, viewed: dict[str, Any]) -> None:
    first, other = (make_run({"freeze": freeze}, **viewed, epochs=3) for freeze in ("backbone", "stage4"))
    figures = trained(first)
    made = {entry: (entry / "maps.npy").stat() for entry in entries()}
    assert len(made) == 2 and all(epoch[CACHED_VIEWS] == 2 for epoch in figures)
    assert "2 views a person, " in (first.folder / "train.log").read_text()
    assert read_json(first.folder / CACHE)["views"] == 2
    assert trained(other) == figures
    again = {entry: (entry / "maps.npy").stat() for entry in entries()}
    assert {e: s.st_ino for e, s in again.items()} == {e: s.st_ino for e, s in made.items()}
    trained(make_run(FROZEN, **{**viewed, "data_digest": "of others"}, epochs=3))
    trained(make_run({**FROZEN, "input_size": "32x32"}, **viewed, epochs=3))
    assert len(entries()) == 6


@pytest.mark.parametrize(
    ("stages", "views"),
    [
        ([(0, 2)], [0, 1, 0, 1, 0, 1]),
        ([(0, 2), (3, 1)], [0, 1, 0, 2, 2, 2]),
        ([(0, 3), (3, 3)], [0, 1, 2, 3, 4, 5]),
    ],
)
def test_an_epoch_has_its_view(stages: list[tuple[int, int]], views: list[int]) -> None:
    assert [view_of(epoch, stages) for epoch in range(6)] == views


@pytest.mark.parametrize(
    ("values", "changes", "reason"),
    [
        ({"freeze": "stage4"}, {}, None),
        ({"freeze": "backbone+head.gau"}, {}, None),
        ({}, {}, "backbone.stem.0.conv is not frozen"),
        ({"freeze": "stage3"}, {}, "backbone.stage4.0.depthwise_conv.conv is not frozen"),
        ({"freeze": "norms"}, {}, "backbone.stem.0.conv is not frozen"),
        ({**FROZEN, "unfreeze.at": 0.5}, {"epochs": 2}, "unfreeze.at lets learn"),
        (FROZEN, {"cache_bytes": 0}, "train.cache_gb is 0"),
    ],
)
def test_where_the_backbone_may_change_there_are_no_views(
    make_run: MakeRun, viewed: dict[str, Any], values: dict[str, Any], changes: dict[str, Any], reason: str | None
) -> None:
    run = make_run(values, **{**viewed, **changes})
    config = hastened(build_config(run), run)
    found = hindrance(config, build_model(config, run)[0], run)
    assert found is None if reason is None else reason in str(found)


def test_what_a_config_does_of_its_own_is_not_left_out(make_run: MakeRun, viewed: dict[str, Any]) -> None:
    run = make_run(FROZEN, **viewed)
    model, _, _ = build_model(build_config(run), run)
    padded, blurred, labelled = (build_config(run) for _ in range(3))
    padded.model.data_preprocessor.pad_size_divisor = 64
    blurred.val_dataloader.dataset.pipeline.insert(1, {"type": "Albumentation", "transforms": []})
    labelled.train_dataloader.dataset.pipeline[-2].encoder.type = "MSRAHeatmap"
    reasons = [str(hindrance(config, model, run)) for config in (padded, blurred, labelled)]
    assert "preprocessor of another kind" in reasons[0]
    assert reasons[1].startswith("the validation pipeline") and "does not end with SimCC labels" in reasons[2]


def test_the_plan_and_the_log_tell(make_run: MakeRun, viewed: dict[str, Any]) -> None:
    used, unused = make_run(FROZEN, **viewed), make_run({"freeze": "stem"}, **viewed)
    (yes,), (no,) = (plan["notices"] for plan in plan_trials(used, [used, unused]))
    assert "trained on 2 views of each person" in yes and no.startswith("train.cached_views is not used: backbone.")
    assert CACHED_VIEWS not in trained(unused)[0] and not entries()
    assert no in (unused.folder / "train.log").read_text()


def test_without_room_it_is_trained_on_images(make_run: MakeRun, viewed: dict[str, Any]) -> None:
    run = make_run(FROZEN, **{**viewed, "cache_bytes": 1000})
    assert CACHED_VIEWS not in trained(run)[0] and not entries()
    log = (run.folder / "train.log").read_text()
    assert "train.cached_views is not used, and all people are augmented anew in every epoch: they take" in log


def test_room_for_one_table_is_not_enough(make_run: MakeRun, viewed: dict[str, Any]) -> None:
    trained(make_run(FROZEN, **viewed))
    largest = max(size_of(entry) for entry in entries())
    for entry in entries():
        shutil.rmtree(entry)
    run = make_run(FROZEN, **{**viewed, "cache_bytes": largest + 1})
    assert CACHED_VIEWS not in trained(run)[0]
    assert "MB hold the training or the validation people, not both" in (run.folder / "train.log").read_text()


def test_unreadable_images_are_told_to_all_trials(
    make_run: MakeRun, viewed: dict[str, Any], tiny_data: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(tiny_data, tmp_path / "data")
    (data / "images" / "00003.jpg").unlink()
    run = make_run(FROZEN, **viewed, data=data, bad_images=0.1)
    others = [dataclasses.replace(run, folder=tmp_path / name) for name in ("second", "third")]
    assert trained(run) == trained(others[0])
    for trial in (run, others[0]):
        assert (trial.folder / UNREADABLE).read_text().startswith("00003.jpg\t")
        assert "1 of 24 training images cannot be used" in (trial.folder / "train.log").read_text()
    with pytest.raises(DataError, match=r"1 of 24 training images cannot be used, more than failure\.bad_images"):
        trained(dataclasses.replace(others[1], bad_images=0.01))

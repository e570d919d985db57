"""Figures and hits: MMPose's own evaluation, a PCK that its hits add up to, the test part, and the written retest."""

import dataclasses
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.evaluation.metrics import MpiiPCKAccuracy
from torch import distributed

from raypose.datasets.demo import render_demo
from raypose.datasets.mpii import VAL
from raypose.datasets.split import split_rows
from raypose.errors import DataError
from raypose.record.epochs import commit_epoch, read_json, staging_folder
from raypose.space.run import Run
from raypose.training.base import FIGURES, MPII_CONFIG
from raypose.training.checkpoint import WEIGHTS
from raypose.training.config import build_config
from raypose.training.evaluate import RETEST, MpiiHits, evaluate, retest, score
from raypose.training.model import build_model
from raypose.training.predictions import Hits
from raypose.training.weights import read_weights

MakeRun = Callable[..., Run]
OWN_SIZE = {"input_size": "128x128"}  # the demo weights'


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 people on 20 images: the last one is on the picture of the first."""
    folder = tmp_path_factory.mktemp("people") / "set"
    render_demo(folder, train=1, val=21, seed=3, style="sketch")
    records = json.loads((folder / VAL).read_text())
    records[-1]["image"] = records[0]["image"]
    (folder / VAL).write_text(json.dumps(records))
    return folder


@pytest.fixture(scope="module")
def scored(make_run: MakeRun, people: Path) -> Any:
    return score(make_run(OWN_SIZE, weights="demo", data=people))


def stock_config(people: Path, folder: Path) -> Config:
    """MMPose's official MPII config, with nothing changed but the model's size and the place of data and weights."""
    config = Config.fromfile(MPII_CONFIG)
    config.model.backbone.update(deepen_factor=0.33, widen_factor=0.25, use_depthwise=True, init_cfg=None)
    config.model.backbone.norm_cfg.type = "BN"
    config.model.head.update(in_channels=256, input_size=(128, 128), in_featuremap_size=(4, 4))
    config.model.head.decoder.update(input_size=(128, 128), sigma=(4.0, 4.0))
    for loader in (config.val_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=str(people), headbox_file=str(people / "annotations" / "mpii_gt_val.mat"))
        next(t for t in loader.dataset.pipeline if t.type == "TopdownAffine").input_size = (128, 128)
    torch.save({"state_dict": read_weights("demo")}, folder / "demo.pth")
    config.update(load_from=str(folder / "demo.pth"), work_dir=str(folder / "work"), experiment_name=folder.name)
    return config


def test_the_figures_are_mmposes_own(people: Path, tmp_path: Path, scored: Any) -> None:
    stock = Runner.from_cfg(stock_config(people, tmp_path)).test()
    assert len(stock) == 9 and 20 < stock["PCK"] < 100
    assert scored.metrics == pytest.approx(stock, abs=1e-4)


def test_the_hits_add_up_to_the_pck(make_run: MakeRun, people: Path, scored: Any) -> None:
    hits, records = scored.images, json.loads((people / VAL).read_text())
    assert hits.names == sorted({record["image"] for record in records}) and len(hits.names) == 20
    labelled = dict.fromkeys(hits.names, 0)
    for record in records:
        labelled[record["image"]] += sum(seen for joint, seen in enumerate(record["joints_vis"]) if joint not in (6, 7))
    assert dict(zip(hits.names, hits.counted, strict=True)) == labelled
    assert all(0 <= found <= counted for found, counted in zip(hits.found, hits.counted, strict=True))
    assert 100 * sum(hits.found) / sum(hits.counted) == pytest.approx(scored.metrics["PCK"], abs=1e-9)


def person(image: str, distance: float, hidden: tuple[int, ...] = ()) -> dict[str, Any]:
    """A sample whose joints are all found `distance` head sizes off."""
    labelled = np.full((1, 16, 2), 100.0)
    visible = np.ones((1, 16))
    visible[0, list(hidden)] = 0
    found = labelled - 1 + [distance * 20, 0]  # predictions count from 0, labels from 1
    return {
        "id": 0,
        "img_path": f"somewhere/{image}",
        "pred_instances": {"keypoints": found},
        "gt_instances": {"keypoints": labelled, "keypoints_visible": visible, "head_size": np.array([[20.0]])},
    }


def test_what_counts_as_found() -> None:
    metric = MpiiHits()
    metric.process(None, [person("b.jpg", 0.49), person("a.jpg", 0.51)])
    metric.process(None, [person("b.jpg", 0.51, hidden=(0, 6, 9)), person("c.jpg", 0.0, hidden=tuple(range(14)))])
    assert metric.evaluate(4)["PCK"] == pytest.approx(100 * 16 / 42)
    assert metric.hits == Hits(["a.jpg", "b.jpg", "c.jpg"], [0, 14, 2], [14, 14 + 12, 2])


def test_any_predictions_add_up_and_are_figured_as_mmpose_does() -> None:
    draw = np.random.default_rng(0)
    ours, mmposes = MpiiHits(), MpiiPCKAccuracy()
    for number in range(60):
        sample = person(f"{number % 25}.jpg", 0.0, hidden=tuple(draw.permutation(16)[: draw.integers(16)]))
        sample["pred_instances"]["keypoints"] += draw.normal(0, 8, (1, 16, 2))
        for metric in (ours, mmposes):
            metric.process(None, [sample])
    figures = ours.evaluate(60)
    assert figures == mmposes.evaluate(60) and 20 < figures["PCK"] < 80
    assert 100 * sum(ours.hits.found) / sum(ours.hits.counted) == pytest.approx(figures["PCK"], abs=1e-9)


@pytest.mark.parametrize("figure", FIGURES)
def test_the_hits_are_those_of_the_figure_that_was_asked_for(figure: str) -> None:
    draw, metric = np.random.default_rng(1), MpiiHits(figure)
    for number in range(97):
        sample = person(f"{number}.jpg", 0.0)
        sample["pred_instances"]["keypoints"] += draw.normal(0, 1, (1, 16, 2)) * (4 + np.arange(16)[None, :, None])
        metric.process(None, [sample])
    found = metric.evaluate(97)
    assert 100 * sum(metric.hits.found) / sum(metric.hits.counted) == pytest.approx(found[figure], abs=1e-6)
    assert len({round(value, 6) for value in found.values()}) == len(found)


def test_a_head_without_a_size_changes_none_of_mmposes_figures() -> None:
    samples = [person("a.jpg", 0.6), person("b.jpg", 0.6)]
    samples[1]["gt_instances"]["head_size"] = np.array([[0.0]])
    ours, mmposes = MpiiHits(), MpiiPCKAccuracy()
    for metric in (ours, mmposes):
        metric.process(None, samples)
    assert ours.evaluate(2) == mmposes.evaluate(2)
    assert ours.hits == Hits(["a.jpg", "b.jpg"], [0, 0], [14, 0])


def test_the_test_part_is_scored_alone(make_run: MakeRun, people: Path, scored: Any) -> None:
    run = make_run(OWN_SIZE, weights="demo", data=people, held_out=0.4)
    records = json.loads((people / VAL).read_text())
    kept = sorted({records[row]["image"] for row in split_rows(people / VAL, 0.4, "test")})
    part, whole = score(run, "test").images, dict(zip(scored.images.names, scored.images.found, strict=True))
    assert 0 < len(kept) < 20 and part.names == kept and part.found == [whole[name] for name in kept]
    assert evaluate(run, "test")["PCK"] == pytest.approx(100 * sum(part.found) / sum(part.counted))
    with pytest.raises(DataError, match="in the test part"):
        score(dataclasses.replace(run, held_out=0.0), "test")


@pytest.fixture
def trained(make_run: MakeRun, people: Path) -> Run:
    """What a training leaves behind: epoch 2 of three is the best, and its weights are the demo's."""
    run = make_run(OWN_SIZE, data=people, retest=True)
    random, _, _ = build_model(build_config(run), run)
    for epoch, (pck, weights) in enumerate([(20, random.state_dict()), (60, read_weights("demo")), (60, {})], 1):
        staging = staging_folder(run.folder, epoch)
        torch.save({"state_dict": weights, "meta": {"epoch": epoch}}, staging / WEIGHTS)
        commit_epoch(staging, epoch, {"PCK": pck}, 1.0)
    return run


def assert_retested(run: Run, scored: Any) -> None:
    written = read_json(run.folder / RETEST)
    assert list(written) == ["epoch", "metrics", "images"] and written["epoch"] == 2
    assert written["metrics"] == pytest.approx(scored.metrics, abs=1e-4)
    assert written["images"] == dataclasses.asdict(scored.images)


def test_the_best_epochs_weights_are_scored_once(trained: Run, scored: Any) -> None:
    retest(trained)
    assert_retested(trained, scored)
    shutil.rmtree(trained.folder / "epoch_0002")  # it would have to be read again
    retest(trained)
    assert_retested(trained, scored)


def rank_of_two(rank: int, run: Run, store: str) -> None:
    distributed.init_process_group("gloo", rank=rank, world_size=2, init_method=f"file://{store}")
    os.environ["LOCAL_RANK"] = str(rank)
    retest(run)


def test_two_ranks_share_the_people_and_one_writes(trained: Run, tmp_path: Path, scored: Any) -> None:
    run = dataclasses.replace(trained, workers=2, batch_size=4)
    fork = multiprocessing.get_context("fork")
    ranks = [fork.Process(target=rank_of_two, args=(rank, run, tmp_path / "store")) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    assert [process.exitcode for process in ranks] == [0, 0]
    assert_retested(run, scored)

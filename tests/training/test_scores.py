"""What `raypose test` tells of one data set: MMPose's figures to the digit, the curve, its area, the intervals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmpose.evaluation.functional import keypoint_pck_accuracy
from mmpose.evaluation.metrics import MpiiPCKAccuracy
from safetensors.torch import save_file

from raypose.datasets.demo import render_demo
from raypose.datasets.mpii import HEAD_BOXES, VAL
from raypose.errors import WeightsError
from raypose.record.final import interval
from raypose.training.base import FIGURES
from raypose.training.predictions import Predictions
from raypose.training.scores import THRESHOLDS, Scores, scored, to_test
from raypose.training.weights import read_weights

ANKLE, UNLABELLED = 5, 11
told: list[tuple[int, int]] = []


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 people on 20 images, of whom one has no label at the left ankle, and none at the right elbow."""
    folder = tmp_path_factory.mktemp("people") / "set"
    render_demo(folder, train=1, val=21, seed=3, style="sketch")
    records = json.loads((folder / VAL).read_text())
    records[-1]["image"] = records[0]["image"]
    for record in records:
        record["joints_vis"][UNLABELLED] = 0
    records[1]["joints_vis"][ANKLE] = 0
    (folder / VAL).write_text(json.dumps(records))
    return folder


@pytest.fixture(scope="module")
def found(people: Path) -> tuple[Scores, Predictions]:
    run = replace(to_test("demo", "rtmpose-n", {}, people, 0.0), loader_workers=0, batch_size=8)
    return scored(run, "val", lambda done, total: told.append((done, total)))


def heads(people: Path) -> Any:
    """Their sizes, as MMPose's MpiiDataset computes them from the file."""
    from scipy.io import loadmat

    boxes = np.transpose(loadmat(people / HEAD_BOXES)["headboxes_src"], [2, 0, 1])
    return np.array([np.linalg.norm(box[1] - box[0], axis=0) * 0.6 for box in boxes])


def test_the_figures_are_mmposes_own_to_the_digit(people: Path, found: tuple[Scores, Predictions]) -> None:
    scores, predictions = found
    records, stock = json.loads((people / VAL).read_text()), MpiiPCKAccuracy()
    for record, seen, head in zip(records, predictions.seen, heads(people), strict=True):
        truth = {
            "keypoints": np.array(record["joints"], np.float32)[None],
            "keypoints_visible": np.array(record["joints_vis"])[None],
            "head_size": head.reshape(1, -1),
        }
        stock.process(None, [{"pred_instances": {"keypoints": seen[None]}, "gt_instances": truth}])
    theirs = stock.evaluate(len(records))
    assert set(FIGURES) | {"AUC"} == set(scores.figures)
    assert {name: scores.figures[name] for name in FIGURES if name != "Elbow PCK"} == {
        name: float(theirs[name]) for name in FIGURES if name != "Elbow PCK"
    }
    assert scores.figures["PCK"] is not None and 30 < scores.figures["PCK"] < 100


def test_a_figure_with_a_joint_that_nobody_shows_is_none(found: tuple[Scores, Predictions]) -> None:
    scores, _ = found
    assert scores.figures["Elbow PCK"] is scores.intervals["Elbow PCK"] is None
    assert [name for name, figure in scores.figures.items() if figure is None] == ["Elbow PCK"]


def test_the_curve_and_its_area_are_pck_at_every_threshold(found: tuple[Scores, Predictions]) -> None:
    scores, predictions = found
    counted = [joint for joint in range(16) if joint not in (6, 7, UNLABELLED)]
    seen, truth = predictions.seen[:, counted], predictions.truth[:, counted]
    lengths = np.linalg.norm(seen - truth, axis=-1) / predictions.distances[:, counted]
    head = np.median(lengths, axis=1)[:, None].repeat(2, axis=1)  # a size follows from any joint's distance
    labelled = predictions.labelled[:, counted]

    def pck(threshold: float) -> float:
        shares, *_ = keypoint_pck_accuracy(seen, truth, labelled, threshold, head.copy())
        return float(100 * (shares * labelled.sum(axis=0)).sum() / labelled.sum())

    assert scores.thresholds == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]
    assert scores.curve == pytest.approx([pck(t) for t in scores.thresholds])
    assert scores.curve == sorted(scores.curve) and scores.curve[-1] == pytest.approx(scores.figures["PCK"])
    assert scores.curve[1] == pytest.approx(scores.figures["PCK@0.1"], abs=1e-4)
    assert scores.figures["AUC"] == pytest.approx(2 * np.trapezoid([pck(t) for t in THRESHOLDS], THRESHOLDS))


def test_intervals_hold_the_figures_and_images_are_what_is_drawn(found: tuple[Scores, Predictions]) -> None:
    scores, _ = found
    for name, ends in scores.intervals.items():
        if ends is not None:
            figure = scores.figures[name]
            assert figure is not None and 0 <= ends[0] <= figure <= ends[1] <= 100
    assert len(scores.hits.names) == 20 and scores.people == 21
    hits = {"found": scores.hits.found, "counted": scores.hits.counted}
    assert scores.intervals["PCK"] == interval(hits)
    assert told[-1] == (21, 21)


def test_a_pair_of_joints_is_weighed_left_and_right_alike() -> None:
    left, right = {"found": [1, 0] * 20, "counted": [1] * 40}, {"found": [0] * 40, "counted": [9] * 40}
    low, high = interval(left, right)
    assert low < 25 < high and interval(left)[0] == pytest.approx(2 * low)


def test_one_image_has_no_interval(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    render_demo(folder, train=1, val=1, style="sketch")
    scores, _ = scored(replace(to_test("demo", "rtmpose-n", {}, folder, 0.0), loader_workers=0), "val", lambda *_: None)
    assert scores.people == 1 and set(scores.intervals.values()) == {None}


def test_weights_of_another_size_are_resampled_and_said_to_be(people: Path) -> None:
    run = replace(to_test("demo", "rtmpose-n", {"input_size": "64x64"}, people, 0.0), loader_workers=0)
    scores, _ = scored(run, "val", lambda *_: None)
    assert scores.input_size == "64x64"
    assert scores.resampled == ("head.mlp.1.weight", "head.cls_x.weight", "head.cls_y.weight")


@pytest.mark.parametrize(("model", "part"), [("rtmpose-n", "backbone."), ("rtmpose-s", "")])
def test_weights_that_are_not_the_whole_models_are_refused(people: Path, tmp_path: Path, model: str, part: str) -> None:
    file = tmp_path / "part.safetensors"
    save_file({name: tensor for name, tensor in read_weights("demo").items() if name.startswith(part)}, file)
    with pytest.raises(WeightsError, match="are not in it|fits the model's backbone") as caught:
        scored(to_test(str(file), model, {}, people, 0.0), "val", lambda *_: None)
    assert "\n" not in str(caught.value)

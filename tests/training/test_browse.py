"""What a training sees of people, and whom weights fail on: the training's own samples, the evaluator's own figures."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope
from mmpose.registry import KEYPOINT_CODECS

from raypose.datasets.browse import choose
from raypose.datasets.mpii import VAL
from raypose.space.run import Run
from raypose.training.browse import augmented, hardest
from raypose.training.config import build_config
from raypose.training.evaluate import ALL_COUNTED, score
from raypose.training.hasten import hastened

MakeRun = Callable[..., Run]
OWN_SIZE = {"input_size": "128x128"}  # the demo weights'


def test_people_are_shown_as_that_epoch_of_the_training_sees_them(make_run: MakeRun) -> None:
    run = make_run({"input_size": "96x64"}, seed=3)
    shown = augmented(run, "train", 5, seed=1, epoch=1)
    config = hastened(build_config(run), run)
    init_default_scope("mmpose")
    people = DATASETS.build(config.train_dataloader.dataset)
    people.place = (3, 0)
    codec = KEYPOINT_CODECS.build(config.model.head.decoder)
    assert [each.row for each in shown] == choose(24, 5, 1)
    for each in shown:
        sample = people[each.row]
        assert each.size == (96, 64)
        assert np.array_equal(each.pixels, sample["inputs"].permute(1, 2, 0).numpy()[..., ::-1])
        labels = sample["data_samples"].gt_instance_labels
        (joints,), _ = codec.decode(labels.keypoint_x_labels.numpy(), labels.keypoint_y_labels.numpy())
        weights = labels.keypoint_weights[0].numpy()
        assert each.poses[0].filled == tuple(weights > 0)
        for joint, place, weight in zip(each.poses[0].joints, joints, weights, strict=True):
            assert joint == (pytest.approx(place, abs=0.01) if weight else None)


def test_epochs_draw_anew_and_the_last_ones_have_the_second_pipeline(make_run: MakeRun) -> None:
    run = make_run(epochs=10)
    first, again, second = (augmented(run, "train", 1, 0, epoch)[0] for epoch in (1, 1, 2))
    assert np.array_equal(first.pixels, again.pixels) and not np.array_equal(first.pixels, second.pixels)
    config = hastened(build_config(run), run)
    (hook,) = [hook for hook in config.custom_hooks if "switch_epoch" in hook]
    for epoch, pipeline in ((0, config.train_dataloader.dataset.pipeline), (1, hook.switch_pipeline)):
        place = hook.switch_epoch - 1 + epoch
        people = DATASETS.build({**config.train_dataloader.dataset, "pipeline": pipeline})
        people.place = (run.seed, place)
        (shown,) = augmented(run, "train", 1, 0, place + 1)
        assert np.array_equal(shown.pixels, people[shown.row]["inputs"].permute(1, 2, 0).numpy()[..., ::-1])


def test_validation_people_are_neither_turned_nor_mirrored_and_keep_their_joints(make_run: MakeRun) -> None:
    (one, *_) = augmented(make_run(), "val", 8, seed=0, epoch=1)
    record = json.loads((make_run().data / VAL).read_text())[one.row]
    given = np.array(record["joints"], float)
    pairs = [(joint, given[n]) for n, joint in enumerate(one.poses[0].joints) if joint is not None]
    assert len(pairs) == sum(record["joints_vis"]) and one.image == record["image"]
    shown, before = (np.array(side) for side in zip(*pairs, strict=True))
    scale = np.ptp(shown, axis=0) / np.ptp(before, axis=0)
    assert scale == pytest.approx(scale.mean(), rel=0.01)
    assert shown - shown[0] == pytest.approx((before - before[0]) * scale, abs=0.1)


def test_an_image_that_cannot_be_read_is_stood_in_for(make_run: MakeRun, tmp_path: Path, tiny_data: Path) -> None:
    data = shutil.copytree(tiny_data, tmp_path / "set")
    (data / "images" / "00005.jpg").write_bytes(b"no image")
    shown = augmented(make_run(data=data), "train", 24, seed=0, epoch=1)
    assert len(shown) == 24 and all(each.image != "00005.jpg" for each in shown)


@pytest.fixture(scope="module")
def found(make_run: MakeRun) -> tuple[Run, tuple[dict[str, float], list[object]]]:
    run = make_run(OWN_SIZE, weights="demo")
    return run, hardest(run, 100)


def test_the_hardest_people_come_first_with_the_evaluators_own_hits(found: tuple[Run, tuple[dict, list]]) -> None:
    run, (metrics, guesses) = found
    scored = score(run)
    assert metrics == pytest.approx(scored.metrics)
    assert sorted(guess.row for guess in guesses) == list(range(8))
    order = [(-guess.missed, -guess.error) for guess in guesses]
    assert order == sorted(order) and len(set(order)) > 1
    hits = [found for guess in guesses for found in guess.found]
    assert 100 * hits.count(1) / (hits.count(0) + hits.count(1)) == pytest.approx(scored.metrics["PCK"])
    for guess in guesses:
        assert guess.missed == guess.found.count(0) / (guess.found.count(0) + guess.found.count(1))
        assert all(guess.found[joint] == -1 for joint in range(16) if joint not in ALL_COUNTED)


def test_what_was_found_is_near_and_what_was_missed_is_far(found: tuple[Run, tuple[dict, list]]) -> None:
    run, (_, guesses) = found
    records = json.loads((run.data / VAL).read_text())
    far: dict[int, list[float]] = {0: [], 1: []}
    for guess in guesses:
        off = np.linalg.norm(np.array(guess.joints) + 1 - np.array(records[guess.row]["joints"]), axis=1)
        height = records[guess.row]["scale"] * 200
        for joint, judged in enumerate(guess.found):
            if judged >= 0:
                far[judged].append(off[joint] / height)
    assert np.median(far[0]) > 3 * np.median(far[1])


def test_no_more_than_were_asked_for(make_run: MakeRun) -> None:
    _, guesses = hardest(make_run(OWN_SIZE, weights="demo"), 3)
    assert len(guesses) == 3

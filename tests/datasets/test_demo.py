"""The demo set: the MPII layout, the same bytes each time, joints where they are drawn, never half a set."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from raypose.datasets import demo
from raypose.datasets.demo import STAMP, Style, ensure_demo, render_demo
from raypose.datasets.drawing import Canvas
from raypose.datasets.figure import Camera, Pose, Proportions, look_from, pose_figure
from raypose.datasets.mpii import require_sound
from raypose.datasets.outfit import street_outfit
from raypose.datasets.person import paint_person
from raypose.datasets.picture import draw_picture
from raypose.datasets.poses import random_proportions, street_pose
from raypose.datasets.scene import FLAT, SIZE
from raypose.errors import DataError

TRAIN, VAL = 6, 4
STYLES: tuple[Style, ...] = ("street", "sketch")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "new" / "small"
    render_demo(folder, train=TRAIN, val=VAL)
    return folder


def people(folder: Path, split: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((folder / "annotations" / f"mpii_{split}.json").read_text())
    return loaded


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_layout_is_sound_and_complete(small: Path) -> None:
    require_sound(small)
    names = [person["image"] for split in ("train", "val") for person in people(small, split)]
    assert names == [f"{n:05d}.jpg" for n in range(1, TRAIN + VAL + 1)]
    assert sorted(p.name for p in (small / "images").iterdir()) == names
    assert [p.name for p in small.parent.iterdir()] == [small.name]  # nothing is left beside it
    for name in names:
        image = cv2.imread(str(small / "images" / name))
        assert image is not None and image.shape == (SIZE, SIZE, 3)


def test_truth_file_agrees_with_the_annotations(small: Path) -> None:
    truth, val = loadmat(small / "annotations" / "mpii_gt_val.mat"), people(small, "val")
    assert truth["headboxes_src"].shape == (2, 2, VAL)
    np.testing.assert_array_equal(truth["pos_gt_src"].transpose(2, 0, 1), [person["joints"] for person in val])
    np.testing.assert_array_equal(truth["jnt_missing"].T, 1 - np.array([person["joints_vis"] for person in val]))


def test_mmpose_reads_it_and_truth_scores_full_marks(small: Path) -> None:
    from raypose.training import compat

    compat.install()
    from mmpose.datasets import MpiiDataset
    from mmpose.evaluation.metrics import MpiiPCKAccuracy

    dataset = MpiiDataset(
        data_root=str(small),
        ann_file="annotations/mpii_val.json",
        data_prefix={"img": "images/"},
        headbox_file=str(small / "annotations" / "mpii_gt_val.mat"),
        test_mode=True,
        metainfo={"from_file": "configs/_base_/datasets/mpii.py"},
    )
    metric = MpiiPCKAccuracy()
    for i, sample in enumerate(dataset):
        picture = draw_picture(np.random.default_rng([0, 0, 1, i]), "street")
        np.testing.assert_allclose(sample["bbox_center"][0], picture.box_middle, atol=0.02)
        np.testing.assert_allclose(sample["bbox_scale"][0], picture.box_side, atol=0.02)
        truth = {name: sample[name] for name in ("keypoints", "keypoints_visible", "head_size")}
        prediction = {"keypoints": picture.joints[None]}
        metric.process([{}], [{"gt_instances": truth, "pred_instances": prediction}])
    scores = metric.evaluate(len(dataset))
    assert scores["PCK"] == scores["PCK@0.1"] == pytest.approx(100)


@pytest.mark.parametrize("style", STYLES)
def test_same_seed_same_bytes(tmp_path: Path, style: Style) -> None:
    for name in ("one", "two"):
        render_demo(tmp_path / name, train=2, val=2, seed=7, style=style)
    render_demo(tmp_path / "other", train=2, val=2, seed=8, style=style)
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    assert one == contents(tmp_path / "two")
    assert not {data for name, data in one.items() if "images" in name} & set(other.values())


def test_a_picture_does_not_depend_on_how_many_there_are(small: Path, tmp_path: Path) -> None:
    render_demo(tmp_path / "more", train=TRAIN + 2, val=1)
    for i in range(1, TRAIN + 1):
        name = f"images/{i:05d}.jpg"
        assert (small / name).read_bytes() == (tmp_path / "more" / name).read_bytes()
    first_val = [people(folder, "val")[0] for folder in (small, tmp_path / "more")]
    assert first_val[0]["joints"] == first_val[1]["joints"]
    assert first_val[0]["image"] != first_val[1]["image"]


def test_train_and_val_are_different_pictures(small: Path) -> None:
    images = [(small / "images" / f"{i:05d}.jpg").read_bytes() for i in range(1, TRAIN + VAL + 1)]
    assert len(set(images)) == TRAIN + VAL


@pytest.mark.parametrize("style", STYLES)
def test_joints_boxes_and_visibility(style: Style) -> None:
    cut_off = 0
    for i in range(60):
        picture = draw_picture(np.random.default_rng([3, i]), style)
        within = np.all((picture.joints >= 0) & (picture.joints <= SIZE - 1), axis=1)
        np.testing.assert_array_equal(picture.inside, within)
        assert within.sum() >= 10 and within[[8, 9]].all()
        cut_off += not within.all()
        low, high = picture.joints[within].min(0), picture.joints[within].max(0)
        assert (picture.box_middle - picture.box_side / 2 < low + 0.1 * picture.box_side).all()
        assert (picture.box_middle + picture.box_side / 2 > high - 0.1 * picture.box_side).all()
        # 0.6 of the diagonal is the head's own length, which a turned head shows shortened.
        head = 0.6 * np.linalg.norm(picture.head_box[1] - picture.head_box[0])
        seen = np.linalg.norm(picture.joints[9] - picture.joints[8])
        assert 10 < head < 70 and seen < head * 1.15
        assert (picture.head_box[0] < picture.joints[9] + 3).all() and (
            picture.joints[9] - 3 < picture.head_box[1]
        ).all()
    assert 0 < cut_off < 25


def test_every_joint_lies_on_the_drawn_body() -> None:
    nowhere = np.array([255, 0, 255], np.float32)
    for i in range(40):
        rng = np.random.default_rng(i)
        canvas = Canvas(np.broadcast_to(nowhere, (SIZE, SIZE, 3)).astype(np.float32, order="C"), FLAT)
        figure = pose_figure(street_pose(rng), random_proportions(rng))
        camera = Camera(look_from(rng.uniform(-3, 3), 0.1, 0.0), 110.0, np.array([SIZE / 2, SIZE / 2]))
        paint_person(canvas, figure, camera, street_outfit(rng))
        body = (canvas.pixels != nowhere).any(-1).astype(np.uint8)
        near = cv2.dilate(body, np.ones((3, 3), np.uint8))  # the top of the head is its very edge
        x, y = np.round(camera.project(figure.joints)[:, :2]).astype(int).T
        assert near[y, x].all(), (i, np.flatnonzero(near[y, x] == 0))


def test_left_is_where_it_should_be() -> None:
    figure = pose_figure(Pose(), Proportions())  # upright, arms down
    for yaw, right_to_left in ((0.0, 1), (np.pi, -1)):
        joints = Camera(look_from(yaw, 0, 0), 100.0, np.zeros(2)).project(figure.joints)
        for right, left in ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)):
            assert np.sign(joints[left, 0] - joints[right, 0]) == right_to_left
        assert joints[9, 1] < joints[8, 1] < joints[7, 1] < joints[6, 1] < joints[1, 1] < joints[0, 1]


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    render_demo(tmp_path / "set", train=2, val=1, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_matching_set_is_reused_and_another_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    assert ensure_demo(folder, train=2, val=1)
    before = (folder / STAMP).stat().st_mtime_ns
    assert not ensure_demo(folder, train=2, val=1)
    assert (folder / STAMP).stat().st_mtime_ns == before
    assert ensure_demo(folder, train=1, val=1, style="sketch")
    assert len(list((folder / "images").iterdir())) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_another_recipe_is_rendered_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_demo(tmp_path / "set", train=1, val=1)
    monkeypatch.setattr(demo, "RECIPE", demo.RECIPE + 1)
    assert ensure_demo(tmp_path / "set", train=1, val=1)


@pytest.mark.parametrize("render", [ensure_demo, render_demo])
def test_somebodys_folder_is_refused_and_left_alone(tmp_path: Path, render: Any) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match="no demo set"):
        render(tmp_path, train=1, val=1)
    assert contents(tmp_path) == {"photo.jpg": b"mine"}
    with pytest.raises(DataError, match="no demo set"):
        render(tmp_path / "photo.jpg", train=1, val=1)


def test_impossible_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="val 0"):
        render_demo(tmp_path / "set", train=1, val=0)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    assert ensure_demo(tmp_path / ".", train=1, val=1) and (tmp_path / STAMP).is_file()


class Stop(Exception):
    """What ends a rendering half way."""


def test_a_stopped_rendering_leaves_the_old_set_whole(tmp_path: Path) -> None:
    folder = tmp_path / "set"

    def stop(done: int, _: int) -> None:
        assert done < 3 or not (folder / "images" / "00003.jpg").exists()
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        render_demo(folder, train=4, val=1, on_progress=stop)
    assert not list(tmp_path.iterdir())
    render_demo(folder, train=1, val=1)
    before = contents(folder)
    with pytest.raises(Stop):
        render_demo(folder, train=4, val=1, on_progress=stop)
    assert contents(folder) == before and [p.name for p in tmp_path.iterdir()] == ["set"]


def test_kill_leaves_nothing_under_the_final_name_and_is_swept_up(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    script = (
        "import os; from pathlib import Path; from raypose.datasets.demo import render_demo; "
        "killed = lambda done, _: os.kill(os.getpid(), 9) if done == 2 else None; "
        f"render_demo(Path({str(folder)!r}), train=4, val=1, on_progress=killed)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left != folder
    os.utime(left, (time.time() - 7200,) * 2)
    assert ensure_demo(folder, train=1, val=1)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_two_at_once_keep_the_first_set(tmp_path: Path) -> None:
    folder, inode = tmp_path / "set", []

    def other_process(done: int, _: int) -> None:
        if done == 1:
            render_demo(folder, train=2, val=1)
            inode.append(folder.stat().st_ino)

    render_demo(folder, train=2, val=1, on_progress=other_process)
    assert folder.stat().st_ino == inode[0] and [p.name for p in tmp_path.iterdir()] == ["set"]

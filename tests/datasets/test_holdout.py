"""One data folder made into two: every person once, images whole, head boxes in their rows, and nothing copied."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat

from raypose.datasets.demo import render_demo
from raypose.datasets.holdout import HELD_OUT, REST, STAMP, split_folder
from raypose.datasets.mpii import HEAD_BOXES, TRAIN, VAL, check_mpii
from raypose.datasets.split import split_rows
from raypose.errors import DataError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 training and 30 validation people; every third photo of each file shows two of them."""
    folder = tmp_path_factory.mktemp("data") / "set"
    render_demo(folder, train=40, val=30, style="sketch")
    for name in (TRAIN, VAL):
        people = records(folder, name)
        for number in range(0, len(people), 3):
            people[number]["image"] = people[number - 1]["image"]
        (folder / name).write_text(json.dumps(people))
    return folder


def records(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def images(folder: Path, name: str) -> set[str]:
    return {record["image"] for record in records(folder, name)}


def test_every_person_is_in_one_part_with_all_of_its_image(data: Path, tmp_path: Path) -> None:
    made = split_folder(data, 0.3, tmp_path / "parts", 0)
    rest, held_out = tmp_path / "parts" / REST, tmp_path / "parts" / HELD_OUT
    for name in (TRAIN, VAL):
        whole = records(data, name)
        rows = [[whole.index(record) for record in records(part, name)] for part in (rest, held_out)]
        assert sorted(sum(rows, [])) == list(range(len(whole))) and all(part == sorted(part) for part in rows)
    parts = [images(part, TRAIN) | images(part, VAL) for part in (rest, held_out)]
    assert all(parts) and not parts[0] & parts[1]
    assert [set(os.listdir(part / "images")) for part in (rest, held_out)] == parts
    assert [made.rest.digest, made.held_out.digest] == [check_mpii(part).digest for part in (rest, held_out)]


def test_the_same_validation_images_are_held_out_as_by_a_specification(data: Path, tmp_path: Path) -> None:
    split_folder(data, 0.3, tmp_path / "parts", 0)
    whole = records(data, VAL)
    assert records(tmp_path / "parts" / HELD_OUT, VAL) == [whole[row] for row in split_rows(data / VAL, 0.3, "test")]


def test_head_boxes_stay_with_their_people(data: Path, tmp_path: Path) -> None:
    split_folder(data, 0.3, tmp_path / "parts", 0)
    before, whole = loadmat(data / HEAD_BOXES), records(data, VAL)
    for part in (REST, HELD_OUT):
        folder = tmp_path / "parts" / part
        rows = [whole.index(record) for record in records(folder, VAL)]
        after = loadmat(folder / HEAD_BOXES)
        for name in ("headboxes_src", "pos_gt_src", "jnt_missing"):
            assert np.array_equal(after[name], before[name][..., rows]), name


def test_images_are_links_and_outlive_the_folder_that_they_came_from(data: Path, tmp_path: Path) -> None:
    source = shutil.copytree(data, tmp_path / "set")
    made = split_folder(source, 0.3, tmp_path / "parts", 0)
    image = next((tmp_path / "parts" / REST / "images").iterdir())
    assert image.stat().st_ino == (source / "images" / image.name).stat().st_ino
    shutil.rmtree(source)
    for part, report in ((REST, made.rest), (HELD_OUT, made.held_out)):
        assert check_mpii(tmp_path / "parts" / part).digest == report.digest


def test_the_stamp_tells_what_was_done_and_the_same_again_makes_the_same(data: Path, tmp_path: Path) -> None:
    made = split_folder(data, 0.3, tmp_path / "parts", 7)
    stamp = json.loads((tmp_path / "parts" / STAMP).read_text())
    assert stamp["source"] == str(data) and stamp["source_digest"] == check_mpii(data).digest
    assert (stamp["holdout"], stamp["seed"]) == (0.3, 7)
    assert stamp["parts"]["rest"]["digest"] == made.rest.digest
    assert stamp["parts"]["held_out"]["val_people"] == made.held_out.val_people
    again, other = (split_folder(data, 0.3, tmp_path / f"seed-{seed}", seed) for seed in (7, 8))
    assert [again.rest.digest, again.held_out.digest] == [made.rest.digest, made.held_out.digest]
    assert other.held_out.digest != made.held_out.digest


def test_what_cannot_be_split_leaves_nothing(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="with --holdout 0.001 and --seed 0 no image of it is held out: choose another"):
        split_folder(data, 0.001, tmp_path / "parts", 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is not a sound MPII layout"):
        split_folder(tmp_path / "empty", 0.3, tmp_path / "parts", 0)
    with pytest.raises(DataError, match="empty: is there already"):
        split_folder(data, 0.3, tmp_path / "empty", 0)
    assert os.listdir(tmp_path) == ["empty"]


def test_what_a_killed_one_has_left_is_made_anew(data: Path, tmp_path: Path) -> None:
    left = tmp_path / ".parts.partial" / REST / "images"
    left.mkdir(parents=True)
    (left / "0.jpg").write_text("half")
    split_folder(data, 0.3, tmp_path / "parts", 0)
    assert not (tmp_path / "parts" / REST / "images" / "0.jpg").exists()


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no second disk")
def test_another_disk_is_told_of(data: Path) -> None:
    out = Path("/dev/shm") / f"raypose-split-{os.getpid()}"
    if os.stat("/dev/shm").st_dev == os.stat(data).st_dev:
        pytest.skip("the same disk")
    with pytest.raises(DataError, match="cannot be hard-linked .*: name a folder on the same disk as"):
        split_folder(data, 0.3, out, 0)
    assert not out.exists() and not list(out.parent.glob(f".{out.name}*"))

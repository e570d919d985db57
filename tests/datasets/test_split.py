"""Validation and test people: a part each, by image, and the same rows that MMPose reads."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mmengine.registry import DATASETS, init_default_scope

import raypose.training  # noqa: F401  # makes mmpose importable
from raypose.datasets.mpii import HEAD_BOXES, VAL
from raypose.datasets.split import split_rows
from raypose.errors import DataError


def annotations(folder: Path, images: list[str]) -> Path:
    """An annotation file with one person for each name."""
    file = folder / "val.json"
    file.write_text(json.dumps([{"image": image, "joints": [[5, 5]] * 16} for image in images]))
    return file


def names(count: int) -> list[str]:
    return [f"{number:09d}.jpg" for number in range(count)]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_parts_have_their_shares_and_make_up_the_whole(tmp_path: Path, share: float) -> None:
    file = annotations(tmp_path, names(800))
    val, test = (split_rows(file, share, part) for part in ("val", "test"))
    assert sorted(val + test) == list(range(800)) and val == sorted(val) and test == sorted(test)
    assert len(test) / 800 == pytest.approx(share, abs=0.03)
    larger = split_rows(file, share + 0.2, "test")
    assert set(test) < set(larger)


def test_an_image_stays_in_its_part_with_all_its_people(tmp_path: Path) -> None:
    images = names(60)
    before = {images[row] for row in split_rows(annotations(tmp_path, images), 0.4, "test")}
    more = sorted([*images, *images, *(f"9{name}" for name in images)])
    after = [more[row] for row in split_rows(annotations(tmp_path, more), 0.4, "test")]
    assert {name for name in after if not name.startswith("9")} == before
    assert all(after.count(name) == 2 for name in before)


def test_nothing_held_out_is_all_for_validation(tmp_path: Path) -> None:
    file = annotations(tmp_path, names(5))
    assert split_rows(file, 0.0, "val") == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="held_out 0.0 no image of its 5 is in the test part: choose another share"):
        split_rows(file, 0.0, "test")


def test_no_part_may_be_empty(tmp_path: Path) -> None:
    file = annotations(tmp_path, ["1.jpg"] * 4)
    empty = "val" if split_rows_or_none(file, "test") else "test"
    with pytest.raises(DataError, match=f"no image of its 1 is in the {empty} part"):
        split_rows(file, 0.5, empty)


def split_rows_or_none(file: Path, part: Any) -> list[int] | None:
    try:
        return split_rows(file, 0.5, part)
    except DataError:
        return None


@pytest.mark.parametrize("without_joints", [[], [0, 3]], ids=["all labelled", "two without joints"])
@pytest.mark.parametrize("part", ["val", "test"])
def test_mmpose_reads_just_these_people(tiny_data: Path, tmp_path: Path, part: Any, without_joints: list[int]) -> None:
    folder = shutil.copytree(tiny_data, tmp_path / "set")
    records = json.loads((folder / VAL).read_text())
    for number in without_joints:  # allowed in the layout; MMPose leaves them out
        records[number].update(joints=[[-1, -1]] * 16, joints_vis=[0] * 16)
    (folder / VAL).write_text(json.dumps(records))
    init_default_scope("mmpose")
    config = {
        "type": "MpiiDataset",
        "data_root": str(folder),
        "ann_file": VAL,
        "data_prefix": {"img": "images/"},
        "headbox_file": str(folder / HEAD_BOXES),
        "test_mode": True,
    }
    whole = DATASETS.build(config)
    rows = split_rows(folder / VAL, 0.5, part)
    subset = DATASETS.build({**config, "indices": rows})
    assert len(whole) == len(records) - len(without_joints) and 0 < len(subset) == len(rows) < len(whole)
    of_person = {int(info["id"]): info for info in map(whole.get_data_info, range(len(whole)))}
    for info in map(subset.get_data_info, range(len(subset))):
        same = of_person[int(info["id"])]
        assert Path(info["img_path"]).name == records[int(info["id"])]["image"] == Path(same["img_path"]).name
        assert info["head_size"] == same["head_size"] and (info["keypoints"] == same["keypoints"]).all()
    wanted = {n for n, r in enumerate(records) if n not in without_joints and in_part(r["image"], part, tmp_path)}
    assert {int(subset.get_data_info(n)["id"]) for n in range(len(subset))} == wanted


def in_part(image: str, part: Any, folder: Path) -> bool:
    return (split_rows_or_none(annotations(folder, [image]), part) or []) == [0]

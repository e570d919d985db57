"""The check of the MPII layout: a sound set passes, each single fault is found, named and placed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from raypose.datasets.mpii import HEAD_BOXES, TRAIN, VAL, check_mpii, require_sound
from raypose.errors import DataError

BOXES = np.array([[[10, 12], [11, 13]], [[30, 36], [31, 37]]], dtype=np.float64)  # two corners, x and y, two people


def person(image: str) -> dict[str, Any]:
    joints = [[20.0 + i, 30.0 + i] for i in range(15)] + [[-1.0, -1.0]]
    return {"image": image, "center": [32.0, 24], "scale": 0.3, "joints": joints, "joints_vis": [1] * 15 + [0]}


def write(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def make_set(folder: Path) -> Path:
    """Three photos: two people on the first, one on the second (a PNG), two to validate on the third."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for name in ("001.jpg", "002.png", "003.jpg"):
        assert cv2.imwrite(str(folder / "images" / name), pixels)
    write(folder, TRAIN, [person("001.jpg"), person("001.jpg"), person("002.png")])
    write(folder, VAL, [person("003.jpg"), person("003.jpg")])
    savemat(folder / HEAD_BOXES, {"headboxes_src": BOXES})
    return folder


@pytest.fixture
def mpii(tmp_path: Path) -> Path:
    return make_set(tmp_path / "set")


def test_sound_set(mpii: Path) -> None:
    report = check_mpii(mpii, deep=True)
    assert report.problems == ()
    assert (report.train_people, report.val_people) == (3, 2)
    assert (report.train_images, report.val_images) == (2, 1)
    assert report.joints_labelled == 5 * 15
    assert require_sound(mpii) == report


def test_digest_follows_the_content_not_the_place(mpii: Path, tmp_path: Path) -> None:
    digest = check_mpii(mpii).digest
    shutil.copytree(mpii, tmp_path / "copy")
    (tmp_path / "copy/images/notes.txt").write_text("no part of the set")
    assert check_mpii(tmp_path / "copy").digest == digest
    with open(mpii / "images/001.jpg", "ab") as image:
        image.write(b"\0")
    changed = check_mpii(mpii)
    assert changed.problems == ()
    write(mpii, TRAIN, [person("001.jpg")])
    assert len({digest, changed.digest, check_mpii(mpii).digest}) == 3


RECORD_FAULTS = [
    (lambda r: r.pop("image"), "image", "is missing"),
    (lambda r: r.pop("joints_vis"), "joints_vis", "is missing"),
    (lambda r: r.update(image=7), "image", "is 7, not a text"),
    (lambda r: r.update(image="../001.jpg"), "image", "leaves the images folder"),
    (lambda r: r.update(image="1./../../001.jpg"), "image", "leaves the images folder"),
    (lambda r: r.update(image="/etc/hostname"), "image", "leaves the images folder"),
    (lambda r: r.update(image="person.jpg"), "image", "does not begin with a number"),
    (lambda r: r.update(image="1" * 5000 + ".jpg"), "image", "does not begin with a number"),
    (lambda r: r.update(image="009.jpg"), "image", "'009.jpg' is not in images/"),
    (lambda r: r.update(image="9.\0.jpg"), "image", "cannot be read (embedded null byte)"),
    (lambda r: r.update(image="9.\ud800"), "image", "cannot be read"),
    (lambda r: r.update(image="9." + "x" * 300), "image", "cannot be read (File name too long)"),
    (lambda r: r.update(center=[1.0]), "center", "two numbers"),
    (lambda r: r.update(center=[float("nan"), 1.0]), "center", "[nan, 1.0]"),
    (lambda r: r.update(center=["3", 1.0]), "center", "['3', 1.0]"),
    (lambda r: r.update(scale=0), "scale", "is 0: "),
    (lambda r: r.update(scale=-1.0), "scale", "a number above 0"),
    (lambda r: r.update(scale=10**400), "scale", "a number above 0"),
    (lambda r: r.update(scale=True), "scale", "is True"),
    (lambda r: r["joints"].pop(), "joints", "a list of 15: give 16 pairs"),
    (lambda r: r.update(joints=None), "joints", "is None"),
    (lambda r: r["joints"].__setitem__(3, [1.0, float("inf")]), "joints", "[1.0, inf] as joint 3"),
    (lambda r: r["joints"].__setitem__(3, [1.0, 2.0, 1]), "joints", "as joint 3"),
    (lambda r: r["joints"].__setitem__(3, [1.0, 1e39]), "joints", "as joint 3"),
    (lambda r: r["joints_vis"].append(1), "joints_vis", "a list of 17: give 16"),
    (lambda r: r["joints_vis"].__setitem__(5, 2), "joints_vis", "has 2 for joint 5"),
    (lambda r: r["joints_vis"].__setitem__(5, 0.5), "joints_vis", "has 0.5 for joint 5"),
    (lambda r: r["joints_vis"].__setitem__(5, True), "joints_vis", "has True for joint 5"),
]


@pytest.mark.parametrize(("spoil", "key", "text"), RECORD_FAULTS)
@pytest.mark.parametrize("name", [TRAIN, VAL])
def test_fault_in_a_record(mpii: Path, name: str, spoil: Callable[[Any], None], key: str, text: str) -> None:
    records = json.loads((mpii / name).read_text())
    spoil(records[1])
    write(mpii, name, records)
    [problem] = check_mpii(mpii).problems
    assert (problem.severity, problem.place) == ("error", f"{name}[1].{key}")
    assert text in problem.text
    assert str(problem).isprintable()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "line 1, column 1"),
        (b'[\n  {"image": 1,}]', "line 2, column 15"),
        (b"\xff[]", "can't decode byte 0xff"),
        (b"[" + b"9" * 5000 + b"]", "4300 digits"),
        (b"[" * 100_000, "recursion"),
        (b'{"image": "1.jpg"}', "not a list"),
        (b"[]", "is an empty list"),
    ],
)
@pytest.mark.parametrize("name", [TRAIN, VAL])
def test_fault_in_an_annotation_file(mpii: Path, name: str, content: bytes, text: str) -> None:
    (mpii / name).write_bytes(content)
    [problem] = check_mpii(mpii).problems
    assert (problem.severity, problem.place) == ("error", name)
    assert text in problem.text


def test_record_that_is_no_object(mpii: Path) -> None:
    write(mpii, TRAIN, [person("001.jpg"), ["002.png"]])
    [problem] = check_mpii(mpii).problems
    assert problem.place == f"{TRAIN}[1]"
    assert "['002.png'], not an object" in problem.text


def test_missing_folder(tmp_path: Path) -> None:
    [problem] = check_mpii(tmp_path / "none").problems
    assert str(tmp_path / "none") in problem.place
    assert "no such folder" in problem.text


def test_empty_folder_misses_everything(tmp_path: Path) -> None:
    assert [p.place for p in check_mpii(tmp_path).errors] == [TRAIN, VAL, HEAD_BOXES, "images"]


@pytest.mark.parametrize("name", [TRAIN, VAL, HEAD_BOXES, "images"])
def test_missing_part(mpii: Path, name: str) -> None:
    (mpii / name).rename(mpii / "elsewhere")
    [problem] = check_mpii(mpii).problems
    assert problem.place == name
    assert "there is no such" in problem.text


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_by_link(path: Path) -> None:
    path.rename(path.parents[1] / path.name)
    path.symlink_to(path.parents[1] / path.name)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
        (lambda path: path.write_bytes(b"\xff"), "neither a JPEG nor a PNG"),
        (lambda path: path.write_text("<html>404</html>"), "neither a JPEG nor a PNG"),
        (truncate, "cut off before its end marker"),
        (replace_by_link, "is a link that leaves the images folder"),
        (replace_by_pipe, "is not a file"),
        (lambda path: path.unlink(), "is not in images/"),
    ],
)
@pytest.mark.parametrize(("image", "place"), [("001.jpg", f"{TRAIN}[0]"), ("002.png", f"{TRAIN}[2]")])
def test_fault_in_an_image(mpii: Path, image: str, place: str, spoil: Callable[[Path], None], text: str) -> None:
    spoil(mpii / "images" / image)
    [problem] = check_mpii(mpii).problems
    assert (problem.severity, problem.place) == ("error", f"{place}.image")
    assert problem.text.startswith(f"'{image}' ")
    assert text in problem.text


def test_unreadable_image(mpii: Path) -> None:
    (mpii / "images/001.jpg").unlink()
    (mpii / "images/001.jpg").symlink_to("001.jpg")
    [problem] = check_mpii(mpii).problems
    assert "cannot be read (Too many levels of symbolic links)" in problem.text


def test_links_that_stay_inside_are_sound(mpii: Path) -> None:
    (mpii / "images").rename(mpii / "photos")
    (mpii / "images").symlink_to("photos")
    (mpii / "images/001.jpg").rename(mpii / "images/005.jpg")
    (mpii / "images/001.jpg").symlink_to("005.jpg")
    assert check_mpii(mpii).problems == ()


@pytest.mark.parametrize(("trailer", "cut", "sound"), [(b"\0" * 9, 0, True), (b"x" * 9000, 0, True), (b"", 2, False)])
def test_bytes_behind_the_end_of_a_jpeg(mpii: Path, trailer: bytes, cut: int, sound: bool) -> None:
    path = mpii / "images/001.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size - cut] + trailer)
    assert (check_mpii(mpii).problems == ()) is sound


def test_end_of_a_thumbnail_is_not_the_end_of_the_image(mpii: Path) -> None:
    path = mpii / "images/001.jpg"
    image = path.read_bytes()
    thumbnail = b"\xff\xe1" + (len(image) + 2).to_bytes(2, "big") + image  # an APP1 segment, as cameras write it
    path.write_bytes(image[:2] + thumbnail + image[2:])
    assert check_mpii(mpii, deep=True).problems == ()
    path.write_bytes(path.read_bytes()[:-2])
    assert "cut off" in check_mpii(mpii).problems[0].text


def test_deep_decodes(mpii: Path) -> None:
    (mpii / "images/003.jpg").write_bytes(b"\xff\xd8\xff" + b"\0" * 100 + b"\xff\xd9")
    assert check_mpii(mpii).problems == ()
    [problem] = check_mpii(mpii, deep=True).problems
    assert "'003.jpg' cannot be decoded" in problem.text


def with_nan() -> np.ndarray[Any, Any]:
    boxes = BOXES.copy()
    boxes[0, 1, 1] = np.nan
    return boxes


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"headboxes": BOXES}, "headboxes_src is missing"),
        ({"headboxes_src": BOXES[0]}, "shape (2, 2)"),
        ({"headboxes_src": BOXES[:, :1]}, "shape (2, 1, 2)"),
        ({"headboxes_src": "text"}, "headboxes_src is <U4"),
        ({"headboxes_src": BOXES[:, :, :1].repeat(3, axis=2)}, f"3 head boxes for the 2 records of {VAL}"),
        ({"headboxes_src": with_nan()}, "head box 1 is not finite"),
        ({"headboxes_src": BOXES[[0, 0]] * [0, 1] + BOXES * [1, 0]}, "head box 1 has no size"),
    ],
)
def test_fault_in_the_head_boxes(mpii: Path, variables: dict[str, Any], text: str) -> None:
    savemat(mpii / HEAD_BOXES, variables)
    [problem] = check_mpii(mpii).problems
    assert (problem.severity, problem.place) == ("error", HEAD_BOXES)
    assert text in problem.text


@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n" + b"\0" * 600, b"MATLAB 5.0" * 100, b"M" * 124 + b"\0\x02IM" + b"\0" * 600]
)
def test_damaged_head_box_file(mpii: Path, content: bytes) -> None:
    (mpii / HEAD_BOXES).write_bytes(content)
    [problem] = check_mpii(mpii).problems
    assert "cannot be read as a MATLAB 5 file" in problem.text


@pytest.mark.parametrize("byte", [200, 201])  # the array's data type and its bits; scipy itself would crash here
def test_head_boxes_that_crash_scipy(mpii: Path, byte: int) -> None:
    data = bytearray((mpii / HEAD_BOXES).read_bytes())
    data[byte] ^= 3
    (mpii / HEAD_BOXES).write_bytes(data)
    [problem] = check_mpii(mpii).problems
    assert "unknown data type" in problem.text


@pytest.mark.parametrize("compressed", [True, False])
def test_head_boxes_among_other_variables(mpii: Path, compressed: bool) -> None:
    names = np.array(["ankle", "knee"], dtype=object)
    others = {"dataset_joints": names, "jnt_missing": np.zeros((16, 2), np.uint8), "note": {"by": "hand"}}
    savemat(mpii / HEAD_BOXES, others | {"headboxes_src": BOXES}, do_compression=compressed)
    assert check_mpii(mpii).problems == ()


def test_same_image_in_train_and_val_is_a_warning(mpii: Path) -> None:
    write(mpii, VAL, [person("003.jpg"), person("001.jpg")])
    report = require_sound(mpii)
    [problem] = report.problems
    assert (problem.severity, problem.place) == ("warning", f"{VAL}[1].image")
    assert f"{TRAIN}[0].image" in problem.text


def test_require_sound_lists_the_first_five(mpii: Path) -> None:
    write(mpii, TRAIN, [person(f"1{i:02d}.jpg") for i in range(12)])
    assert len(check_mpii(mpii).errors) == 12
    with pytest.raises(DataError) as caught:
        require_sound(mpii)
    lines = str(caught.value).splitlines()
    assert len(lines) == 8
    assert "'104.jpg' is not in images/" in lines[5]
    assert lines[6] == "  and 7 more"
    assert lines[7].endswith(f"raypose data check {mpii}")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("001.jpg")
JSON = st.recursive(SCALARS, lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=3), x, max_size=3))
POINTS = st.lists(st.lists(st.floats() | st.integers(), min_size=2, max_size=2), min_size=16, max_size=16)
VISIBLE = st.lists(st.sampled_from([0, 1, 1.0, 2, True, None]), min_size=16, max_size=16)
PATCHES = st.fixed_dictionaries(
    {},
    optional={
        "image": JSON | st.text(max_size=8).map("1.".__add__),
        "center": JSON,
        "scale": JSON,
        "joints": JSON | POINTS,
        "joints_vis": JSON | VISIBLE,
    },
)


@pytest.fixture(scope="module")
def shared_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_set(tmp_path_factory.mktemp("fuzz") / "set")


def mmpose_reads(record: dict[str, Any]) -> bool:
    """Whether `MpiiDataset` makes finite numbers of the right shapes out of a record."""
    numbers = [np.array(record[key], dtype=np.float32) for key in ("center", "scale", "joints", "joints_vis")]
    int(record["image"].split(".")[0])
    return [n.shape for n in numbers] == [(2,), (), (16, 2), (16,)] and all(np.isfinite(n).all() for n in numbers)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(patch=PATCHES)
def test_any_record_is_either_reported_or_readable(shared_set: Path, patch: dict[str, Any]) -> None:
    record = person("001.jpg") | patch
    write(shared_set, TRAIN, [record])
    report = check_mpii(shared_set)
    assert all(str(problem).isprintable() for problem in report.problems)
    assert report.errors or mmpose_reads(record)


@settings(max_examples=100, deadline=None)
@given(content=JSON.map(json.dumps).map(str.encode) | st.binary(max_size=40))
def test_any_annotation_file_is_reported(shared_set: Path, content: bytes) -> None:
    (shared_set / TRAIN).write_bytes(content)
    assert check_mpii(shared_set).errors


@settings(max_examples=100, deadline=None)
@given(start=st.integers(0, 400), patch=st.binary(min_size=1, max_size=8), end=st.integers(0, 400))
def test_damaged_head_boxes_never_raise(shared_set: Path, start: int, patch: bytes, end: int) -> None:
    savemat(shared_set / HEAD_BOXES, {"headboxes_src": BOXES})
    data = (shared_set / HEAD_BOXES).read_bytes()
    (shared_set / HEAD_BOXES).write_bytes((data[:start] + patch + data[start + len(patch) :])[: len(data) - end])
    check_mpii(shared_set)

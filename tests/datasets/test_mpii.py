"""The check of the MPII layout: a sound set passes, each single fault is found, named and placed."""

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
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


NESTED = [[[[["long" * 9] * 6] * 6] * 6] * 6] * 6


def swap_boxes(path: Path) -> None:
    savemat(path, {"headboxes_src": BOXES[::-1]})


def move_joint(path: Path) -> None:
    path.write_text(path.read_text().replace("[20.0, 30.0]", "[20.0, 31.0]"))


def other_picture(path: Path) -> None:
    """Another photo of the same size in bytes, as the last of them are padding."""
    size, when = path.stat().st_size, path.stat().st_mtime
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes().ljust(size, b"\0"))
    os.utime(path, (when, when))
    assert path.stat().st_size == size


@pytest.mark.parametrize(
    ("part", "file", "change"),
    [
        (TRAIN, TRAIN, move_joint),
        (VAL, VAL, move_joint),
        (HEAD_BOXES, HEAD_BOXES, swap_boxes),
        ("images", "images/001.jpg", other_picture),
        ("images", "images/003.jpg", other_picture),
        ("images", "images/002.png", lambda path: path.unlink()),
    ],
)
def test_a_changed_part_is_named(mpii: Path, part: str, file: str, change: Callable[[Path], None]) -> None:
    before = check_mpii(mpii)
    assert before.changed(before.parts) == []
    change(mpii / file)
    after = check_mpii(mpii)
    assert after.digest != before.digest
    assert after.changed(before.parts) == [part]


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
    (lambda r: r.update(joints=[NESTED] * 16), "joints", "as joint 0"),
    (lambda r: r.update(center=NESTED), "center", "two numbers"),
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
    assert str(problem).isprintable() and len(str(problem)) < 300


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


def test_only_record_with_a_fault_is_one_problem(mpii: Path) -> None:
    write(mpii, TRAIN, [person("001.jpg") | {"joints_vis": [0] * 15}])
    [problem] = check_mpii(mpii).problems
    assert problem.place == f"{TRAIN}[0].joints_vis"


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


def spoil_two(mpii: Path, spoil: Callable[[Path], None]) -> None:
    """Eight training images, of which two are spoilt."""
    write(mpii, TRAIN, [person(f"{n}.jpg") for n in range(8) for _ in range(2)])
    for n in range(8):
        shutil.copy(mpii / "images/001.jpg", mpii / f"images/{n}.jpg")
    for n in (3, 5):
        spoil(mpii / f"images/{n}.jpg")


UNREADABLE = [
    lambda path: path.unlink(),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_text("<html>404</html>"),
    truncate,
]


@pytest.mark.parametrize("spoil", UNREADABLE)
def test_a_few_unreadable_training_images_are_left_out(mpii: Path, spoil: Callable[[Path], None]) -> None:
    spoil_two(mpii, spoil)
    report = require_sound(mpii, bad_images=0.25)
    assert (report.unreadable, report.train_people, report.train_images) == (2, 16, 8)
    assert [(p.severity, p.place) for p in report.problems] == [
        ("warning", f"{TRAIN}[6].image"),
        ("warning", f"{TRAIN}[10].image"),
    ]
    assert all("the training leaves it out" in p.text for p in report.problems)
    assert check_mpii(mpii).unreadable == 2 and len(check_mpii(mpii).errors) == 2
    with pytest.raises(DataError, match="2 of its 8 training images cannot be used, more than the share 0.249 that"):
        require_sound(mpii, bad_images=0.249)
    with pytest.raises(DataError) as caught:
        require_sound(mpii)
    assert "'3.jpg'" in str(caught.value) and "failure.bad_images" not in str(caught.value)


@pytest.mark.parametrize("val", ["003.jpg", "3.jpg"], ids=["of validation only", "of both"])
@pytest.mark.parametrize("spoil", UNREADABLE)
def test_no_validation_image_may_be_unreadable(mpii: Path, val: str, spoil: Callable[[Path], None]) -> None:
    spoil_two(mpii, spoil)
    write(mpii, VAL, [person("2.jpg"), person(val)])
    spoil(mpii / f"images/{val}") if val == "003.jpg" else None
    with pytest.raises(DataError, match=rf"mpii_val.json\[1\].image: '{val}' "):
        require_sound(mpii, bad_images=0.9)


def null_byte(path: Path) -> None:
    write(path.parents[1], TRAIN, [person(f"{n}.jpg") for n in range(7)] + [person(f"{path.stem}.\0")])


@pytest.mark.parametrize("spoil", [replace_by_link, replace_by_pipe, null_byte])
def test_what_no_training_may_open_is_never_left_out(mpii: Path, spoil: Callable[[Path], None]) -> None:
    spoil_two(mpii, lambda path: path)
    spoil(mpii / "images/3.jpg")
    with pytest.raises(DataError, match="leaves the images|is not a file|null byte"):
        require_sound(mpii, bad_images=0.9)


def test_faults_of_records_are_never_left_out(mpii: Path) -> None:
    spoil_two(mpii, lambda path: path)
    write(mpii, TRAIN, [person(f"{n}.jpg") for n in range(7)] + [person("7.jpg") | {"scale": 0}])
    with pytest.raises(DataError, match=r"mpii_train.json\[7\].scale: is 0"):
        require_sound(mpii, bad_images=0.9)


OUTSIDE = {"joints": [[-1, -1]] * 16, "joints_vis": [0] * 16}


def test_people_are_those_that_mmpose_loads(mpii: Path) -> None:
    write(mpii, TRAIN, [person("001.jpg"), person("001.jpg") | OUTSIDE, person("002.png")])
    write(mpii, VAL, [person("003.jpg") | {"joints": [[1e-50, -1]] * 16}, person("003.jpg")])  # 0 in float32
    report = require_sound(mpii)
    assert (report.train_people, report.val_people) == (2, 1)


@pytest.mark.parametrize("name", [TRAIN, VAL])
@pytest.mark.parametrize(
    "odd",
    [OUTSIDE, {"joints_vis": [0] * 16}, {"joints_vis": [0] * 6 + [1, 1] + [0] * 8}],
    ids=["out", "none", "pelvis"],
)
def test_people_of_whom_none_can_be_learned_from(mpii: Path, name: str, odd: dict[str, Any]) -> None:
    records = json.loads((mpii / name).read_text())
    write(mpii, name, [record | odd for record in records])
    [problem] = check_mpii(mpii).problems
    assert (problem.severity, problem.place) == ("error", name)
    assert "no record has a labelled joint in its image" in problem.text


def with_nan() -> np.ndarray[Any, Any]:
    boxes = BOXES.copy()
    boxes[0, 1, 1] = np.nan
    return boxes


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"headboxes": BOXES}, "headboxes_src is missing, or"),
        ({"headboxes_src": BOXES[0]}, "shape (2, 2)"),
        ({"headboxes_src": BOXES[:, :1]}, "shape (2, 1, 2)"),
        ({"headboxes_src": "text"}, "headboxes_src is missing, or holds no numbers"),
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


OTHERS = {
    "dataset_joints": np.array(["ankle", "knee"], dtype=object),
    "jnt_missing": np.zeros((16, 2), np.uint8),
    "note": {"by": "hand"},
}


@pytest.mark.parametrize("byte", [200, 201])  # the array's data type and its bits; scipy itself would crash here
def test_head_boxes_that_crash_scipy(mpii: Path, byte: int) -> None:
    data = bytearray((mpii / HEAD_BOXES).read_bytes())
    data[byte] ^= 3
    (mpii / HEAD_BOXES).write_bytes(data)
    [problem] = check_mpii(mpii).problems
    assert "unknown data type" in problem.text


@pytest.mark.parametrize("at, number", [(144, 5), (144, 8), (208, 5), (218, 1), (220, 0), (144, 0), (161, 1), (0, 0)])
def test_damage_beside_the_head_boxes_that_would_crash_mmpose(mpii: Path, at: int, number: int) -> None:
    """MMPose has scipy read the whole file: the first five end the process, the others raise."""
    savemat(mpii / HEAD_BOXES, OTHERS | {"headboxes_src": BOXES})
    data = bytearray((mpii / HEAD_BOXES).read_bytes())
    data[at] = number
    (mpii / HEAD_BOXES).write_bytes(data)
    [problem] = check_mpii(mpii).problems
    assert "cannot be read as a MATLAB 5 file" in problem.text


@pytest.mark.parametrize(("size", "said"), [(2**12, "is not one array"), (2**21, "cut off, or too large")])
def test_head_boxes_that_fill_the_memory(mpii: Path, monkeypatch: pytest.MonkeyPatch, size: int, said: str) -> None:
    monkeypatch.setattr("raypose.datasets.mat_file.LARGEST", 2**20)
    content = zlib.compress(bytes(size))
    head = (mpii / HEAD_BOXES).read_bytes()[:128]
    (mpii / HEAD_BOXES).write_bytes(head + struct.pack("<II", 15, len(content)) + content)
    [problem] = check_mpii(mpii).problems
    assert said in problem.text


@pytest.mark.parametrize("compressed", [True, False])
def test_head_boxes_among_other_variables(mpii: Path, compressed: bool) -> None:
    savemat(mpii / HEAD_BOXES, OTHERS | {"headboxes_src": BOXES}, do_compression=compressed)
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

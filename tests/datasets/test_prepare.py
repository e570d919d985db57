"""MPII from its archives: what comes out, what is refused and leaves nothing, and what a killed one goes on with."""

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raypose.datasets.archive import MB, digests, unpack
from raypose.datasets.mpii import check_mpii
from raypose.datasets.prepare import STAMP, prepare_mpii
from raypose.errors import DataError, NoSpaceError

Edit = Callable[[tarfile.TarFile], None]


class Screen:
    """What a person would see."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.seen: list[tuple[int, int]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, done: int, total: int) -> None:
        self.seen.append((done, total))


def tell_nobody(done: int, total: int) -> None:
    pass


def add(archive: tarfile.TarFile, name: str, content: bytes = b"x", **changes: object) -> None:
    """A member of any name, size or type."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in changes.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(content))


def images_archive(data: Path, file: Path, edit: Edit | None = None) -> Path:
    """As MPII's own: a folder `images` at the top, in names that begin with `./`."""
    with tarfile.open(file, "w:gz", compresslevel=1) as archive:
        archive.add(data / "images", "./images")
        add(archive, "./README.md")
        if edit:
            edit(archive)
    return file


def annotations_archive(data: Path, file: Path, edit: Edit | None = None) -> Path:
    with tarfile.open(file, "w") as archive:
        archive.add(data / "annotations", "mpii_annotations")
        if edit:
            edit(archive)
    return file


@pytest.fixture(scope="module")
def images(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images_archive(tiny_data, tmp_path_factory.mktemp("images") / "mpii_human_pose_v1.tar.gz")


@pytest.fixture(scope="module")
def annotations(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return annotations_archive(tiny_data, tmp_path_factory.mktemp("annotations") / "mpii_annotations.tar")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_archives_become_the_layout_and_nothing_else(
    tiny_data: Path, images: Path, annotations: Path, tmp_path: Path
) -> None:
    screen = Screen()
    stamp = prepare_mpii(images, annotations, tmp_path / "data" / "mpii", {}, screen)
    made, given = files(tmp_path / "data" / "mpii"), files(tiny_data)
    assert json.loads(made.pop(STAMP)) == stamp
    assert made == {name: content for name, content in given.items() if name != "demo.json"}
    for kind, archive in (("images", images), ("annotations", annotations)):
        assert stamp[kind]["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
        assert stamp[kind]["bytes"] == archive.stat().st_size and stamp[kind]["known_as"] is None
    assert check_mpii(tmp_path / "data" / "mpii").digest == check_mpii(tiny_data).digest
    assert os.listdir(tmp_path / "data") == ["mpii"]
    assert len(screen.said) == 4 and all(0 < done <= total for done, total in screen.seen)


def test_the_digest_that_is_expected_is_required(images: Path, annotations: Path, tmp_path: Path) -> None:
    right = {
        kind: digests(file, tell_nobody).sha256 for kind, file in (("images", images), ("annotations", annotations))
    }
    with pytest.raises(DataError, match=f"its sha256 is {right['images']}, not 00ff: it is another file"):
        prepare_mpii(images, annotations, tmp_path / "mpii", {**right, "images": "00ff"}, Screen())
    assert os.listdir(tmp_path) == []
    prepare_mpii(images, annotations, tmp_path / "mpii", {**right, "images": right["images"].upper()}, Screen())


def test_a_folder_that_is_there_is_not_touched(images: Path, annotations: Path, tmp_path: Path) -> None:
    (tmp_path / "mpii").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("mpii", "link"):
        with pytest.raises(DataError, match=f"{name}: is there already, and is never overwritten; name another"):
            prepare_mpii(images, annotations, tmp_path / name, {}, Screen())
    assert sorted(os.listdir(tmp_path)) == ["link", "mpii"] and os.listdir(tmp_path / "mpii") == []


def link(archive: tarfile.TarFile, kind: bytes, name: str, to: str) -> None:
    add(archive, name, b"", type=kind, linkname=to)


EVIL: dict[str, tuple[Edit, str]] = {
    "absolute": (lambda a: add(a, "/images/evil.jpg"), "leads out of the folder"),
    "upwards": (lambda a: add(a, "images/../../evil.jpg"), "leads out of the folder"),
    "symbolic link": (lambda a: link(a, tarfile.SYMTYPE, "images/1.jpg", "/etc/passwd"), "is a link"),
    "hard link": (lambda a: link(a, tarfile.LNKTYPE, "images/1.jpg", "/etc/passwd"), "is a link"),
    "folder link": (lambda a: link(a, tarfile.SYMTYPE, "images", "/tmp"), "is a link"),
    "device": (lambda a: link(a, tarfile.CHRTYPE, "images/1.jpg", ""), "no file"),
    "pipe": (lambda a: link(a, tarfile.FIFOTYPE, "images/1.jpg", ""), "no file"),
    "twice": (lambda a: add(a, "other/images/00001.jpg"), "comes twice"),
    "bomb": (lambda a: add(a, "images/9.jpg", bytes(100 * MB)), "unpacks to more than"),
    "bomb that is not wanted": (lambda a: add(a, "bomb.txt", bytes(100 * MB)), "unpacks to more than"),
    "endless header": (lambda a: add(a, "x", bytes(65 * MB), type=tarfile.XHDTYPE), "endless header"),
}


@pytest.mark.parametrize("what", EVIL)
def test_an_evil_archive_is_refused_as_a_whole(what: str, tiny_data: Path, annotations: Path, tmp_path: Path) -> None:
    edit, said = EVIL[what]
    (tmp_path / "in").mkdir()
    archive = images_archive(tiny_data, tmp_path / "in" / "evil.tar.gz", edit)
    with pytest.raises(DataError, match=said) as refused:
        prepare_mpii(archive, annotations, tmp_path / "out" / "mpii", {}, Screen())
    assert str(archive) in str(refused.value) and "\n" not in str(refused.value)
    assert files(tmp_path) == {"in/evil.tar.gz": archive.read_bytes()}


def sparse() -> Iterator[bytes]:
    """A GNU sparse member of 8 GB, which is a hole, and one whose size is negative, which leads tarfile in a circle."""
    hole = tarfile.TarInfo("images/9.jpg")
    hole.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(hole.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o " % (8 * 2**30)
    yield _summed(block)
    back = bytearray(tarfile.TarInfo("images/9.jpg").tobuf(tarfile.GNU_FORMAT))
    back[124:136] = (2**96 - 1024).to_bytes(12, "big")
    yield _summed(back)


def _summed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize("header", sparse(), ids=["a hole", "a negative size"])
def test_a_header_that_lies_writes_nothing(header: bytes, tmp_path: Path) -> None:
    file = tmp_path / "evil.tar"
    file.write_bytes(header + bytes(2048))
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="evil.tar: "):
        unpack(file, tmp_path / "out", lambda name: Path(name.name), 2, tell_nobody)
    assert files(tmp_path / "out") == {}


@pytest.mark.parametrize("keep", [0, 0.5, 0.999])
def test_an_archive_that_was_cut_off_is_told_of(images: Path, annotations: Path, tmp_path: Path, keep: float) -> None:
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(images.read_bytes()[: int(images.stat().st_size * keep)])
    with pytest.raises(DataError, match=r"cut.tar.gz: is no whole tar archive .*: download it again"):
        prepare_mpii(cut, annotations, tmp_path / "mpii", {}, Screen())
    assert os.listdir(tmp_path) == ["cut.tar.gz"]


def test_other_archives_are_told_from_those_that_are_wanted(images: Path, annotations: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no mpii_train.json, mpii_val.json, mpii_gt_val.mat; give MMPose's"):
        prepare_mpii(images, images, tmp_path / "mpii", {}, Screen())
    with pytest.raises(DataError, match="holds no image in a folder images/; give mpii_human_pose_v1.tar.gz"):
        prepare_mpii(annotations, annotations, tmp_path / "mpii", {}, Screen())
    with pytest.raises(DataError, match="nix.tar: no such file"):
        prepare_mpii(tmp_path / "nix.tar", annotations, tmp_path / "mpii", {}, Screen())
    text = tmp_path / "page.tar.gz"
    text.write_bytes(gzip.compress(b"<html>Not found"))
    with pytest.raises(DataError, match="is no whole tar archive"):
        prepare_mpii(text, annotations, tmp_path / "mpii", {}, Screen())
    assert os.listdir(tmp_path) == ["page.tar.gz"]


def test_a_disk_that_is_too_small_is_told_of_before_anything_is_unpacked(
    images: Path, annotations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=256 * MB))
    with pytest.raises(NoSpaceError, match=r"MB are to be unpacked, and 256 MB of the disk are free; free \d+ MB"):
        prepare_mpii(images, annotations, tmp_path / "mpii", {}, Screen())
    assert not (tmp_path / "mpii").exists()
    monkeypatch.undo()
    prepare_mpii(images, annotations, tmp_path / "mpii", {}, Screen())
    assert os.listdir(tmp_path) == ["mpii"]


def prepare(images: Path, annotations: Path, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "raypose", "data", "prepare", "mpii", "--out", "mpii"]
    command += ["--images", str(images), "--annotations", str(annotations)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_one_goes_on_with_what_is_unpacked(tiny_data: Path, annotations: Path, tmp_path: Path) -> None:
    def add_many(archive: tarfile.TarFile) -> None:
        photo = (tiny_data / "images" / "00001.jpg").read_bytes()
        for number in range(1000):
            add(archive, f"images/{number + 100:05d}.jpg", photo)

    big = images_archive(tiny_data, tmp_path / "big.tar.gz", add_many)
    staging = tmp_path / ".mpii.partial"
    process = prepare(big, annotations, tmp_path)
    deadline = time.monotonic() + 60
    while len(list((staging / "images").glob("[0-9]*.jpg"))) < 30 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "mpii").exists()
    before = {file.name: file.stat().st_ino for file in (staging / "images").glob("[0-9]*.jpg")}
    assert 30 <= len(before) < 1000
    process = prepare(big, annotations, tmp_path)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "24 people to train on in 24 images, 8 to validate in 8" in out
    after = {file.name: file.stat().st_ino for file in (tmp_path / "mpii" / "images").iterdir()}
    assert len(after) == 1032 and before.items() <= after.items()
    assert sorted(os.listdir(tmp_path)) == ["big.tar.gz", "mpii"]


def test_what_other_archives_have_left_is_not_gone_on_with(images: Path, annotations: Path, tmp_path: Path) -> None:
    staging = tmp_path / ".mpii.partial"
    (staging / "images").mkdir(parents=True)
    (staging / "images" / "77777.jpg").write_bytes(b"of another archive")
    (staging / STAMP).write_text("{}")
    prepare_mpii(images, annotations, tmp_path / "mpii", {}, Screen())
    assert not (tmp_path / "mpii" / "images" / "77777.jpg").exists()

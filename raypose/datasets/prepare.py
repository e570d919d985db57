"""MPII from the archives as they are downloaded to the layout that a training reads. Runs in: command line.

The images come from MPII's home page (mpii_human_pose_v1.tar.gz: ./images/000001163.jpg ...), the annotations as JSON
from MMPose (mpii_annotations.tar: mpii_train.json, mpii_val.json, mpii_gt_val.mat and others).
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from raypose.datasets.archive import Digests, digests, require_space, unpack
from raypose.datasets.mpii import HEAD_BOXES, IMAGES, TRAIN, VAL
from raypose.datasets.staging import require_free, staged
from raypose.errors import DataError

STAMP = "prepared.json"
"""In a prepared folder: the archives that it came from, by their digests."""
KNOWN_MD5 = {"b6bc9c6869d3f035a5570b2e68ec84c4": "MPII's own images"}
"""As published in github.com/anibali/dlds (mpii-human-pose/details.json); of the annotations none was found."""
NEEDED = (TRAIN, VAL, HEAD_BOXES)
ANNOTATIONS = {
    Path(name).name: Path(name) for name in (*NEEDED, *(f"annotations/mpii_{o}.json" for o in ("test", "trainval")))
}
IMAGE_NAME = re.compile(r"\w[\w.-]{0,100}\.(jpe?g|png)", re.IGNORECASE)
PHOTOS_GROW, TEXT_GROWS = 2, 40  # times that an archive is larger when it is unpacked, at most


class Screen(Protocol):
    """Whoever tells the user how things stand."""

    def say(self, text: str) -> None:
        """What is being done now."""

    def progress(self, done: int, total: int) -> None:
        """How far the thing last said has come."""


def prepare_mpii(
    images: Path, annotations: Path, folder: Path, sha256: Mapping[str, str | None], screen: Screen
) -> dict[str, Any]:
    """Make `folder` in MPII layout out of both archives, whole or not at all; returns what its stamp holds.

    `sha256` holds the digests, of `images` and `annotations`, that the user expects. Stopped at any instant, the same
    call goes on with what is unpacked. Raises DataError for archives that are not those expected, damaged or dangerous,
    and for a folder that is there; NoSpaceError where the disk has no room.
    """
    archives = {"images": images, "annotations": annotations}
    for archive in archives.values():
        if not archive.is_file():
            raise DataError(f"{archive}: no such file; name the archive as it was downloaded")
    require_free(folder)
    stamp: dict[str, Any] = {"layout": "mpii"}
    for kind, archive in archives.items():
        screen.say(f"reading the digest of {archive.name} (MB)")
        found = digests(archive, screen.progress)
        _require_expected(archive, found, sha256.get(kind))
        stamp[kind] = {"file": archive.name, **asdict(found), "known_as": KNOWN_MD5.get(found.md5)}
    with staged(folder) as staging:
        _begin(staging, stamp)
        left = sum(archive.stat().st_size for archive in archives.values()) - _bytes_in(staging)
        require_space(staging, max(0, left))
        screen.say(f"unpacking {annotations.name} (MB)")
        unpack(annotations, staging, _annotation_place, TEXT_GROWS, screen.progress)
        lacking = [Path(name).name for name in NEEDED if not (staging / name).is_file()]
        if lacking:
            raise DataError(f"{annotations}: holds no {', '.join(lacking)}; give MMPose's mpii_annotations.tar")
        screen.say(f"unpacking {images.name} (MB)")
        if not unpack(images, staging, _image_place, PHOTOS_GROW, screen.progress):
            raise DataError(f"{images}: holds no image in a folder {IMAGES}/; give mpii_human_pose_v1.tar.gz")
    return stamp


def _require_expected(archive: Path, found: Digests, expected: str | None) -> None:
    if expected and found.sha256 != expected.strip().lower():
        raise DataError(
            f"{archive}: its sha256 is {found.sha256}, not {expected.strip()[:64]}: it is another file, or was cut "
            "off; download it again"
        )


def _begin(staging: Path, stamp: Mapping[str, Any]) -> None:
    """Go on with what a killed process has unpacked, if that was of the same archives; else begin anew."""
    file, text = staging / STAMP, json.dumps(stamp, indent=1) + "\n"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        for old in staging.iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        file.write_text(text, encoding="utf-8")


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _annotation_place(name: PurePosixPath) -> Path | None:
    """The known files, in whatever folder of the archive they are."""
    return ANNOTATIONS.get(name.name)


def _image_place(name: PurePosixPath) -> Path | None:
    belongs = name.parts[-2:-1] == (IMAGES,) and IMAGE_NAME.fullmatch(name.name)
    return Path(IMAGES) / name.name if belongs else None

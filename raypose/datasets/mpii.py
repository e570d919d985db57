"""Whether a folder holds a sound MPII layout for MMPose's `MpiiDataset`. Runs in: command line, driver."""

import hashlib
import json
import os
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from raypose.datasets.head_boxes import head_box_faults
from raypose.datasets.mpii_faults import examine_image, record_faults, shown
from raypose.errors import DataError

IMAGES = "images"
TRAIN = "annotations/mpii_train.json"
VAL = "annotations/mpii_val.json"
HEAD_BOXES = "annotations/mpii_gt_val.mat"
LISTED = 5


@dataclass(frozen=True)
class Problem:
    """One fault; an error stops training or spoils its figures, a warning does not.

    `place` is a path below the folder; `[7].joints` behind it is record 7, counted from 0, and its key.
    """

    severity: Literal["error", "warning"]
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True)
class Report:
    """What a folder in MPII layout holds, and everything that is wrong with it.

    `digest` is the SHA-256 of the annotation files and of the images' names and sizes, not of their pixels.
    """

    folder: Path
    train_people: int
    val_people: int
    train_images: int
    val_images: int
    joints_labelled: int
    digest: str
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that forbid training."""
        return tuple(p for p in self.problems if p.severity == "error")


@dataclass
class _People:
    """One annotation file: its records, the first record that names each image, and the joints marked visible."""

    records: int = 0
    images: dict[str, str] = field(default_factory=dict)
    joints: int = 0


def check_mpii(folder: Path, deep: bool = False) -> Report:
    """Examine the folder and report every problem; never raises because of what lies in it.

    Of each image only the ends are read, unless `deep` asks to decode them all.
    """
    if not os.path.isdir(folder):
        text = "there is no such folder: name the one that holds images/ and annotations/"
        return Report(folder, 0, 0, 0, 0, 0, _digest({}, {}), (Problem("error", str(folder), text),))
    problems: list[Problem] = []
    files = {name: _read(folder, name, problems) for name in (TRAIN, VAL, HEAD_BOXES)}
    train, val = (_people(name, files[name], problems) for name in (TRAIN, VAL))
    _check_head_boxes(files[HEAD_BOXES], val.records, problems)
    sizes = _check_images(folder, val.images | train.images, deep, problems)
    for image in sorted(train.images.keys() & val.images.keys()):
        problems.append(Problem("warning", val.images[image], _leak(image, train.images[image])))
    return Report(
        folder=folder,
        train_people=train.records,
        val_people=val.records,
        train_images=len(train.images),
        val_images=len(val.images),
        joints_labelled=train.joints + val.joints,
        digest=_digest(files, sizes),
        problems=tuple(problems),
    )


def require_sound(folder: Path) -> Report:
    """Check the folder without decoding its images; raises DataError, which names the first errors."""
    report = check_mpii(folder)
    if not report.errors:
        return report
    lines = [f"{folder} is not a sound MPII layout:", *(f"  {error}" for error in report.errors[:LISTED])]
    if (rest := len(report.errors) - LISTED) > 0:
        lines.append(f"  and {rest} more")
    raise DataError("\n".join([*lines, f"See all with: raypose data check {shlex.quote(str(folder))}"]))


def _read(folder: Path, name: str, problems: list[Problem]) -> bytes | None:
    path = folder / name
    if not os.path.isfile(path):  # also keeps a pipe from being opened, which would wait for ever
        problems.append(Problem("error", name, f"there is no such file: put it at {path}"))
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        problems.append(Problem("error", name, f"cannot be read ({error.strerror}): mend its rights or copy it again"))
        return None


def _people(name: str, data: bytes | None, problems: list[Problem]) -> _People:
    """Check each record, and count what the sound parts of them hold."""
    people = _People()
    for number, record in enumerate(_records(name, data, problems)):
        faults = list(record_faults(record))
        problems.extend(Problem("error", f"{name}[{number}]{key}", text) for key, text in faults)
        people.records += 1
        if not faults:
            people.joints += int(sum(record["joints_vis"]))
        if not {"", ".image"} & {key for key, _ in faults}:
            people.images.setdefault(record["image"], f"{name}[{number}].image")
    return people


def _records(name: str, data: bytes | None, problems: list[Problem]) -> list[Any]:
    if data is None:
        return []
    records: Any = None
    try:
        records = json.loads(data.decode("utf-8"))
    except json.JSONDecodeError as error:
        fault = f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}: mend it or copy it again"
    except (ValueError, RecursionError) as error:  # not UTF-8; a number of thousands of digits; nested too deeply
        fault = f"cannot be read as JSON ({error}): mend it or copy it again"
    else:
        if isinstance(records, list) and records:
            return records
        what = "is an empty list" if records == [] else f"holds {shown(records)}, not a list"
        fault = f"{what}: give a list with one record for each person"
    problems.append(Problem("error", name, fault))
    return []


def _check_head_boxes(data: bytes | None, people: int, problems: list[Problem]) -> None:
    if data is not None:
        problems.extend(Problem("error", HEAD_BOXES, text) for text in head_box_faults(data, people, VAL))


def _check_images(folder: Path, places: dict[str, str], deep: bool, problems: list[Problem]) -> dict[str, int]:
    """Examine each image once, many at a time for the sake of network disks; returns their sizes in bytes."""
    if not os.path.isdir(folder / IMAGES):
        problems.append(Problem("error", IMAGES, f"there is no such folder: put the images into {folder / IMAGES}"))
        return {}
    examine = partial(examine_image, os.path.realpath(folder / IMAGES), deep=deep)
    with ThreadPoolExecutor() as pool:
        found = dict(zip(places, pool.map(examine, places), strict=True))
    problems.extend(Problem("error", places[name], image.fault) for name, image in found.items() if image.fault)
    return {name: image.size for name, image in found.items()}


def _leak(image: str, place: str) -> str:
    return f"{shown(image)} is also a training image ({place}): take it out of one, or the figures will be too good"


def _digest(files: dict[str, bytes | None], sizes: dict[str, int]) -> str:
    parts = {name: hashlib.sha256(data or b"").hexdigest() for name, data in files.items()}
    return hashlib.sha256(json.dumps([parts, sorted(sizes.items())]).encode()).hexdigest()

"""Whether a folder holds a sound MPII layout for MMPose's `MpiiDataset`. Runs in: command line, driver."""

import hashlib
import json
import os
import shlex
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from raypose.datasets.head_boxes import head_box_faults
from raypose.datasets.mpii_faults import ImageFile, examine_image, record_faults, shown
from raypose.datasets.split import is_loaded
from raypose.errors import DataError

IMAGES = "images"
TRAIN = "annotations/mpii_train.json"
VAL = "annotations/mpii_val.json"
HEAD_BOXES = "annotations/mpii_gt_val.mat"
LISTED = 5
NOT_SCORED = (6, 7)  # pelvis and thorax, which PCKh leaves out


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

    `train_people` and `val_people` are those that MMPose loads: without the records that have no joint in the image.
    `parts` holds a SHA-256 for each annotation file and one for all images: their names, sizes, and both ends of each
    file, which nearly every other picture changes too. `digest` is the one of all parts. `unreadable` counts the images
    that cannot be used and that only training records name; where they are few enough, each is a warning.
    """

    folder: Path
    train_people: int
    val_people: int
    train_images: int
    val_images: int
    joints_labelled: int
    digest: str
    problems: tuple[Problem, ...]
    parts: Mapping[str, str] = field(default_factory=dict)
    unreadable: int = 0

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that forbid training."""
        return tuple(p for p in self.problems if p.severity == "error")

    def changed(self, before: Mapping[str, str]) -> list[str]:
        """The parts, as paths below the folder, that are not those of an earlier report."""
        return [name for name, digest in self.parts.items() if digest != before.get(name)]


@dataclass
class _People:
    """One annotation file: its records, the first record that names each image, and the joints marked visible.

    MMPose loads all but those `outside`, without a joint in the image; `learnable` have a joint to be measured by.
    """

    records: int = 0
    images: dict[str, str] = field(default_factory=dict)
    joints: int = 0
    outside: int = 0
    learnable: int = 0


def check_mpii(folder: Path, deep: bool = False, bad_images: float = 0.0) -> Report:
    """Examine the folder and report every problem; never raises because of what lies in it.

    Of each image only the ends are read, unless `deep` asks to decode them all. Up to the share `bad_images` of the
    training images may be unreadable, if no validation record names them: each is a warning then, not an error.
    """
    if not os.path.isdir(folder):
        text = "there is no such folder: name the one that holds images/ and annotations/"
        return Report(folder, 0, 0, 0, 0, 0, _digest({}), (Problem("error", str(folder), text),))
    problems: list[Problem] = []
    files = {name: _read(folder, name, problems) for name in (TRAIN, VAL, HEAD_BOXES)}
    train, val = (_people(name, files[name], problems) for name in (TRAIN, VAL))
    _check_head_boxes(files[HEAD_BOXES], val.records, problems)
    images = _examine_images(folder, train.images | val.images, deep, problems)
    unreadable = {name for name, file in images.items() if _is_spare(file) and name not in val.images}
    left_out = unreadable if _are_few(unreadable, train.images, bad_images) else set()
    problems.extend(_image_problems(images, train.images | val.images, left_out))
    for image in sorted(train.images.keys() & val.images.keys()):
        problems.append(Problem("warning", val.images[image], _leak(image, train.images[image])))
    return Report(
        folder=folder,
        train_people=train.records - train.outside,
        val_people=val.records - val.outside,
        train_images=len(train.images),
        val_images=len(val.images),
        joints_labelled=train.joints + val.joints,
        digest=_digest(parts := _parts(files, images)),
        problems=tuple(problems),
        parts=parts,
        unreadable=len(unreadable),
    )


def require_sound(folder: Path, bad_images: float = 0.0) -> Report:
    """Check the folder without decoding its images; raises DataError, which names the first errors.

    Up to the share `bad_images` of the training images may be unreadable, which the training then leaves out.
    """
    report = check_mpii(folder, bad_images=bad_images)
    if not report.errors:
        return report
    lines = [f"{folder} is not a sound MPII layout:", *(f"  {error}" for error in report.errors[:LISTED])]
    if (rest := len(report.errors) - LISTED) > 0:
        lines.append(f"  and {rest} more")
    if bad_images and report.unreadable and report.unreadable / report.train_images > bad_images:
        lines.append(
            f"{report.unreadable} of its {report.train_images} training images cannot be used, more than the share "
            f"{bad_images:g} that failure.bad_images lets a training leave out"
        )
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
    people, sound = _People(), 0
    for number, record in enumerate(_records(name, data, problems)):
        faults = list(record_faults(record))
        problems.extend(Problem("error", f"{name}[{number}]{key}", text) for key, text in faults)
        people.records += 1
        if not faults:
            sound += 1
            people.joints += int(sum(record["joints_vis"]))
            loaded = is_loaded(record["joints"])
            people.outside += not loaded
            people.learnable += loaded and _is_scored(record["joints_vis"])
        if not {"", ".image"} & {key for key, _ in faults}:
            people.images.setdefault(record["image"], f"{name}[{number}].image")
    if sound and not people.learnable:
        text = "no record has a labelled joint in its image, beside pelvis and thorax: give people with joints"
        problems.append(Problem("error", name, text))
    return people


def _is_scored(visible: list[float]) -> bool:
    return any(labelled for joint, labelled in enumerate(visible) if joint not in NOT_SCORED)


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


def _examine_images(folder: Path, names: Collection[str], deep: bool, problems: list[Problem]) -> dict[str, ImageFile]:
    """Examine each image once, many at a time for the sake of network disks."""
    if not os.path.isdir(folder / IMAGES):
        problems.append(Problem("error", IMAGES, f"there is no such folder: put the images into {folder / IMAGES}"))
        return {}
    examine = partial(examine_image, os.path.realpath(folder / IMAGES), deep=deep)
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(examine, names), strict=True))


def _is_spare(file: ImageFile) -> bool:
    return file.fault is not None and not file.dangerous


def _are_few(unreadable: Collection[str], images: Collection[str], share: float) -> bool:
    return not unreadable or len(unreadable) / len(images) <= share


def _image_problems(
    images: Mapping[str, ImageFile], places: Mapping[str, str], left_out: Collection[str]
) -> Iterator[Problem]:
    for name, file in images.items():
        if file.fault and name in left_out:
            yield Problem("warning", places[name], f"{file.fault}; until then the training leaves it out")
        elif file.fault:
            yield Problem("error", places[name], file.fault)


def _leak(image: str, place: str) -> str:
    return f"{shown(image)} is also a training image ({place}): take it out of one, or the figures will be too good"


def _parts(files: Mapping[str, bytes | None], images: Mapping[str, ImageFile]) -> dict[str, str]:
    """The digests of the annotation files by their names, and one of all images."""
    parts = {name: hashlib.sha256(data or b"").hexdigest() for name, data in files.items()}
    return parts | {IMAGES: _digest({name: file.digest for name, file in images.items()})}


def _digest(parts: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(parts.items())).encode()).hexdigest()

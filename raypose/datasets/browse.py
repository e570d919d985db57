"""People of a data folder as they are given, or with what a model took their joints to be. Runs in: command line."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from raypose.datasets.mpii import IMAGES, TRAIN, VAL
from raypose.datasets.mpii_faults import PIXEL_STD
from raypose.datasets.portrait import JOINTS, PREDICTION, TRUTH, Box, Point, Portrait, Pose

BrowsedPart = Literal["train", "val"]
FILES: Mapping[BrowsedPart, str] = {"train": TRAIN, "val": VAL}
AROUND = 1.5  # how much of the photo is shown, in sides of the person's box
SIDE = 400  # pixels of a portrait's longer side
LARGEST = 4.0  # times that a small person is enlarged at most


@dataclass(frozen=True)
class Guess:
    """Where a model took a person's 16 joints to be, in pixels of the photo from 0 on, and how far off that was.

    Of each joint `found` is 1, 0 if it was missed, and -1 if it does not count: without a label, pelvis and thorax.
    `missed` is the share of those that count, and `error` their mean distance in sizes of the head, PCKh's unit.
    """

    row: int
    missed: float
    error: float
    joints: tuple[Point, ...]
    found: tuple[int, ...]


def choose(people: int, count: int, seed: int) -> list[int]:
    """Up to so many of the people, drawn by the seed alone, in the order of their rows."""
    return sorted(np.random.default_rng(seed).permutation(people)[:count].tolist())


def as_given(folder: Path, part: BrowsedPart, count: int, seed: int) -> Iterator[Portrait]:
    """Some people of a sound folder with their labels; those whose image cannot be decoded are left out."""
    records = json.loads((folder / FILES[part]).read_text(encoding="utf-8"))
    for row in choose(len(records), count, seed):
        cut = cut_out(folder, records[row])
        if cut is not None:
            yield _labelled(row, records[row], cut)


def as_guessed(folder: Path, guesses: Sequence[Guess]) -> Iterator[Portrait]:
    """Validation people, in the order of the guesses, with their labels below what a model took for their joints."""
    records = json.loads((folder / VAL).read_text(encoding="utf-8"))
    for guess in guesses:
        cut = cut_out(folder, records[guess.row])
        if cut is not None:
            yield _guessed(guess, records[guess.row], cut)


@dataclass(frozen=True)
class CutOut:
    """Part of a photo, resized: `pixels` RGB of shape (H, W, 3), and what takes the photo's coordinates to it."""

    pixels: NDArray[np.uint8]
    left: int
    top: int
    factor: float

    def place(self, point: Sequence[float]) -> Point:
        """A point of the photo, whose first pixel's middle is (0, 0), in the part."""
        x, y = ((at - start + 0.5) * self.factor - 0.5 for at, start in zip(point, (self.left, self.top), strict=True))
        return round(float(x), 2), round(float(y), 2)

    def place_box(self, box: Box) -> Box:
        """A box of the photo, in the part."""
        return *self.place(box[:2]), *self.place(box[2:])


def cut_out(folder: Path, record: Mapping[str, Any]) -> CutOut | None:
    """What the photo shows around a person; None if it cannot be decoded."""
    photo = cv2.imread(str(folder / IMAGES / record["image"]), cv2.IMREAD_COLOR_RGB)
    if photo is None:
        return None
    left, top, right, bottom = box_of(record)
    spare = (AROUND - 1) / 2 * (right - left)
    rows, columns = photo.shape[:2]
    x0, x1 = (int(np.clip(at, 0, columns)) for at in (left - spare, right + spare))
    y0, y1 = (int(np.clip(at, 0, rows)) for at in (top - spare, bottom + spare))
    if x1 <= x0 or y1 <= y0:  # the box is nowhere in the photo
        x0, y0, x1, y1 = 0, 0, columns, rows
    factor = min(SIDE / max(x1 - x0, y1 - y0), LARGEST)
    size = max(1, round((x1 - x0) * factor)), max(1, round((y1 - y0) * factor))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return CutOut(np.asarray(cv2.resize(photo[y0:y1, x0:x1], size, interpolation=way), np.uint8), x0, y0, factor)


def box_of(record: Mapping[str, Any]) -> Box:
    """A person's box (left, top, right, bottom) in pixels of the photo from 0 on, as MMPose's MpiiDataset has it."""
    half = record["scale"] * PIXEL_STD / 2
    x, y = record["center"]
    if x != -1:
        y += 15 * record["scale"]  # so that the feet are not cut off
    return x - 1 - half, y - 1 - half, x - 1 + half, y - 1 + half


def _labelled(row: int, record: Mapping[str, Any], cut: CutOut) -> Portrait:
    pose = _label("label", record, cut)
    labelled = sum(pose.filled)
    unlabelled = [JOINTS[joint] for joint, filled in enumerate(pose.filled) if not filled]
    text = (f"{labelled} of {len(JOINTS)} joints labelled", *_without("no label: ", unlabelled))
    figures = {"labelled": float(labelled), "height": record["scale"] * PIXEL_STD}
    return Portrait(record["image"], row, cut.pixels, (pose,), text, figures, cut.place_box(box_of(record)))


def _label(name: str, record: Mapping[str, Any], cut: CutOut, colour: str | None = None) -> Pose:
    """A record's joints, which count pixels from 1; one without a label may still have a place."""
    seen = tuple(bool(visible) for visible in record["joints_vis"])
    there = (visible or max(joint) > 0 for joint, visible in zip(record["joints"], seen, strict=True))
    joints = zip(record["joints"], there, strict=True)
    return Pose(name, tuple(cut.place((x - 1, y - 1)) if has else None for (x, y), has in joints), seen, colour)


def _guessed(guess: Guess, record: Mapping[str, Any], cut: CutOut) -> Portrait:
    truth = _label("truth", record, cut, TRUTH)
    places = tuple(cut.place(joint) for joint in guess.joints)
    prediction = Pose("prediction", places, tuple(found != 0 for found in guess.found), PREDICTION)
    missed = [joint for joint, found in enumerate(guess.found) if found == 0]
    misses = tuple((there, places[joint]) for joint in missed if (there := truth.joints[joint]) is not None)
    text = (
        f"{len(missed)} of {sum(found >= 0 for found in guess.found)} joints missed ({guess.missed:.0%})",
        f"mean error {guess.error:.2f} heads",
        *_without("missed: ", [JOINTS[joint] for joint in missed] if 1 in guess.found else ["all"]),
    )
    figures = {"missed": guess.missed, "error": guess.error}
    box = cut.place_box(box_of(record))
    return Portrait(record["image"], guess.row, cut.pixels, (truth, prediction), text, figures, box, misses)


def _without(what: str, names: Sequence[str]) -> list[str]:
    return [what + ", ".join(names)] if names else []

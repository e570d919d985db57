"""A data folder made into two, by image: what is held out, and the rest. Runs in: command line."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from raypose.datasets.mat_file import read_arrays, write_arrays
from raypose.datasets.mpii import HEAD_BOXES, IMAGES, TRAIN, VAL, Report, check_mpii, require_sound
from raypose.datasets.split import fraction
from raypose.datasets.staging import staged
from raypose.errors import DataError

REST, HELD_OUT, STAMP = "rest", "held_out", "split.json"


@dataclass(frozen=True)
class Split:
    """What came of a folder: the reports of both parts, and of the folder that they were made from."""

    source: Report
    rest: Report
    held_out: Report


def split_folder(source: Path, share: float, out: Path, seed: int) -> Split:
    """Make `out/rest` and `out/held_out` out of a sound folder in MPII layout, whole or not at all.

    Each image goes to one of them with all its people, by its name and the seed alone, so that it stays there whatever
    is added to the set. Training people stay training people, validation people keep their head boxes, and all keep
    their order. Images are hard links, which take no space. `out/split.json` holds share, seed and the digests.
    Raises DataError for a folder that is not sound, for a part without people, and for `out` on another disk.
    """
    report = require_sound(source)
    with staged(out) as staging:
        for left in staging.iterdir():  # of one that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        for part in (REST, HELD_OUT):
            _write_part(source, staging / part, share, seed, part == HELD_OUT)
        parts = {part: check_mpii(staging / part) for part in (REST, HELD_OUT)}
        for part, made in parts.items():
            if made.errors:
                raise DataError(f"{source}: the part {part} would not be sound: {made.errors[0]}; choose another share")
        stamp = {"source": str(source.absolute()), "source_digest": report.digest, "holdout": share, "seed": seed}
        text = json.dumps({**stamp, "parts": {part: _facts(made) for part, made in parts.items()}}, indent=1)
        (staging / STAMP).write_text(text + "\n", encoding="utf-8")
    return Split(report, *(replace(parts[part], folder=out / part) for part in (REST, HELD_OUT)))


def _facts(report: Report) -> dict[str, Any]:
    names = ("digest", "train_people", "train_images", "val_people", "val_images")
    return {name: getattr(report, name) for name in names}


def _write_part(source: Path, folder: Path, share: float, seed: int, held_out: bool) -> None:
    (folder / "annotations").mkdir(parents=True)
    (folder / IMAGES).mkdir()
    for name in (TRAIN, VAL):
        records = json.loads((source / name).read_text(encoding="utf-8"))
        rows = [row for row, record in enumerate(records) if _is_held_out(record, share, seed) == held_out]
        if not rows:
            what = f"{source / name}: with --holdout {share:g} and --seed {seed} no image of it is"
            raise DataError(f"{what} {'held out' if held_out else 'left'}: choose another share, or add images")
        (folder / name).write_text(json.dumps([records[row] for row in rows]), encoding="utf-8")
        for image in {records[row]["image"]: None for row in rows}:
            _link(source / IMAGES / image, folder / IMAGES / image)
        if name == VAL:
            _write_head_boxes(source / HEAD_BOXES, folder / HEAD_BOXES, rows, len(records))


def _is_held_out(record: Mapping[str, Any], share: float, seed: int) -> bool:
    return fraction(record["image"], seed) < share


def _write_head_boxes(source: Path, file: Path, rows: list[int], people: int) -> None:
    """All arrays with a last dimension of people, as MPII's own file has them, of these people."""
    arrays = read_arrays(source.read_bytes())
    of_people = {name: array for name, array in arrays.items() if array is not None and array.shape[-1] == people}
    write_arrays(
        file, {name: np.ascontiguousarray(array[..., rows]) for name, array in of_people.items()}, "raypose data split"
    )


def _link(image: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.exists():  # the other annotation file names it too
        return
    try:
        os.link(os.path.realpath(image), link)
    except OSError as fault:
        text = f"cannot be hard-linked ({fault.strerror}): name a folder on the same disk as {image.parent} with --out"
        raise DataError(f"{image}: {text}") from fault

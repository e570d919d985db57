"""Data sets of several formats, side by side: mpii:DIR, coco:DIR, aic:DIR. Runs in: command line, driver."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from raypose.datasets.coco import AIC, COCO, Layout, require_coco_format
from raypose.datasets.mpii import require_sound
from raypose.errors import DataError

Format = Literal["mpii", "coco", "aic"]
FORMATS: tuple[Format, ...] = ("mpii", "coco", "aic")
LAYOUTS: Mapping[Format, Layout] = {"coco": COCO, "aic": AIC}
"""Those in COCO's format; AIC is AI Challenger's."""


@dataclass(frozen=True)
class DataSet:
    """A folder, and the format of the people in it."""

    format: Format
    folder: Path

    def __str__(self) -> str:
        return f"{self.format}:{self.folder}"


@dataclass(frozen=True)
class SetScore:
    """What weights reach on one set, and what that means.

    `figures` are MMPose's: of an MPII set PCKh in percent, of the others AP and AR from 0 to 1, without those of sizes
    that no person has. Predictions are made in annotated boxes. Of `people` the `joints` counted, and those `left_out`
    did not: the model has none such, or PCKh never counts them; who shows no other, or is a crowd, is not among
    `people`.
    """

    data: DataSet
    people: int
    figures: dict[str, float]
    joints: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def meaning(self) -> str:
        """What the figures are of, in one line."""
        unit = "PCKh in percent" if self.data.format == "mpii" else "AP and AR from 0 to 1"
        counted, all_joints = len(self.joints), len(self.joints) + len(self.left_out)
        without = f", without {', '.join(self.left_out)}" if self.left_out else ""
        return f"{unit} of {self.people} people in annotated boxes; {counted} of {all_joints} joints count{without}"


def parse_set(text: str) -> DataSet:
    """The set that an option's value names: coco:DIR, or DIR for mpii:DIR. Raises DataError for anything else."""
    found = next((name for name in FORMATS if text.startswith(f"{name}:")), None)
    folder = text.removeprefix(f"{found}:")
    if not folder or (found is None and ":" in text and not os.path.exists(text)):
        formats = ", ".join(f"{name}:DIR" for name in FORMATS)
        raise DataError(f"'{text}': is no data set; one is {formats}, or DIR of mpii")
    return DataSet(found or "mpii", Path(folder))


def require_sound_sets(sets: Sequence[DataSet]) -> None:
    """Check each folder without decoding its images, and that MMPose can tell the sets apart, which it does by format.

    Raises DataError, which names the first faults.
    """
    for number, one in enumerate(sets):
        if one.format in {other.format for other in sets[:number]}:
            raise DataError(f"{one}: the second set of its format: test those one after another")
        if one.format in LAYOUTS:
            require_coco_format(one.folder, LAYOUTS[one.format])
        else:
            require_sound(one.folder)

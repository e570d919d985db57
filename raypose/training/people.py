"""The data set that trials train and validate on: MMPose's, with seeds by place, and images that cannot be read.

Runs in: GPU worker, its loader processes, `raypose plan`.
"""

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpose.datasets.datasets import MpiiDataset

from raypose.datasets.mpii_faults import examine_image
from raypose.errors import DataError
from raypose.training.seeds import mixed, seed_generators

UNREADABLE = "unreadable.txt"


@dataclass(frozen=True)
class Unreadable:
    """A trial's list of the training images that were left out, a line each, and how many `limit` allows.

    Loader processes of all ranks add to it, and each sees what the others found.
    """

    file: Path
    limit: float

    def add(self, image: str, fault: str) -> int:
        """Note an image once; returns how many there are."""
        with self.file.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            known = {line.split("\t")[0] for line in file}
            if image not in known:
                file.write(f"{image}\t{fault}\n")
            return len(known | {image})

    def count(self) -> int:
        """How many there are."""
        return len(self.file.read_text(encoding="utf-8").splitlines()) if self.file.exists() else 0


class People(MpiiDataset):
    """MMPose's MpiiDataset, for a training that goes on from any step and meets images that cannot be read.

    `place` is the training's (seed, epoch): what the pipeline draws for a sample follows from it and the sample's
    index alone, whichever process loads it, before or after a restart. Without it, the generators go on as they are.
    With a list of `unreadable` images, another sample stands in for one whose image cannot be read. Without, as in any
    validation, and with more images than the list allows, that raises DataError.
    """

    place: tuple[int, int] | None = None
    unreadable: Unreadable | None = None
    images = 0
    found_unreadable: Sequence[tuple[str, str]] = ()
    """Images and their faults that are known before any is opened."""

    def __getitem__(self, idx: int) -> Any:
        """The sample, or one drawn in its stead."""
        if self.place is not None:
            seed_generators(mixed("sample", *self.place, idx))
        return super().__getitem__(idx)

    def prepare_data(self, idx: int) -> Any:
        """The sample, or None if it is to be left out: MMEngine then draws another from NumPy's generator."""
        try:
            return super().prepare_data(idx)
        except Exception:  # of the file, of the decoder, or an assertion: what it was, the file itself tells
            folder = self.data_prefix["img"]
            image = os.path.relpath(self.get_data_info(idx)["img_path"], folder)
            fault = examine_image(os.path.realpath(folder), image, deep=True).fault
            if fault is None:
                raise
        self.leave_out(image, fault)
        return None

    def leave_out(self, image: str, fault: str) -> None:
        """Note an unreadable image; raises DataError if none, or no further one, may be left out."""
        see = f"see all with: raypose data check --deep {self.data_root}"
        if self.unreadable is None:
            kind = "validation" if self.test_mode else "training"
            where = os.path.join(self.data_prefix["img"], image)
            raise DataError(f"{where}: a {kind} image that cannot be used: {fault}; {see}")
        count = self.unreadable.add(image, fault)
        if count > self.unreadable.limit:
            raise DataError(
                f"{count} of {self.images} training images cannot be used, more than failure.bad_images lets a "
                f"training leave out ({self.unreadable.limit:g}); the last one found: {fault}; the others are in "
                f"{self.unreadable.file}; {see}"
            )

    def _load_annotations(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        people, images = super()._load_annotations()
        self.images = len(images)
        return people, images

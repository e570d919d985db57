"""The data set that trials train and validate on: MMPose's, with seeds by place, and images that cannot be read.

Runs in: GPU worker, its loader processes, `raypose plan`.
"""

import copy
import fcntl
import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmpose.datasets.datasets import MpiiDataset

from raypose.datasets.mpii_faults import examine_image
from raypose.errors import DataError
from raypose.training.seeds import mixed, seed_generators

UNREADABLE = "unreadable.txt"
OF_THE_SET = (
    *("dataset_name", "upper_body_ids", "lower_body_ids", "flip_pairs", "dataset_keypoint_weights"),
    *("flip_indices", "skeleton_links"),
)
"""What of a data set's metadata MMPose gives to each sample."""

_read: dict[Hashable, tuple[Any, Any, int]] = {}
"""What the annotation files that this process has read hold, as MMEngine packs it, and how many images."""


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
    data_bytes: Any
    data_address: Any
    _fully_initialized: bool = False

    def full_init(self) -> None:
        """MMEngine's, which takes seconds for MPII; the trials of a lane share what the first of them has read."""
        if self._fully_initialized or not self.serialize_data:
            super().full_init()
            return
        key = self._files()
        if key not in _read:
            super().full_init()
            _read[key] = self.data_bytes, self.data_address, self.images
        self.data_bytes, self.data_address, self.images = _read[key]
        self._fully_initialized = True

    def _files(self) -> Hashable:
        """All that decides what is read: the files, as they are now, and what of them."""
        files = [file for file in (self.ann_file, self.headbox_file) if file]
        stamps = [(file, found.st_mtime_ns, found.st_size) for file in files for found in [os.stat(file)]]
        chosen = None if self._indices is None else tuple(self._indices)
        return *stamps, self.data_prefix["img"], self.data_mode, self.test_mode, chosen

    def __getitem__(self, idx: int) -> Any:
        """The sample, or one drawn in its stead."""
        if self.place is not None:
            seed_generators(mixed("sample", *self.place, idx))
        return super().__getitem__(idx)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """As MMPose's, whose deep copies of the metadata take a tenth of what is left of a sample's time."""
        info: dict[str, Any] = BaseDataset.get_data_info(self, idx)
        info.update((key, copy.copy(self._metainfo[key])) for key in OF_THE_SET)
        return info

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

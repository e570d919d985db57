"""Which validation people choose between trials, and which are kept to test the winner. Runs in: driver, GPU worker."""

import hashlib
import json
from pathlib import Path
from typing import Literal

import numpy as np

from raypose.errors import DataError

Part = Literal["val", "test"]


def split_rows(annotations: Path, held_out: float, part: Part) -> list[int]:
    """The people of an MPII annotation file that belong to a part, by their numbers in MMPose's `MpiiDataset`.

    The share `held_out` of the images is the test part. An image's name alone decides, so that all its people are in
    one part and it stays there whatever is added to the set. Raises DataError if the part is empty.
    """
    images = [record["image"] for record in json.loads(annotations.read_text()) if is_loaded(record["joints"])]
    rows = [row for row, image in enumerate(images) if (fraction(image) < held_out) == (part == "test")]
    if not rows:
        raise DataError(
            f"{annotations}: with held_out {held_out} no image of its {len(set(images))} is in the {part} part: "
            "choose another share, or add images"
        )
    return rows


def is_loaded(joints: list[list[float]]) -> bool:
    """MpiiDataset leaves out a person whose coordinates are all 0 or less in float32, and numbers those that remain."""
    return bool(np.float32(max(map(max, joints))) > 0)


def fraction(image: str, seed: int = 0) -> float:
    """A number in [0, 1) that follows from name and seed alone, and is as good as random."""
    text = f"{seed}:{image}" if seed else image
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48

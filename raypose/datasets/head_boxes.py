"""The head boxes of MPII's validation people, by whose diagonals PCKh is measured. Runs in: command line, driver."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from raypose.datasets.mat_file import read_arrays
from raypose.datasets.mpii_faults import LARGEST

VARIABLE = "headboxes_src"
SMALLEST = 1e-3  # pixels; the distances that PCKh divides by a head's size overflow far below


def head_box_faults(data: bytes, people: int, val_file: str) -> Iterator[str]:
    """What is wrong with a head box file: MMPose pairs box i, (2, 2, i), with record i of the validation file."""
    try:
        boxes = read_arrays(data).get(VARIABLE)
    except (ValueError, struct.error, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        yield f"cannot be read as a MATLAB 5 file ({reason}): copy it again, or save it with scipy.io.savemat"
        return
    if boxes is None or boxes.dtype.kind not in "fiu" or boxes.shape[:-1] != (2, 2):
        found = "missing, or holds no numbers" if boxes is None else f"{boxes.dtype} of shape {boxes.shape}"
        yield f"{VARIABLE} is {found}: give numbers of shape (2, 2, people), with [0] x1, y1 and [1] x2, y2"
        return
    if people and boxes.shape[2] != people:
        yield f"holds {boxes.shape[2]} head boxes for the {people} records of {val_file}: give one a record, in order"
    for number, (first, second) in enumerate(np.moveaxis(boxes.astype(np.float64), 2, 0)):
        if not (np.abs([first, second]) <= LARGEST).all():
            yield f"head box {number} is not finite, or beyond {LARGEST:.0f} pixels: give its corners in pixels"
        elif np.linalg.norm(second - first) < SMALLEST:
            yield f"head box {number} has no size, so PCKh has no unit: give the corners of the head"

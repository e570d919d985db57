"""The head boxes of MPII's validation people, by whose diagonals PCKh is measured. Runs in: command line, driver."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.io import loadmat

from raypose.datasets.mpii_faults import LARGEST

VARIABLE = "headboxes_src"
HEADER = 128  # bytes before the first element
BYTE_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}  # by the last four bytes of a version 5 header
MATRIX, COMPRESSED = 14, 15
PLAIN_TYPES = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}  # numbers and characters


def head_box_faults(data: bytes, people: int, val_file: str) -> Iterator[str]:
    """What is wrong with a head box file: MMPose pairs box i, (2, 2, i), with record i of the validation file."""
    try:
        boxes = _read(data)
    except Exception as error:  # scipy raises nearly every type there is on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        yield f"cannot be read as a MATLAB 5 file ({reason}): copy it again, or save it with scipy.io.savemat"
        return
    if not isinstance(boxes, np.ndarray) or boxes.dtype.kind not in "fiu" or boxes.shape[:-1] != (2, 2):
        found = f"{boxes.dtype} of shape {boxes.shape}" if isinstance(boxes, np.ndarray) else "missing"
        yield f"{VARIABLE} is {found}: give numbers of shape (2, 2, people), with [0] x1, y1 and [1] x2, y2"
        return
    if people and boxes.shape[2] != people:
        yield f"holds {boxes.shape[2]} head boxes for the {people} records of {val_file}: give one a record, in order"
    for number, (first, second) in enumerate(np.moveaxis(boxes.astype(np.float64), 2, 0)):
        if not (np.abs([first, second]) <= LARGEST).all():
            yield f"head box {number} is not finite, or beyond {LARGEST:.0f} pixels: give its corners in pixels"
        elif (first == second).all():
            yield f"head box {number} has no size, so PCKh has no unit: give the corners of the head"


def _read(data: bytes) -> Any:
    """The variable of the head boxes, None if there is none, without the ways in which scipy kills the process.

    scipy's reader dereferences a null pointer on an element type that it does not know, or when a damaged array reads
    on into the next one (scipy#25829). So the types are checked, and each array is given to it alone.
    """
    order = BYTE_ORDERS.get(data[HEADER - 4 : HEADER])
    if order is None:
        raise ValueError("its header is another one")
    _check_types(data[HEADER:], order)
    for _, _, element in _elements(data[HEADER:], order):
        stream = io.BytesIO(data[:HEADER] + element)
        variables = loadmat(stream, variable_names=[VARIABLE])  # type: ignore[arg-type]  # the stubs know only paths
        if VARIABLE in variables:
            return variables[VARIABLE]
    return None


def _check_types(data: bytes, order: str) -> None:
    for kind, content, _ in _elements(data, order):
        if kind == COMPRESSED:
            _check_types(zlib.decompress(content), order)
        elif kind == MATRIX:
            _check_types(content, order)
        elif kind not in PLAIN_TYPES:
            raise ValueError(f"unknown data type {kind}")


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Type, content and all bytes of each element, as MathWorks' "MAT-File Format" lays them out."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind > 0xFFFF:  # a small element: size and type share four bytes, the content has the other four
            kind, start, end = kind & 0xFFFF, at + 4, at + 8
        else:
            start, end = at + 8, at + 8 + size
            end += -size % 8 if kind != COMPRESSED else 0  # all but compressed data is padded to eight bytes
        yield kind, data[start:end], data[at:end]
        at = end

"""The arrays of a MATLAB 5 file, read more strictly than scipy does, and written. Runs in: command line, driver.

MMPose reads the whole file with scipy, whose compiled reader believes what it finds: an unknown type, or an array that
reads on into the next one, ends the process (scipy#25829). What passes here, scipy reads to the same numbers.
"""

import io
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = 128  # bytes before the first element
BYTE_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}  # by the last four bytes of a version 5 header
LARGEST = 2**28  # bytes of a compressed array, values of any; the whole of MPII has less than a hundredth of it
DEEPEST = 10  # cells and structs within each other

INT8, UINT16, INT32, UINT32, MATRIX, COMPRESSED = 1, 4, 5, 6, 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {1: "ascii", 2: "ascii", UINT16: "utf-8", 16: "utf-8", 17: "utf-16-{}", 18: "utf-32-{}"}
CELL, STRUCT, TEXT, NUMERIC = 1, 2, 4, range(6, 16)
COMPLEX = 0x08
Element = tuple[int, bytes]


def read_arrays(data: bytes) -> dict[str, NDArray[Any] | None]:
    """The variables by name: numbers as an array, None for text, cells and structs.

    Raises:
        ValueError, struct.error, zlib.error, UnicodeError: the file is damaged, or holds what is not read here.
    """
    order = BYTE_ORDERS.get(data[HEADER - 4 : HEADER])
    if order is None or 0 in data[:4]:
        raise ValueError("its header is another one")
    arrays = {}
    for kind, content in _elements(data[HEADER:], order):
        if kind == COMPRESSED:
            inner = list(_elements(_decompressed(content), order))
            _require(len(inner) == 1, "compressed data is not one array")
            ((kind, content),) = inner
        _require(kind == MATRIX and len(content) % 8 == 0, f"unknown data type {kind}")
        name, array = _matrix(content, order, DEEPEST)
        arrays[name] = array
    return arrays


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], maker: str) -> None:
    """Write a file of these arrays, by name; the same ones by the same maker make the same bytes."""
    from scipy.io import savemat  # as long to import as all else that a check of a folder needs

    file = io.BytesIO()
    savemat(file, dict(arrays))  # type: ignore[arg-type]
    # The first 116 bytes are free text, where scipy writes the time.
    path.write_bytes(f"MATLAB 5.0 MAT-file, {maker}".encode().ljust(116) + file.getvalue()[116:])


def _require(sound: bool, fault: str) -> None:
    if not sound:
        raise ValueError(fault)


def _decompressed(content: bytes) -> bytes:
    stream = zlib.decompressobj()
    data = stream.decompress(content, LARGEST)
    _require(stream.eof, "a compressed array is cut off, or too large")
    return data


def _elements(data: bytes, order: str) -> Iterator[Element]:
    """Type and content of each element, as MathWorks' "MAT-File Format" lays them out."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind > 0xFFFF:  # a small element: size and type share four bytes, the content has the other four
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            _require(size <= 4, "a small element is too large")
        else:
            start = at + 8
            end = start + size + (-size % 8 if kind != COMPRESSED else 0)  # all but compressed data is padded
        _require(end <= len(data), "it is cut off")
        yield kind, data[start : start + size]
        at = end


def _matrix(content: bytes, order: str, deepest: int) -> tuple[str, NDArray[Any] | None]:
    """Name and numbers of an array; None for what holds no numbers, once it is found sound."""
    parts = _elements(content, order)
    (flags,) = struct.unpack(f"{order}I4x", _next(parts, UINT32))
    shape = np.frombuffer(_next(parts, INT32), f"{order}i4")
    _require(2 <= len(shape) <= 32 and shape.min() >= 0, f"an array has the dimensions {shape.tolist()[:32]}")
    _require(math.prod(max(1, int(side)) for side in shape) <= LARGEST, "an array is too large")
    name = _next(parts, INT8).decode("latin-1")
    array = None
    match flags & 0xFF:
        case kind if kind in NUMERIC:
            array = _numbers(parts, shape, order, two=bool(flags >> 8 & COMPLEX))
        case kind if kind == TEXT:
            _check_text(parts, math.prod(shape.tolist()), order)
        case kind if kind in (CELL, STRUCT):
            fields = _count_fields(parts, order) if kind == STRUCT else 1
            _require(deepest > 0, "cells are nested too deeply")
            for _ in range(math.prod(shape.tolist()) * fields):
                if inner := _next(parts, MATRIX):
                    _matrix(inner, order, deepest - 1)
        case kind:
            raise ValueError(f"an array is of the class {kind}, neither numbers nor text")
    _require(next(parts, None) is None, "an array is longer than its dimensions")
    return name, array


def _next(parts: Iterator[Element], *kinds: int) -> bytes:
    kind, content = next(parts, (None, b""))
    _require(kind in kinds, f"unknown data type {kind}" if kind is not None else "an array is cut off")
    return content


def _numbers(parts: Iterator[Element], shape: NDArray[Any], order: str, two: bool) -> NDArray[Any]:
    """Of complex numbers the imaginary part follows the real one."""
    halves = []
    for _ in range(2 if two else 1):
        kind, content = next(parts, (0, b""))
        _require(kind in NUMBERS, f"unknown data type {kind}")
        halves.append(np.frombuffer(content, order + NUMBERS[kind]).reshape(shape, order="F"))
    return halves[0] if not two else halves[0] + 1j * halves[1]


def _check_text(parts: Iterator[Element], length: int, order: str) -> None:
    kind, content = next(parts, (0, b""))
    _require(kind in TEXTS, f"unknown data type {kind}")
    if kind == UINT16:  # of which scipy keeps half
        content = np.frombuffer(content, f"{order}u2").astype("u1").tobytes()
    codec = TEXTS[kind].format({"<": "le", ">": "be"}[order])
    _require(not content or len(content.decode(codec)) >= length, "a text is cut off")


def _count_fields(parts: Iterator[Element], order: str) -> int:
    """How many fields each struct of an array has, by the room that their names take."""
    room: int = struct.unpack(f"{order}i", _next(parts, INT32))[0]
    names = _next(parts, INT8)
    _require(room > 0 and b"\0" not in {names[at : at + 1] for at in range(0, len(names), room)}, "a field has no name")
    return len(names) // room

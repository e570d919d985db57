"""Rows of arrays in one file, written block by block and mapped into memory to be read. Runs in: GPU worker.

NumPy's own format (.npy) of structured values: whoever opens it finds each array by its name.
"""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = Mapping[str, NDArray[Any]]
"""Arrays by their names, one element of each for every row."""


def write_table(file: Path, shape: tuple[int, ...], blocks: Iterable[Rows], limit: int) -> None:
    """Write a table of so many rows, which come in blocks, in order.

    Raises OSError, after the first block, for one of more than `limit` bytes, and if it cannot be written.
    """
    with file.open("wb") as out:
        for block in blocks:
            row = np.dtype([(name, array.dtype, array.shape[1:]) for name, array in block.items()])
            if not out.tell():
                _begin(out, row, shape, limit)
            rows = np.empty(len(next(iter(block.values()))), row)
            for name, array in block.items():
                rows[name] = array
            out.write(rows.tobytes())
        out.flush()
        os.fsync(out.fileno())


def _begin(out: Any, row: np.dtype[Any], shape: tuple[int, ...], limit: int) -> None:
    needed = row.itemsize * math.prod(shape)
    if needed > limit:
        raise OSError(f"they take {needed / 1e6:.0f} MB, and there is room for {limit / 1e6:.0f} MB")
    header = {"descr": np.lib.format.dtype_to_descr(row), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(out, header)


def read_table(file: Path) -> NDArray[Any]:
    """A table as it lies on the disk: whoever has opened it can read it after it was forgotten too."""
    table: NDArray[Any] = np.load(file, mmap_mode="r")
    return table

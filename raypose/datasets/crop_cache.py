"""Parts of a data set's images, decoded once for all trainings on a machine. Runs in: GPU worker, its loader processes.

An Arrow file holds them one after the other, and whoever reads it maps it into memory: the system keeps one copy of it
for all processes, and lets go of it when memory is short.
"""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from raypose.datasets.made_once import made_once
from raypose.datasets.photo import Box, CutPhoto, Photo, Picture

PLACE = np.dtype([(name, np.int32) for name in ("height", "width", "shrink", "left", "top", "rows", "columns")])
SCHEMA = pa.schema([("place", pa.binary(PLACE.itemsize)), ("pixels", pa.large_binary())])
AT_ONCE = 64  # images that are decoded before they are written


@dataclass(frozen=True)
class Cut:
    """What of an image is kept: what a box holds, shrunk as far as a crop of this density allows."""

    image: str
    box: Box
    density: float


class CropCache:
    """The parts that a file holds, by their images' paths below `folder`."""

    def __init__(self, file: str | Path, folder: str) -> None:
        self._batches = pa.ipc.open_file(pa.memory_map(str(file)))
        names = json.loads(self._batches.schema.metadata[b"images"])
        self._rows = {os.path.join(folder, name): row for row, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, path: str) -> CutPhoto | None:
        """An image's, if it could be decoded; the pixels stay in the file, and are not to be written to."""
        if path not in self._rows:
            return None
        batch = self._batches.get_batch(self._rows[path])
        if not batch.num_rows:
            return None
        place, pixels = (column.buffers()[-1] for column in batch.columns)  # the values' own, without their lengths
        height, width, shrink, left, top, rows, columns = np.frombuffer(place, PLACE, 1)[0].item()
        part = Picture(np.frombuffer(pixels, np.uint8, rows * columns * 4).reshape(rows, columns, 4), shrink, left, top)
        return CutPhoto(path, (height, width), part)


def build_cache(file: Path, folder: Path, cuts: Sequence[Cut], limit: int, threads: int) -> None:
    """Cut a folder's images into a file, unless it is there, as far as `limit` allows: see `made_once`."""
    made_once(file, limit, lambda staging, room: _write(staging, folder, cuts, room, threads))


def _write(file: Path, folder: Path, cuts: Sequence[Cut], limit: int, threads: int) -> None:
    schema = SCHEMA.with_metadata({"images": json.dumps([cut.image for cut in cuts])})
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_file(out, schema) as writer, ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(cuts), AT_ONCE):
            for photo in pool.map(partial(_cut, folder), cuts[start : start + AT_ONCE]):
                fits = photo is not None and out.tell() + photo.part.pixels.nbytes <= limit
                writer.write_batch(_batch(photo if fits else None, schema))


def _cut(folder: Path, cut: Cut) -> CutPhoto | None:
    """None for an image that cannot be read; who needs it will say so."""
    path = folder / cut.image
    try:
        photo = Photo(path)
        return CutPhoto(path, photo.shape, photo.picture(cut.density, cut.box).cut(cut.box))
    except OSError:
        return None


def _batch(photo: CutPhoto | None, schema: pa.Schema) -> pa.RecordBatch:
    if photo is None:
        return pa.RecordBatch.from_pylist([], schema=schema)
    part = photo.part
    place = np.array((*photo.shape, part.shrink, part.left, part.top, *part.pixels.shape[:2]), PLACE)
    columns = zip((place, part.pixels), schema, strict=True)
    return pa.record_batch([pa.array([array.tobytes()], field.type) for array, field in columns], schema=schema)

"""An image that is decoded once it is known how large it is needed. Runs in: GPU worker, its loader processes."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Matrix = NDArray[np.floating[Any]]

TURNED = 5
"""From this EXIF orientation on, height and width change places."""
REDUCED = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
"""How OpenCV is told to decode an image at a fraction of its size; for JPEG it then computes fewer of its pixels."""


@dataclass(frozen=True)
class Picture:
    """BGR `pixels` of shape (H, W, 3), each the mean of shrink x shrink of the image's, from (left, top) on."""

    pixels: Pixels
    shrink: int = 1
    left: int = 0
    top: int = 0

    def warped(self, matrix: Matrix, size: tuple[int, int]) -> Pixels:
        """What `matrix`, 2x3, from the image's coordinates to those of a crop of `size` (W, H), makes of it."""
        own = matrix.copy()
        offset = (self.shrink - 1) / 2  # between the middle of a pixel here and that of the image's first one in it
        own[:, 2] += matrix[:, :2] @ (self.left + offset, self.top + offset)
        own[:, :2] *= self.shrink
        return np.asarray(cv2.warpAffine(self.pixels, own, size, flags=cv2.INTER_LINEAR), np.uint8)


class Photo:
    """An image file, read but not decoded. Raises OSError for one that is not there or damaged."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.encoded = path, np.fromfile(path, np.uint8)
        with Image.open(io.BytesIO(self.encoded.data)) as header:
            width, height = header.size
            turned = header.getexif().get(0x0112, 1) >= TURNED
        self.shape = (width, height) if turned else (height, width)

    def picture(self, density: float) -> Picture:
        """Its pixels, shrunk as far as a crop allows of whose own each is `density` times as wide."""
        shrink = max(factor for factor in REDUCED if factor <= max(1.0, density))
        pixels = cv2.imdecode(self.encoded, REDUCED[shrink])
        if pixels is None or pixels.shape[:2] != tuple(-(-side // shrink) for side in self.shape):
            raise OSError(f"{self.path}: cannot be decoded")
        return Picture(np.asarray(pixels, np.uint8), shrink)

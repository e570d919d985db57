"""An image that is decoded once it is known how large it is needed. Runs in: GPU worker, its loader processes."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Matrix = NDArray[np.floating[Any]]
Box = tuple[float, float, float, float]

TURNED = 5
"""From this EXIF orientation on, height and width change places."""
REDUCED = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
"""How OpenCV is told to decode a JPEG image at a fraction of its size, for which it computes fewer pixels."""


@dataclass(frozen=True)
class Picture:
    """BGR `pixels` of shape (H, W, 3), each the mean of shrink x shrink of the image's, from (left, top) on.

    With a fourth channel that means nothing they are warped in half the time: a pixel is then read as one number.
    """

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
        warped = cv2.warpAffine(self.pixels, own, size, flags=cv2.INTER_LINEAR)
        return np.asarray(cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR) if warped.shape[2] == 4 else warped, np.uint8)

    def holds(self, box: Box, image: tuple[int, int]) -> bool:
        """Whether all of a box (left, top, right, bottom) is in it that is in the image, of shape (H, W), at all."""
        bottom, right = (side * self.shrink for side in self.pixels.shape[:2])
        return (
            self.left <= max(0, box[0])
            and self.top <= max(0, box[1])
            and self.left + right >= min(image[1], box[2])
            and self.top + bottom >= min(image[0], box[3])
        )

    def cut(self, box: Box) -> "Picture":
        """The part of a whole image's that holds a box, in four channels; its edges lie between its pixels."""
        left, top = (max(0, math.floor(side / self.shrink)) for side in box[:2])
        right, bottom = math.ceil(box[2] / self.shrink), math.ceil(box[3] / self.shrink)
        pixels = np.asarray(cv2.cvtColor(self.pixels[top:bottom, left:right], cv2.COLOR_BGR2BGRA), np.uint8)
        return Picture(pixels, self.shrink, left * self.shrink, top * self.shrink)


class Photo:
    """An image file, read but not decoded. Raises OSError for one that is not there or damaged."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.encoded = path, np.fromfile(path, np.uint8)
        with Image.open(io.BytesIO(self.encoded.data)) as header:
            width, height = header.size
            self.shrinks = header.format == "JPEG"  # others OpenCV decodes whole, and rounds their size as it likes
            turned = header.getexif().get(0x0112, 1) >= TURNED
        self.shape = (width, height) if turned else (height, width)

    def picture(self, density: float, box: Box) -> Picture:
        """Its pixels, shrunk as far as a crop allows of whose own each is `density` times as wide; `box` holds it."""
        shrink = max(factor for factor in REDUCED if factor <= max(1.0, density if self.shrinks else 1.0))
        pixels = cv2.imdecode(self.encoded, REDUCED[shrink])
        if pixels is None or pixels.shape[:2] != tuple(-(-side // shrink) for side in self.shape):
            raise OSError(f"{self.path}: cannot be decoded")
        return Picture(np.asarray(pixels, np.uint8), shrink)


@dataclass(frozen=True)
class CutPhoto:
    """An image of which a part was decoded before, for whoever does with that; `shape` is the whole image's, (H, W)."""

    path: str | Path
    shape: tuple[int, int]
    part: Picture

    def picture(self, density: float, box: Box) -> Picture:
        """The part, if it holds the box, in whatever size it is; else as a Photo's."""
        return self.part if self.part.holds(box, self.shape) else Photo(self.path).picture(density, box)

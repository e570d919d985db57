"""The brush of the demo set: cloth, and rounded shapes that are shaded like solids. Runs in: the CLI process."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from raypose.datasets.figure import Array

Image = NDArray[np.float32]
Rng = np.random.Generator

TILE = 64  # the side of a cloth's repeating pattern in pixels
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 16, False)), np.sin(np.linspace(0, 2 * np.pi, 16, False))], 1)
_SUBPIXEL_BITS = 4

Box = tuple[int, int, int, int]  # x0, y0, x1, y1; the last two lie outside


def color(hue: float, saturation: float, value: float) -> Image:
    """A BGR colour, 0-255; hue in turns, saturation and value 0-1."""
    pixel = np.array([[[hue % 1 * 360, saturation, value]]], np.float32)
    bgr: Image = cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)
    return bgr * np.float32(255)


def random_color(rng: Rng) -> Image:
    """Mostly muted, as clothes and walls are; sometimes loud."""
    return color(rng.random(), rng.beta(1.3, 2.0), rng.uniform(0.12, 1.0))


def plain(tint: Image) -> Image:
    """Cloth of one colour."""
    return np.broadcast_to(tint, (TILE, TILE, 3)).astype(np.float32)


def patterned(rng: Rng, tint: Image, other: Image | None = None) -> Image:
    """Cloth that repeats after `TILE` pixels: plain, stripes, checks, dots or blotches."""
    other = random_color(rng) if other is None else other
    kind = rng.choice(6, p=[0.38, 0.16, 0.1, 0.12, 0.1, 0.14])
    period = int(rng.choice([4, 8, 16]))
    row, column = np.indices((TILE, TILE)) % period
    share = rng.uniform(0.25, 0.6) * period
    mask: NDArray[np.floating] = np.zeros((TILE, TILE))
    if kind == 1:
        mask = 1.0 * (row < share)
    elif kind == 2:
        mask = 1.0 * (column < share)
    elif kind == 3:
        mask = 0.5 * (row < share) + 0.5 * (column < share)
    elif kind == 4:
        mask = 1.0 * (np.hypot(row - period / 2, column - period / 2) < 0.3 * period)
    elif kind == 5:
        smooth = cv2.resize(rng.random((8, 8)), (TILE, TILE), interpolation=cv2.INTER_CUBIC)
        mask = np.clip(smooth * 8 - 3.5, 0, 1)
    weave = rng.normal(1.0, rng.uniform(0.0, 0.1), (TILE, TILE, 1))
    mixed = tint + (other - tint) * mask[..., None]
    return np.clip(mixed * weave, 0, 255).astype(np.float32)


def disc(center: Array, radius: float) -> Array:
    """A circle's outline as 16 points."""
    return center[:2] + _CIRCLE * radius


def ellipse(center: Array, axes: Array) -> Array:
    """The outline of an ellipse with the given half axes, rows of a (2, 2) array, as 16 points."""
    return center[:2] + _CIRCLE @ axes


@dataclass(frozen=True)
class Light:
    """Where the light comes from on the screen, and how strongly a shape's roundness shows: 0 is a flat colour."""

    direction: Array
    strength: float


@dataclass
class Canvas:
    """A picture in the making (H, W, 3), BGR, 0-255, and the light that falls on it."""

    pixels: Image
    light: Light

    def solid(self, outlines: Sequence[Array], cloth: Image, axis: tuple[Array, Array], half_width: float) -> None:
        """Paint the tube through two or more outlines; cloth and shading follow `axis`, first to second point."""
        box = self._box(np.concatenate(outlines))
        if box is None:
            return
        x0, y0, x1, y1 = box
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for one, two in pairwise(outlines):
            hull = cv2.convexHull(np.concatenate([one, two]).astype(np.float32))[:, 0]
            _fill(mask, hull.astype(np.float64) - (x0, y0))
        self._blend(mask, box, self._shaded(box, cloth, axis, half_width))

    def flat(self, outline: Array, tint: Image, opacity: float = 1.0) -> None:
        """Paint one polygon in one colour, without shading."""
        box = self._box(outline)
        if box is None:
            return
        x0, y0, x1, y1 = box
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        _fill(mask, outline - (x0, y0), convex=False)
        self._blend(mask, box, tint, opacity)

    def _box(self, points: Array) -> Box | None:
        height, width = self.pixels.shape[:2]
        x0, y0 = np.maximum(np.floor(points.min(0)).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(points.max(0)).astype(int) + 2, (width, height))
        return (int(x0), int(y0), int(x1), int(y1)) if x0 < x1 and y0 < y1 else None

    def _shaded(self, box: Box, cloth: Image, axis: tuple[Array, Array], half: float) -> Image:
        """The cloth as it lies on a cylinder about `axis`, lit from the side."""
        x0, y0, x1, y1 = box
        start, along = axis[0][:2], axis[1][:2] - axis[0][:2]
        length = float(np.hypot(*along))
        dx, dy = along / length if length > 1e-6 else np.array([0.0, 1.0])
        x = np.arange(x0, x1, dtype=np.float32) - np.float32(start[0])
        y = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(start[1])
        across = y * np.float32(dx) - x * np.float32(dy)
        down = x * np.float32(dx) + y * np.float32(dy)
        surface = cloth[down.astype(np.int32) % TILE, across.astype(np.int32) % TILE]
        if self.light.strength == 0:
            return surface
        side = np.clip(across / np.float32(max(half, 1.0)), -1, 1)
        facing = float(self.light.direction @ np.array([-dy, dx]))
        slope, edge = np.float32(self.light.strength * facing), np.float32(0.45 * self.light.strength)
        brightness = 1 + slope * side - edge * side * side
        return (surface * brightness[..., None]).astype(np.float32, copy=False)

    def _blend(self, mask: NDArray[np.uint8], box: Box, paint: Image, opacity: float = 1.0) -> None:
        x0, y0, x1, y1 = box
        below = self.pixels[y0:y1, x0:x1]
        below += (paint - below) * (mask[..., None] * np.float32(opacity / 255))


def _fill(mask: NDArray[np.uint8], outline: Array, convex: bool = True) -> None:
    points = np.round(outline * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    if convex:
        cv2.fillConvexPoly(mask, points, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    else:
        cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, _SUBPIXEL_BITS)

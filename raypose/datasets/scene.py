"""Where the demo set's people stand: backgrounds, things in front, light, blur and noise. Runs in: the CLI process."""

import cv2
import numpy as np

from raypose.datasets.drawing import Canvas, Image, Light, color, disc, patterned, plain, random_color
from raypose.datasets.figure import Array

Rng = np.random.Generator

SIZE = 256  # the side of a picture in pixels
FLAT = Light(np.array([0.0, -1.0]), 0.0)


def _clouds(rng: Rng, cells: int, strength: float) -> Image:
    """Smooth random colour about zero, (SIZE, SIZE, 3)."""
    coarse = rng.normal(0, strength * 0.35, (cells, cells, 3)).astype(np.float32)
    coarse += rng.normal(0, strength, (cells, cells, 1)).astype(np.float32)
    return cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _gradient(one: Image, other: Image) -> Image:
    t = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None]
    return np.array(np.broadcast_to(one + (other - one) * t, (SIZE, SIZE, 3)), np.float32, order="C")


def backdrop_color(rng: Rng) -> Image:
    """Greys, browns and pale tones, as in streets, rooms and parks."""
    return color(rng.random(), rng.beta(1.2, 4.0), rng.uniform(0.25, 0.98))


def street_background(rng: Rng) -> Image:
    """Sky or wall above ground, grained and cluttered with things that resemble limbs and clothes."""
    pixels = _gradient(backdrop_color(rng), backdrop_color(rng))
    horizon = int(rng.uniform(0.4, 0.95) * SIZE)
    kind = rng.choice(4, p=[0.3, 0.3, 0.2, 0.2])
    if kind == 1:  # a wall of bricks, boards or tiles
        tile = patterned(rng, backdrop_color(rng), backdrop_color(rng))
        zoom = int(rng.choice([1, 2, 3]))
        large = cv2.resize(tile, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
        wall = np.tile(large, (4 // zoom + 1, 4 // zoom + 1, 1))
        pixels[:horizon] = 0.35 * pixels[:horizon] + 0.65 * wall[:horizon, :SIZE]
    pixels[horizon:] = _gradient(backdrop_color(rng), backdrop_color(rng))[horizon:]
    canvas = Canvas(pixels, street_light(rng))
    if kind == 2:
        _windows(rng, canvas, horizon)
    elif kind == 3:
        _leaves(rng, canvas, horizon)
    _clutter(rng, canvas, int(rng.integers(0, 6)))
    pixels += _clouds(rng, 8, rng.uniform(2, 12)) + _clouds(rng, 48, rng.uniform(1, 7))
    if rng.random() < 0.45:  # out of focus
        pixels[:] = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.6, 3.0))
    return pixels


def _windows(rng: Rng, canvas: Canvas, horizon: int) -> None:
    step_x, step_y, tint = int(rng.integers(24, 70)), int(rng.integers(28, 70)), backdrop_color(rng)
    x0, y0 = rng.integers(-20, 10, 2)
    for y in range(int(y0), horizon - step_y // 2, step_y):
        for x in range(int(x0), SIZE, step_x):
            shade = np.float32(rng.uniform(0.6, 1.2))
            corner = (x + step_x * 6 // 10, y + step_y * 6 // 10)
            cv2.rectangle(canvas.pixels, (x, y), corner, (tint * shade).tolist(), -1)


def _leaves(rng: Rng, canvas: Canvas, horizon: int) -> None:
    for _ in range(60):
        center = (int(rng.integers(0, SIZE)), int(rng.integers(-10, horizon + 10)))
        axes = tuple(int(a) for a in rng.integers(3, 22, 2))
        tint = color(rng.uniform(0.15, 0.42), rng.uniform(0.3, 0.8), rng.uniform(0.1, 0.7)).tolist()
        cv2.ellipse(canvas.pixels, center, axes, float(rng.uniform(0, 180)), 0, 360, tint, -1, cv2.LINE_AA)


def _clutter(rng: Rng, canvas: Canvas, count: int) -> None:
    """Posts, pipes, balls and boards: tubes with the colours and shapes of limbs."""
    for _ in range(count):
        start, end = rng.uniform(-20, SIZE + 20, 2), rng.uniform(-20, SIZE + 20, 2)
        end = start + (end - start) * rng.choice([0.03, 0.15, 0.35, 0.8])
        first, last = rng.uniform(2, 18, 2)
        skin = color(rng.uniform(0.02, 0.11), rng.uniform(0.2, 0.6), rng.uniform(0.3, 1))
        cloth = plain(skin) if rng.random() < 0.3 else patterned(rng, random_color(rng))
        canvas.solid([disc(start, first), disc(end, last)], cloth, (start, end), max(first, last))


def street_light(rng: Rng) -> Light:
    """Light from anywhere above, hard or soft."""
    angle = rng.uniform(0, np.pi)
    return Light(np.array([np.cos(angle), -np.sin(angle)]), float(rng.uniform(0.15, 0.55)))


def ground_shadow(rng: Rng, pixels: Image, feet: Array, size: float) -> None:
    """A soft dark patch under the feet (2, 2)."""
    shade = np.ones((SIZE, SIZE), np.float32)
    center = tuple(int(v) for v in feet.mean(0) + [0, size * 0.02])
    axes = (int(np.ptp(feet[:, 0]) / 2 + size * 0.1), int(size * 0.04) + 1)
    cv2.ellipse(shade, center, axes, 0, 0, 360, float(rng.uniform(0.45, 0.85)), -1)
    pixels *= cv2.blur(shade, (9, 9))[..., None]


def occlude(rng: Rng, canvas: Canvas, low: Array, high: Array) -> None:
    """Put a thing in front of a part of the person's box, from `low` to `high` (x, y)."""
    extent = high - low
    cloth = patterned(rng, random_color(rng))
    kind = rng.choice(4)
    if kind == 0:  # a table, wall or counter before the legs
        top = high[1] - extent[1] * rng.uniform(0.08, 0.28)
        left, right = low[0] - rng.uniform(-0.4, 1) * extent[0], high[0] + rng.uniform(-0.4, 1) * extent[0]
        corners = np.array([[left, top], [right, top], [right, SIZE + 5], [left, SIZE + 5]])
        canvas.solid([corners, corners], cloth, (corners[0], corners[3]), (right - left) / 2)
    elif kind == 1:  # a post or a branch
        x = rng.uniform(low[0], high[0])
        start, end = np.array([x, -10.0]), np.array([x + rng.normal(0, 40), SIZE + 10.0])
        radius = rng.uniform(2, 9)
        canvas.solid([disc(start, radius), disc(end, radius)], cloth, (start, end), radius)
    else:  # bags, balls, bushes, animals
        for _ in range(rng.integers(1, 4)):
            center, radius = rng.uniform(low, high), rng.uniform(0.03, 0.1) * extent.max()
            other = center + rng.normal(0, radius, 2)
            outlines = [disc(center, radius), disc(other, radius * rng.uniform(0.5, 1))]
            canvas.solid(outlines, cloth, (center, other), radius)


def develop(rng: Rng, pixels: Image) -> Image:
    """Exposure, colour cast, uneven light, blur and sensor noise, as a cheap camera gives them."""
    gain = np.float32(np.exp(rng.normal(0.08, 0.2)))
    cast = np.exp(rng.normal(0, 0.07, 3)).astype(np.float32)
    pixels = pixels * (gain * cast)
    if rng.random() < 0.5:
        pixels *= _shade(rng)[..., None]
    contrast, offset = rng.uniform(0.75, 1.15), rng.uniform(-12, 25)
    pixels = (pixels - 110) * np.float32(contrast) + np.float32(110 + offset)
    pixels = _blur(rng, pixels)
    pixels += rng.standard_normal((SIZE, SIZE, 1), np.float32) * np.float32(rng.uniform(1, 9))
    return pixels


def _shade(rng: Rng) -> Image:
    """Light that falls off across the picture, or the edge of a shadow."""
    angle = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, SIZE, dtype=np.float32)
    slope = x * np.cos(angle) + x[:, None] * np.sin(angle) + rng.uniform(-0.5, 0.5)
    steepness = rng.choice([0.7, 1.5, 12.0])
    return np.asarray(1 - rng.uniform(0.1, 0.45) / (1 + np.exp(-slope * steepness)), np.float32)


def _blur(rng: Rng, pixels: Image) -> Image:
    kind = rng.choice(4, p=[0.45, 0.25, 0.15, 0.15])
    if kind == 1:
        return cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.5, 1.6)).astype(np.float32)
    if kind == 2:  # a shaken camera
        length, angle = int(rng.integers(3, 8)), rng.uniform(0, np.pi)
        kernel = np.zeros((9, 9), np.float32)
        reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
        start, end = np.round(4 - reach).astype(int), np.round(4 + reach).astype(int)
        cv2.line(kernel, start.tolist(), end.tolist(), 1.0)
        return cv2.filter2D(pixels, -1, kernel / kernel.sum()).astype(np.float32)
    if kind == 3:  # enlarged from few pixels
        small = cv2.resize(pixels, None, fx=(f := rng.uniform(0.4, 0.8)), fy=f, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    return pixels


def sketch_background(rng: Rng) -> Image:
    """One pale colour, a floor, and a few flat shapes."""
    pixels = np.empty((SIZE, SIZE, 3), np.float32)
    pixels[:] = color(rng.random(), rng.uniform(0, 0.25), rng.uniform(0.6, 1))
    pixels[int(rng.uniform(0.5, 1) * SIZE) :] = color(rng.random(), rng.uniform(0, 0.3), rng.uniform(0.4, 0.9))
    canvas = Canvas(pixels, FLAT)
    for _ in range(rng.integers(0, 7)):
        corners = rng.uniform(0, SIZE, 2) + rng.normal(0, 40, (4, 2))
        canvas.flat(corners, color(rng.random(), rng.uniform(0.1, 0.8), rng.uniform(0.4, 1)))
    return pixels

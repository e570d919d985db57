"""Pictures as large and as detailed as MPII's, to measure loaders with. Runs in: command line."""

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from raypose.datasets.mpii import IMAGES, TRAIN

PHOTOS, WIDTH, HEIGHT = 24, 1280, 720  # MPII's, mostly
QUALITY, NOISE = 72, ((8, 60), (32, 40), (128, 22), (640, 4))
"""JPEG quality, and columns and strength of a picture's noises: they make 110 kB of it, as a photo has."""


def paint(folder: Path) -> None:
    """A data set in MPII layout of one person on each of PHOTOS pictures, for training alone."""
    rng, records = np.random.default_rng(0), []
    for part in (IMAGES, Path(TRAIN).parent):
        (folder / part).mkdir(parents=True)
    for number in range(PHOTOS):
        name = f"{number:05d}.jpg"
        cv2.imwrite(str(folder / IMAGES / name), _picture(rng), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        centre, scale = rng.uniform((400, 300), (880, 420)), rng.uniform(2.2, 3.4)
        joints = centre + rng.uniform((-0.2, -0.5), (0.2, 0.5), (16, 2)) * 200 * scale
        record = {"image": name, "center": centre.tolist(), "scale": scale, "joints": joints.tolist()}
        records.append({**record, "joints_vis": [1] * 16})
    (folder / TRAIN).write_text(json.dumps(records))


def _picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    image = np.full((HEIGHT, WIDTH, 3), 120, np.float32)
    for columns, strength in NOISE:
        noise = rng.normal(size=(HEIGHT * columns // WIDTH, columns, 3)).astype(np.float32)
        image += strength * cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)

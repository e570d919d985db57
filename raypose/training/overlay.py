"""Predictions drawn over their photos, beside where the joints are. Runs in: command line.

MMPose's own visualizer draws truth and prediction in the same colours, into two pictures; here a miss is to be seen.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from mmpose.datasets.datasets import MpiiDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from numpy.typing import NDArray

from raypose.datasets.photo import Pixels
from raypose.training.evaluate import ALL_COUNTED
from raypose.training.predictions import HALF_A_HEAD, Predictions

TRUTH, SEEN, MISSED = (90, 230, 90), (0, 165, 255), (50, 50, 255)  # BGR: green, orange, red
LEAST_SIDE = 800  # pixels of the longer side: smaller photos are enlarged, so that the lines hide nothing
QUALITY = 92
SHIFT = 4  # of 1 / 2**4 pixels, to which OpenCV can draw

LINKS: list[tuple[int, int]] = parse_pose_metainfo(MpiiDataset.METAINFO)["skeleton_links"]

Points = NDArray[np.floating]


def draw_predictions(
    predictions: Predictions, folder: Path, interval: int, progress: Callable[[int, int], None]
) -> list[Path]:
    """Draw every `interval`-th image, by their names, with all its people, into a JPEG file of its name each."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    chosen = sorted(set(predictions.images))[::interval]
    for number, image in enumerate(chosen, 1):
        people = [person for person, path in enumerate(predictions.images) if path == image]
        encoded = cv2.imencode(".jpg", _drawn(image, predictions, people), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        files.append(folder / f"{Path(image).stem}.jpg")
        files[-1].write_bytes(encoded.tobytes())
        progress(number, len(chosen))
    return files


def _drawn(image: str, predictions: Predictions, people: Iterable[int]) -> Pixels:
    photo = np.asarray(cv2.imread(image, cv2.IMREAD_COLOR), np.uint8)
    scale = max(1.0, LEAST_SIDE / max(photo.shape[:2]))
    canvas = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)
    width = max(2, round(max(canvas.shape[:2]) / 350))
    near, found, counted = predictions.found(HALF_A_HEAD), 0, 0
    for person in people:
        labelled = predictions.labelled[person]
        truth, seen = (scale * (points[person] + 0.5) - 0.5 for points in (predictions.truth, predictions.seen))
        missed = [joint for joint in ALL_COUNTED if labelled[joint] and not near[person, joint]]
        counted += sum(labelled[joint] for joint in ALL_COUNTED)
        found += sum(near[person, joint] for joint in ALL_COUNTED)
        _skeleton(canvas, truth, labelled, TRUTH, width)
        _skeleton(canvas, seen, np.ones_like(labelled), SEEN, width)
        for joint in missed:
            _line(canvas, seen[joint], truth[joint], MISSED, 1)
            _dot(canvas, seen[joint], MISSED, 2 * width)
    return np.vstack([canvas, _caption(canvas.shape[1], f"{found} of {counted} joints found to half a head")])


def _skeleton(canvas: Pixels, points: Points, shown: NDArray[np.bool_], colour: tuple[int, ...], width: int) -> None:
    for start, end in LINKS:
        if shown[start] and shown[end]:
            _line(canvas, points[start], points[end], (0, 0, 0), width + 2)  # to be seen on any ground
            _line(canvas, points[start], points[end], colour, width)
    for point in points[shown]:
        _dot(canvas, point, colour, round(1.6 * width))


def _line(canvas: Pixels, start: Points, end: Points, colour: tuple[int, ...], width: int) -> None:
    cv2.line(canvas, _fine(start), _fine(end), colour, width, cv2.LINE_AA, SHIFT)


def _dot(canvas: Pixels, point: Points, colour: tuple[int, ...], radius: int) -> None:
    cv2.circle(canvas, _fine(point), radius << SHIFT, (0, 0, 0), 2, cv2.LINE_AA, SHIFT)
    cv2.circle(canvas, _fine(point), radius << SHIFT, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)


def _fine(point: Points) -> tuple[int, int]:
    x, y = (round(float(side) * 2**SHIFT) for side in point)
    return x, y


def _caption(width: int, text: str) -> Pixels:
    """A strip below a picture: what the colours mean, and `text`."""
    strip = np.full((34, width, 3), 24, np.uint8)
    left = 10
    for words, colour in (("truth", TRUTH), ("prediction", SEEN), ("missed", MISSED), (text, (220, 220, 220))):
        cv2.putText(strip, words, (left, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
        left += cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0] + 18
    return strip

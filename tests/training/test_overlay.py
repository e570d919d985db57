"""Predictions over photos: every so many images, truth and prediction in their colours, and what was missed."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from raypose.training.overlay import LEAST_SIDE, LINKS, MISSED, SEEN, TRUTH, draw_predictions
from raypose.training.predictions import Predictions

LARGE = 1600  # pixels: drawn as it is, so that places are those of the photo
ANKLE, WRIST = 0, 10


@pytest.fixture
def predictions(tmp_path: Path) -> Predictions:
    """Two people on the first of three photos; of the second person a wrist is missed, and an ankle has no label."""
    for number in range(3):
        side = LARGE if number < 2 else 100
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((side, side, 3), 128, np.uint8))
    joints = np.stack([80.0 * np.arange(1, 17), 400 + 50.0 * (np.arange(16) % 4)], axis=-1)
    truth = np.stack([joints, joints + [0, 700], joints, joints / 20])
    seen = truth + [0, 20]
    distances = np.full((4, 16), 0.2, np.float32)
    seen[1, WRIST] += [0, 150]
    distances[1, WRIST], distances[1, ANKLE] = 1.7, -1
    images = tuple(str(tmp_path / f"{number}.png") for number in (0, 0, 1, 2))
    return Predictions(images, tuple(range(len(images))), seen, truth, distances)


def colour_at(picture: Path, place: np.ndarray) -> tuple[int, ...]:
    x, y = place.round().astype(int)
    return tuple(cv2.imread(str(picture))[y, x].tolist())


def is_near(colour: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(colour, other, strict=True)) < 40  # JPEG is not exact


def test_each_joint_is_drawn_where_it_is_and_where_it_is_seen(predictions: Predictions, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    files = draw_predictions(predictions, tmp_path / "drawn", 1, lambda done, total: told.append((done, total)))
    assert [file.name for file in files] == ["0.jpg", "1.jpg", "2.jpg"] and told == [(1, 3), (2, 3), (3, 3)]
    for person in (0, 1):
        for joint in {*range(16)} - {WRIST, ANKLE}:
            assert is_near(colour_at(files[0], predictions.truth[person, joint]), TRUTH)
            assert is_near(colour_at(files[0], predictions.seen[person, joint]), SEEN)
    assert is_near(colour_at(files[0], predictions.seen[1, WRIST]), MISSED)
    assert is_near(colour_at(files[0], predictions.seen[0, WRIST]), SEEN)
    assert is_near(colour_at(files[0], predictions.truth[1, ANKLE]), (128, 128, 128)), "it has no label"
    assert is_near(colour_at(files[1], predictions.truth[1, WRIST]), (128, 128, 128)), "of another image"


def test_every_so_many_images_are_drawn_and_small_ones_enlarged(predictions: Predictions, tmp_path: Path) -> None:
    files = draw_predictions(predictions, tmp_path / "drawn", 2, lambda *_: None)
    assert [file.name for file in files] == ["0.jpg", "2.jpg"]
    height, width, _ = cv2.imread(str(files[1])).shape
    assert width == LEAST_SIDE and height > LEAST_SIDE, "a caption is below"


def test_the_skeleton_is_mpiis() -> None:
    assert len(LINKS) == 15 and {joint for link in LINKS for joint in link} == set(range(16))

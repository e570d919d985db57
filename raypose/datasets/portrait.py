"""One person as they are shown: a picture, and the joints on it. Runs in: command line, GPU worker."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Box = tuple[float, float, float, float]

JOINTS = (
    *("right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle"),
    *("pelvis", "thorax", "upper neck", "head top"),
    *("right wrist", "right elbow", "right shoulder", "left shoulder", "left elbow", "left wrist"),
)
LINKS = (
    *((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9)),
    *((8, 12), (12, 11), (11, 10), (8, 13), (13, 14), (14, 15)),
)
# Of Okabe and Ito's palette, which the colour-blind can tell apart; on photos with a dark edge.
LEFT, RIGHT, MIDDLE = "#E69F00", "#56B4E9", "#FFFFFF"
TRUTH, PREDICTION, MISSED = "#56B4E9", "#E69F00", "#FFFFFF"
EDGE, BOX = "#101010", "#F0E442"
RINGS = {"label": "ring: a place, but no label", "truth": "ring: no label", "prediction": "ring: missed"}


@dataclass(frozen=True)
class Pose:
    """A person's 16 joints in pixels of a picture, (0, 0) in the middle of its first one; None has no place.

    A joint is `filled` if it is sure (labelled, or found), else an open ring. Without a colour each side has its own.
    """

    name: str
    joints: tuple[Point | None, ...]
    filled: tuple[bool, ...]
    colour: str | None = None

    @property
    def has_rings(self) -> bool:
        """Is any joint shown as a ring?"""
        return any(place and not filled for place, filled in zip(self.joints, self.filled, strict=True))

    def bones(self) -> Iterator[tuple[Point, Point, str]]:
        """Both ends and the colour of each line of the skeleton."""
        for first, second in LINKS:
            start, end = self.joints[first], self.joints[second]
            if start is not None and end is not None:
                sides = {_side(first), _side(second)} - {MIDDLE}
                yield start, end, self.colour or (sides.pop() if sides else MIDDLE)

    def dots(self) -> Iterator[tuple[int, Point, str, bool]]:
        """Number, place and colour of each joint, and whether it is filled."""
        for number, (joint, filled) in enumerate(zip(self.joints, self.filled, strict=True)):
            if joint is not None:
                yield number, joint, self.colour or _side(number), filled


@dataclass(frozen=True)
class Portrait:
    """A record of an annotation file, counted from 0, as it is shown: `pixels` RGB of shape (H, W, 3), poses above.

    `misses` are lines from where a joint is to where it was taken to be. `text` stands below it, a line each; by its
    `figures` portraits can be sorted.
    """

    image: str
    row: int
    pixels: NDArray[np.uint8]
    poses: tuple[Pose, ...]
    text: tuple[str, ...]
    figures: Mapping[str, float] = field(default_factory=dict)
    box: Box | None = None
    misses: tuple[tuple[Point, Point], ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def legend(poses: Collection[str]) -> tuple[tuple[str, str], ...]:
    """What each colour means, of poses with these names."""
    if "prediction" in poses:
        return ("truth", TRUTH), ("prediction", PREDICTION)
    return ("left", LEFT), ("right", RIGHT), ("middle", MIDDLE)


def _side(joint: int) -> str:
    return {"left": LEFT, "right": RIGHT}.get(JOINTS[joint].split()[0], MIDDLE)

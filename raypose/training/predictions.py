"""Where a model sees people's joints, beside where they are, and how many of them it finds. Runs in: GPU worker.

Also in the command line, for `raypose test`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmpose.evaluation.functional.keypoint_eval import _calc_distances
from numpy.typing import NDArray

HALF_A_HEAD = 0.5


@dataclass(frozen=True)
class Hits:
    """For each image, in order of their names: joints found and joints labelled that a figure counts, of all people.

    PCK and PCK@0.1 are 100 * sum(found) / sum(counted); of a pair of joints MMPose weighs left and right alike.
    """

    names: list[str]
    found: list[int]
    counted: list[int]


@dataclass(frozen=True)
class Predictions:
    """N people's 16 joints: the path of each one's image, and (N, 16, 2) pixels, from 0, where they are seen and are.

    `rows` are the numbers of their records in the annotations.
    `distances`, (N, 16), are between the two, in MPII's head sizes; -1 where there is no label.
    """

    images: tuple[str, ...]
    rows: tuple[int, ...]
    seen: NDArray[np.floating[Any]]
    truth: NDArray[np.floating[Any]]
    distances: NDArray[np.float32]

    @property
    def names(self) -> list[str]:
        """Of each one's image, without the folder."""
        return [Path(image).name for image in self.images]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(N, 16): whether the joint has a label, on a head that has a size."""
        return np.not_equal(self.distances, -1)

    def found(self, threshold: float) -> NDArray[np.bool_]:
        """(N, 16): whether the joint is seen less than `threshold` head sizes off."""
        near = self.distances < np.float64(threshold)  # of a plain float NumPy would make a float32
        return np.logical_and(self.labelled, near)

    def hits(self, joints: Sequence[int], threshold: float) -> Hits:
        """What there is to find of these joints on each image, and what is found."""
        names, owner = np.unique(self.names, return_inverse=True)
        found, counted = (
            np.bincount(owner, chosen[:, list(joints)].sum(axis=1), len(names)).astype(int).tolist()
            for chosen in (self.found(threshold), self.labelled)
        )
        return Hits(names.tolist(), found, counted)


def gathered(results: Sequence[Mapping[str, Any]]) -> Predictions:
    """What MMPose's MpiiPCKAccuracy keeps of each person, with its `image` and `row`; by MMPose's own arithmetic."""
    seen, truth, visible, head = (
        np.concatenate([result[key] for result in results]) for key in ("pred_coords", "gt_coords", "mask", "head_size")
    )
    # MPII counts pixels from 1, and the head sizes are written to.
    distances = _calc_distances(seen + 1.0, truth, visible, head.copy()).T
    images, rows = (tuple(result[key] for result in results) for key in ("image", "row"))
    return Predictions(images, rows, seen, truth - 1, distances)

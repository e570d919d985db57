"""The data set of people as a frozen backbone once saw them: its maps in the place of images. Runs in: GPU worker."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raypose.datasets.table import read_table
from raypose.training.maps import Maps
from raypose.training.people import UNREADABLE, People

TABLE = "maps.npy"
PLAIN, MIRRORED = "plain", "mirrored"
"""The maps in a table, of shape (H, W, C)."""
TRAINING = ("transformed_keypoints", "keypoints_visible")
VALIDATION = ("bbox_center", "bbox_scale", "input_center", "input_scale", "input_size")
"""What of a sample follows from its view, besides the maps; all else is the annotation's."""
NO_IMAGE = np.zeros((1, 1, 3), np.uint8)


class ViewedPeople(People):
    """Batches of people in the views that a `folder` holds, an epoch's one of the views of its stage.

    `stages` are the first epochs of the pipelines and how many views were drawn from each. The pipeline is the end of
    the one that drew them: it makes labels, of a whole batch at once, and packs it.
    """

    def __init__(self, folder: str, stages: Sequence[tuple[int, int]], **settings: Any) -> None:
        super().__init__(**settings)
        self.table, self.stages = read_table(Path(folder) / TABLE), stages
        listed = Path(folder) / UNREADABLE
        lines = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
        self.found_unreadable = [(image, fault) for image, _, fault in (line.partition("\t") for line in lines)]

    def __getitems__(self, rows: list[int]) -> dict[str, Any]:
        """The batch of these people."""
        view = self.table[view_of(self.place[1] if self.place else 0, self.stages)]
        fields = VALIDATION if self.test_mode else TRAINING
        found = {name: view[name][rows] for name in fields}
        pack = self._each if self.test_mode else self._together
        names = [name for name in (PLAIN, MIRRORED) if name in view.dtype.names]
        return {"inputs": Maps(*(_maps(view[name][rows]) for name in names)), "data_samples": pack(rows, found)}

    def _together(self, rows: list[int], found: dict[str, NDArray[Any]]) -> list[Any]:
        """One sample with the labels of all, from which the loss takes what it would join of theirs."""
        people = {name: values[:, 0] for name, values in found.items()}
        weights = self._metainfo["dataset_keypoint_weights"]
        return [self.pipeline({"img": NO_IMAGE, "dataset_keypoint_weights": weights, **people})["data_samples"]]

    def _each(self, rows: list[int], found: dict[str, NDArray[Any]]) -> list[Any]:
        people = [{name: values[at] for name, values in found.items()} for at in range(len(rows))]
        return [
            self.pipeline({**self.get_data_info(row), "img": NO_IMAGE, **person})["data_samples"]
            for row, person in zip(rows, people, strict=True)
        ]


def view_of(epoch: int, stages: Sequence[tuple[int, int]]) -> int:
    """An epoch's view, by its place in the table: those of its stage in turn."""
    at = max(number for number, (first, _) in enumerate(stages) if first <= epoch)
    first, views = stages[at]
    return sum(count for _, count in stages[:at]) + (epoch - first) % views


def _maps(values: NDArray[Any]) -> Tensor:
    """Maps of shape (N, C, H, W) that lie pixel by pixel."""
    return torch.from_numpy(values).permute(0, 3, 1, 2)

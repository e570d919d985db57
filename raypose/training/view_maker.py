"""Runs people through a frozen backbone, in given views, and keeps what comes out in a table. Runs in: GPU worker."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmpose.registry import DATASETS
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from raypose.datasets.table import Rows, write_table
from raypose.space.run import Run
from raypose.training.cache import add_cache
from raypose.training.loader_faults import told_plainly
from raypose.training.memory import batch_of
from raypose.training.people import UNREADABLE, People, Unreadable
from raypose.training.viewed import MIRRORED, PLAIN, TABLE, TRAINING, VALIDATION

LABELLED, PACKED = 2, 1
"""The last steps of a pipeline for training, and of one for validation, which do not look at the image."""


@dataclass(frozen=True)
class Stage:
    """A part of a training with one pipeline: its first epoch, and how many of its epochs' draws are views."""

    first: int
    views: int
    pipeline: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Eyes:
    """A frozen backbone, and in which precision it is used."""

    model: nn.Module
    amp: torch.dtype | None = None

    @torch.no_grad()
    def see(self, images: Tensor) -> NDArray[np.float32]:
        """Maps of shape (N, H, W, C), as the head gets them."""
        model: Any = self.model
        with torch.autocast(next(model.parameters()).device.type, self.amp, enabled=self.amp is not None):
            inputs = model.data_preprocessor({"inputs": images, "data_samples": []})["inputs"]
            maps = model.extract_feat(inputs)[-1]
        return np.asarray(maps.permute(0, 2, 3, 1).float().cpu().numpy())


@told_plainly()
def see_training(eyes: Eyes, config: Config, run: Run, stages: Sequence[Stage], folder: Path, limit: int) -> None:
    """All views of all training people, stage by stage, and the list of the images that could not be read."""
    add_cache(config, run)  # the views are drawn of what it keeps
    people = _people(config.train_dataloader.dataset, stages[0].pipeline[:-LABELLED])
    people.unreadable = Unreadable(run.folder / UNREADABLE, run.bad_images * people.images)

    def blocks() -> Iterator[Rows]:
        for stage in stages:
            people.pipeline = Compose(stage.pipeline[:-LABELLED])
            for epoch in range(stage.first, stage.first + stage.views):
                people.place = (run.seed, epoch)
                yield from _seen(eyes, people, run, TRAINING)

    folder.mkdir()
    write_table(folder / TABLE, (sum(stage.views for stage in stages), len(people)), blocks(), limit)
    if people.unreadable.file.exists():
        shutil.copy(people.unreadable.file, folder / UNREADABLE)


@told_plainly()
def see_validation(eyes: Eyes, config: Config, run: Run, mirrored: bool, folder: Path, limit: int) -> None:
    """All validation people as they are, and mirrored if the flip test asks for it."""
    dataset = config.val_dataloader.dataset
    people = _people(dataset, dataset.pipeline[:-PACKED])
    folder.mkdir()
    write_table(folder / TABLE, (1, len(people)), _seen(eyes, people, run, VALIDATION, mirrored), limit)


def _people(dataset: Mapping[str, Any], pipeline: Sequence[Mapping[str, Any]]) -> People:
    people: People = DATASETS.build({**dataset, "pipeline": [dict(step) for step in pipeline]})
    return people


def _seen(eyes: Eyes, people: People, run: Run, fields: Sequence[str], mirrored: bool = False) -> Iterator[Rows]:
    settings = {"batch_size": batch_of(run), "num_workers": run.loader_workers}
    for images, found in DataLoader(people, collate_fn=partial(_collated, fields), **settings):  # type: ignore[arg-type]
        maps = {PLAIN: images, **({MIRRORED: images.flip(-1)} if mirrored else {})}
        yield {**{name: eyes.see(batch) for name, batch in maps.items()}, **found}


def _collated(fields: Sequence[str], batch: Sequence[Mapping[str, Any]]) -> tuple[Tensor, Rows]:
    images = torch.from_numpy(np.stack([sample["img"] for sample in batch])).permute(0, 3, 1, 2)
    return images, {name: np.stack([np.asarray(sample[name]) for sample in batch]) for name in fields}

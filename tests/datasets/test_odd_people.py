"""People whom the check lets pass, however odd, are trained on and validated without an error."""

import gc
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from raypose.datasets.mpii import TRAIN, VAL, require_sound
from raypose.space.run import Run
from raypose.training.train import train

ODD: list[dict[str, object]] = [
    {"joints_vis": [0] * 16},
    {"joints": [[-1, -1]] * 16, "joints_vis": [0] * 16},
    {"joints": [[-1, -1]] * 15 + [[5, 5]], "joints_vis": [1] * 16},
    {"joints": [[1e6, -1e6]] * 8 + [[1, 1e6]] * 8, "joints_vis": [1] * 16},
    {"joints": [[50, 50]] * 16, "joints_vis": [1] * 16},
    {"joints": [[1e-50, -1]] * 16},
    {"center": [-1e6, -1e6]},
    {"center": [1e6, 1e6], "scale": 0.005},
    {"center": [-1, -1]},
    {"scale": 0.005},
    {"scale": 1e6},
    {"category_id": "x", "iscrowd": 1, "num_keypoints": 0, "bbox": [1], "id": "x", "keypoints": 3, "img_path": "q"},
]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """So small a training is the quickest alone, and in a process that is not searched for garbage."""
    gc.freeze()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_odd_people(tiny_data: Path, tmp_path: Path, one_thread: None) -> None:
    folder = shutil.copytree(tiny_data, tmp_path / "set")
    for name, sound in ((TRAIN, 4), (VAL, 1)):  # of 24 and of eight
        people = json.loads((folder / name).read_text())
        odd = [person | ODD[number % len(ODD)] for number, person in enumerate(people[sound:])]
        (folder / name).write_text(json.dumps(people[:sound] + odd))
    figures: list[float] = []
    run = Run(
        model="rtmpose-n",
        weights="none",
        values={"input_size": "64x64"},
        metric="PCK",
        epochs=1,
        batch_size=4,
        loader_workers=0,
        amp=False,
        seed=0,
        workers=1,
        gpu=False,
        data=folder,
        train_people=require_sound(folder).train_people,
        folder=tmp_path / "trial",
    )
    train(run, lambda metrics, _: bool(figures.extend([metrics["PCK"], metrics["loss"]])))
    assert len(figures) == 2 and all(map(math.isfinite, figures))

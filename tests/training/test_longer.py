"""A training that goes on from an epoch of a shorter one has the longer one's schedule, at the same place."""

import shutil
from collections.abc import Callable
from pathlib import Path

from raypose.record.epochs import read_epochs
from raypose.record.files import read_json
from raypose.space.run import Run
from raypose.training.checkpoint import PLAIN
from raypose.training.lr_curve import lr_curves
from raypose.training.train import train

MakeRun = Callable[..., Run]


def test_the_schedule_of_the_longer_training_at_the_same_epoch(make_run: MakeRun, tmp_path: Path) -> None:
    short, longer = make_run(epochs=1), make_run(epochs=3, folder=tmp_path / "longer")
    train(short, lambda metrics, folder: False)
    shutil.copytree(short.folder, longer.folder)
    assert train(longer, lambda metrics, folder: folder.name == "epoch_0002")
    (curve,) = lr_curves(longer)["curves"]
    first, second = [read_json(epoch.folder / "meta.json") for epoch in read_epochs(longer.folder)]
    assert (first["epoch"], second["epoch"]) == (1, 2)
    state = read_json(longer.folder / "epoch_0002" / PLAIN)
    # What the next step would take, the seventh: as if all six before had been of the longer training.
    assert {group["lr"] for group in state["groups"]} == {curve["lr"][6]}
    assert second["metrics"]["lr"] == curve["lr"][5] != lr_curves(short)["curves"][0]["lr"][2]
    assert "going on after epoch 1" in (longer.folder / "train.log").read_text()

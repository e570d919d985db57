"""How long an epoch takes is measured on a few steps of a real training."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from raypose.datasets.mpii import TRAIN
from raypose.space.run import Run
from raypose.training.pace import pace
from raypose.training.train import train

MakeRun = Callable[..., Run]


def test_a_few_steps_tell_what_an_epoch_takes_and_leave_nothing(make_run: MakeRun) -> None:
    run, threads = make_run({"freeze": "none"}, epochs=2, weights="demo"), torch.get_num_threads()
    found = pace(run, threads)
    assert found and found["device"] == ("GPU" if torch.cuda.is_available() else "CPU")
    assert not run.folder.exists()
    ends: list[float] = []

    def report(*_: object) -> bool:
        ends.append(time.monotonic())
        return False

    train(run, report)
    second = ends[1] - ends[0]
    assert second / 10 < found["epoch_s"] < 10 * second, "checkpoint and noise of tenths of a second are in it"
    twice = pace(make_run({}, train_people=2400), threads)
    assert twice and twice["epoch_s"] > 10 * found["epoch_s"], "it goes by the people"


def test_an_unreadable_image_is_left_out_as_in_a_training(make_run: MakeRun, tmp_path: Path, tiny_data: Path) -> None:
    import json
    import shutil

    data = shutil.copytree(tiny_data, tmp_path / "data")
    image = json.loads((data / TRAIN).read_text())[0]["image"]
    (data / "images" / image).write_bytes(b"no image")
    assert pace(make_run(data=data, bad_images=0.1), torch.get_num_threads())

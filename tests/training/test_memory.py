"""Memory runs out: the batch is split and accumulated, and nothing else of the training changes."""

import dataclasses
import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from mmpose.models import TopdownPoseEstimator
from safetensors.torch import load_file
from torch.optim import AdamW

from raypose.errors import WorkError
from raypose.record.epochs import read_json
from raypose.record.view import RETEST
from raypose.space.run import Run
from raypose.training.checkpoint import PLAIN, TENSORS
from raypose.training.memory import KEPT, batch_of, describe, fitting, split
from raypose.training.train import train

MakeRun = Callable[..., Run]


def models_alive() -> int:
    return sum(type(o) is TopdownPoseEstimator for o in gc.get_objects())


class Device:
    """Memory for `room` people at a time, and what was tried and trained on it."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.batches: list[int] = []
        self.models: list[int] = []
        self.steps = 0

    def take(self, people: int) -> None:
        """A batch comes in."""
        if people not in self.batches:  # the first of an attempt
            self.models.append(models_alive())
        self.batches.append(people)
        if people > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device that holds four people at a time, in validation too."""
    device, loss, step = Device(room=4), TopdownPoseEstimator.loss, AdamW.step
    predict = TopdownPoseEstimator.predict

    def limited(self: Any, inputs: Any, samples: Any) -> Any:
        device.take(len(inputs))
        return loss(self, inputs, samples)

    def validated(self: Any, inputs: Any, samples: Any) -> Any:
        if len(inputs) > device.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(self, inputs, samples)

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        device.steps += 1
        return step(self, *args, **kwargs)

    monkeypatch.setattr(TopdownPoseEstimator, "loss", limited)
    monkeypatch.setattr(TopdownPoseEstimator, "predict", validated)
    monkeypatch.setattr(AdamW, "step", counted)
    return device


class States:
    """A report that remembers each epoch's plain state, and may do something between two epochs."""

    def __init__(self, then: Callable[[int], bool] = lambda epoch: False) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.then = then

    def __call__(self, metrics: Mapping[str, float], folder: Path) -> bool:
        self.epochs.append(read_json(folder / PLAIN))
        return self.then(len(self.epochs))


@contextmanager
def no_collection() -> Iterator[None]:
    """Nothing is freed by chance."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def test_the_effective_batch_and_the_schedule_stay(make_run: MakeRun, device: Device) -> None:
    run, parts = make_run(epochs=2), States()
    with no_collection():
        before = models_alive()
        train(run, parts)
        assert models_alive() == before
    assert device.steps == 6 and device.batches == [8] + [4] * 12
    assert device.models[0] == device.models[1]  # the failed attempt's are gone
    assert read_json(run.folder / KEPT) == {"batch_size": 4, "accumulation": 2}
    log = (run.folder / "train.log").read_text()
    assert "batch 8 does not fit: 4 x 2 accumulated; the effective batch stays 8; BatchNorm sees 4" in log

    device.room, device.steps = 8, 0
    fits, whole = make_run(epochs=2), States()
    train(fits, whole)
    assert device.steps == 6 and device.batches[13:] == [8] * 6
    cosines = [states.epochs[-1]["schedulers"][1] for states in (parts, whole)]
    assert [(cosine["begin"], cosine["end"]) for cosine in cosines] == [(6, 12), (3, 6)]  # batches
    averages = [load_file(r.folder / "epoch_0002" / TENSORS)["ema.steps"] for r in (run, fits)]
    assert averages == [6, 6]
    assert "does not fit" not in (fits.folder / "train.log").read_text()


def test_it_goes_on_from_the_last_epoch_and_starts_small_the_next_time(make_run: MakeRun, device: Device) -> None:
    run, device.room = make_run(epochs=3), 8

    def fill(epoch: int) -> bool:
        device.room = 4
        return epoch == 2

    first, second = States(fill), States()
    train(run, first)
    assert device.batches == [8, 8, 8, 8] + [4] * 6  # the first batch of the second epoch did not fit any more
    assert [epoch["iter"] for epoch in first.epochs] == [3, 12]
    train(run, second)
    assert device.batches[10:] == [4] * 6 and device.steps == 9

    straight = States()
    train(make_run(epochs=3, batch_size=4, accumulation=2), straight)
    assert straight.epochs[1:] == first.epochs[1:] + second.epochs  # learning rates and schedulers too


def test_a_batch_among_the_values(make_run: MakeRun, device: Device) -> None:
    run = make_run({"train_dataloader.batch_size": 6}, batch_size=8, retest=True)
    train(run, States())
    assert device.batches == [6] + [3] * 8 and device.steps == 4
    assert (run.folder / RETEST).is_file()  # in the parts that fit
    assert read_json(run.folder / KEPT) == {"batch_size": 3, "accumulation": 2}


def test_not_even_one_fits(make_run: MakeRun, device: Device) -> None:
    run, device.room = make_run(batch_size=3), 0
    for _ in range(2):
        with pytest.raises(WorkError, match="out of memory with batch 1 at input size 64x64: choose a smaller"):
            train(run, States())
        assert device.batches == [3, 1]
    (run.folder / KEPT).unlink()  # as the message says
    assert fitting(run) is run


def test_other_errors_are_not_taken_for_it(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, inputs: Any, samples: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(TopdownPoseEstimator, "loss", broken)
    run = make_run()
    with pytest.raises(RuntimeError, match="illegal memory access"):
        train(run, States())
    assert not (run.folder / KEPT).exists()


@pytest.mark.parametrize(("batch", "sizes"), [(32, [16, 8, 4, 2, 1, 0]), (45, [15, 5, 1, 0]), (7, [1, 0]), (1, [0])])
def test_only_equal_parts(make_run: MakeRun, batch: int, sizes: list[int]) -> None:
    run = make_run(batch_size=batch, accumulation=2)
    run.folder.mkdir()
    assert fitting(run) is run
    fits = run
    for size in sizes:
        split(fits)
        if size:
            fits = fitting(run)
            assert batch_of(fits) == size and fits.batch_size * fits.accumulation == batch * 2
    with pytest.raises(WorkError):
        fitting(run)


def test_what_the_log_says_of_several_workers(make_run: MakeRun) -> None:
    run = make_run(batch_size=32, workers=4, accumulation=2)
    half = dataclasses.replace(run, batch_size=16, accumulation=4)
    words = "batch 32 does not fit: 16 x 4 accumulated; the effective batch stays 256; BatchNorm sees"
    assert describe(run, half) == f"{words} 16"
    on_gpus = (dataclasses.replace(r, gpu=True) for r in (run, half))
    assert describe(*on_gpus) == f"{words} 64"  # SyncBN

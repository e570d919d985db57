"""The knob `unfreeze.at`: frozen for the first part of the training, learning in the rest, through faults as well."""

import dataclasses
import gc
import multiprocessing
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from mmpose.models import TopdownPoseEstimator
from safetensors.torch import load_file
from torch import Tensor, distributed

from raypose.errors import WorkError
from raypose.record.epochs import read_epochs, read_json
from raypose.space.run import Run
from raypose.training.base import base_config
from raypose.training.checkpoint import PLAIN, TENSORS
from raypose.training.cost import COSTS
from raypose.training.evaluate import RETEST
from raypose.training.freeze import VERDICT
from raypose.training.memory import KEPT
from raypose.training.train import train

MakeRun = Callable[..., Run]
STEM = "backbone.stem."
HALF = {"freeze": "stem", "unfreeze.at": 0.5}


class Killed(BaseException):
    """The process ends here: nothing of it runs any more."""


class Watch:
    """A report that remembers each epoch's state, and ends the training at one."""

    def __init__(self, until: int = 99, kill: bool = False) -> None:
        self.until, self.kill = until, kill
        self.tensors: dict[int, dict[str, Tensor]] = {}
        self.rates: dict[int, dict[str, float]] = {}
        self.metrics: list[dict[str, float]] = []

    def __call__(self, metrics: Mapping[str, float], folder: Path) -> bool:
        epoch, plain = int(folder.name[-4:]), read_json(folder / PLAIN)
        self.tensors[epoch] = load_file(folder / TENSORS)
        (lr,) = {group["lr"] for group in plain["groups"]}  # no knob gives a part of the model another
        self.rates[epoch] = dict.fromkeys(plain["parameters"], lr)
        self.metrics.append({name: figure for name, figure in metrics.items() if name not in COSTS})  # which are timed
        if epoch == self.until and self.kill:
            raise Killed
        return epoch == self.until


def stems(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f"{part}.{STEM}"
    return {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def whole(make_run: MakeRun, start: Path) -> tuple[Run, Watch]:
    """Four epochs without a break, the stem frozen in the first two."""
    run, watch = make_run(HALF, weights=str(start), epochs=4), Watch()
    train(run, watch)
    return run, watch


def test_frozen_until_then_and_learning_after(whole: tuple[Run, Watch], start: Path) -> None:
    run, watch = whole
    loaded = {name: t for name, t in load_file(start).items() if name.startswith(STEM)}
    for epoch in (1, 2):
        for part in ("model", "ema.module"):
            frozen = stems(watch.tensors[epoch], part)
            assert frozen.keys() == loaded.keys() and all(torch.equal(frozen[n], loaded[n]) for n in loaded)
        assert stems(watch.tensors[epoch], "optimizer") == {}
    for epoch in (3, 4):
        for part in ("model", "ema.module"):
            learning = stems(watch.tensors[epoch], part)
            assert [n for n, t in learning.items() if t.is_floating_point() and torch.equal(t, loaded[n])] == []
        assert len(stems(watch.tensors[epoch], "optimizer")) == 3 * 9
    assert [e.number for e in read_epochs(run.folder)] == [1, 2, 3, 4]
    verdict = read_json(run.folder / VERDICT)
    assert (verdict["choice"], verdict["tensors"], verdict["unchanged"]) == ("stem", len(loaded), True)


def test_moments_of_what_learned_before_go_on(whole: tuple[Run, Watch]) -> None:
    tensors = whole[1].tensors[4]
    steps = {name: int(t) for name, t in tensors.items() if name.startswith("optimizer.") and name.endswith(".step")}
    fresh = {name for name in steps if STEM in name}
    assert len(fresh) == 9 and {steps[name] for name in fresh} == {6}
    assert {steps[name] for name in steps.keys() - fresh} == {12}
    assert int(tensors["ema.steps"]) == 12


def test_learning_rates_are_those_of_a_training_without_freezing(
    whole: tuple[Run, Watch], make_run: MakeRun, start: Path
) -> None:
    run, watch = whole
    never = Watch()
    train(make_run({"freeze": "none"}, weights=str(start), epochs=4), never)
    for epoch in (1, 2):
        learning = {name: lr for name, lr in never.rates[epoch].items() if not name.startswith(STEM)}
        assert watch.rates[epoch] == learning
    for epoch in (3, 4):
        assert watch.rates[epoch] == never.rates[epoch]
    assert [m["lr"] for m in watch.metrics] == [m["lr"] for m in never.metrics]


def test_killed_after_any_epoch_it_ends_in_the_same_bits(whole: tuple[Run, Watch], tmp_path: Path) -> None:
    run, watch = whole
    again, metrics = dataclasses.replace(run, folder=tmp_path / "trial"), []
    for until in (1, 2, 3):
        part = Watch(until, kill=True)
        with pytest.raises(Killed):
            train(again, part)
        metrics += part.metrics
        assert (again.folder / VERDICT).exists() == (until == 3)  # the next attempt verifies what this one could not
    last = Watch()
    train(again, last)
    assert metrics + last.metrics == watch.metrics and len(last.metrics) == 1
    one, other = (load_file(r.folder / "epoch_0004" / TENSORS) for r in (run, again))
    assert one.keys() == other.keys() and [n for n in one if not torch.equal(one[n], other[n])] == []
    one, other = (read_json(r.folder / "epoch_0004" / PLAIN) for r in (run, again))
    assert one == other
    assert read_json(again.folder / VERDICT) == read_json(run.folder / VERDICT)


def test_a_stop_at_the_boundary_is_one(make_run: MakeRun, start: Path) -> None:
    run = make_run(HALF, weights=str(start), epochs=2, retest=True)
    train(run, Watch(1))
    assert [e.number for e in read_epochs(run.folder)] == [1] and (run.folder / VERDICT).exists()
    assert not (run.folder / RETEST).exists()
    train(run, Watch(2))  # but one at the very end changes nothing
    assert (run.folder / RETEST).exists()


def test_a_schedule_by_epochs_reaches_what_begins_to_learn(make_run: MakeRun, start: Path, tmp_path: Path) -> None:
    config = base_config("rtmpose-n")
    config.param_scheduler = [{"type": "ExponentialLR", "by_epoch": True, "gamma": 0.5}]
    config.dump(tmp_path / "halves.py")
    watch = Watch()
    train(make_run(HALF, model=str(tmp_path / "halves.py"), weights=str(start), epochs=2, schedule="full"), watch)
    assert set(watch.rates[1].values()) == {2e-3} and len(watch.rates[1]) < len(watch.rates[2])
    assert set(watch.rates[2].values()) == {1e-3}


def rank_of_two(rank: int, run: Run, heard: Connection) -> None:
    """Three attempts, of which each says how it ended; the second worker's memory holds four people at most."""
    os.environ["LOCAL_RANK"] = str(rank)
    os.chdir(run.folder.parent)
    loss, attempt = TopdownPoseEstimator.loss, ""

    def limited(self: Any, inputs: Tensor, samples: Any) -> Any:
        if rank == 1 and len(inputs) > 4:
            raise torch.OutOfMemoryError("not here")
        if rank == 1 and attempt == "drift":
            self.backbone.stem[1].bn.running_mean += 1
        return loss(self, inputs, samples)

    TopdownPoseEstimator.loss = limited
    for attempt in ("first", "second", "drift"):
        if attempt == "drift":
            run = dataclasses.replace(run, folder=Path(f"{run.folder}-again"), batch_size=4, epochs=1)
        group = {"init_method": f"file://{run.folder}-{attempt}", "timeout": timedelta(seconds=200)}
        distributed.init_process_group("gloo", rank=rank, world_size=2, **group)
        try:
            train(run, lambda metrics, folder: False)
            heard.send(attempt)
        except torch.OutOfMemoryError:
            heard.send("out of memory")
        except RuntimeError:
            heard.send("lost the other")
        except WorkError:
            heard.send("moved")
        gc.collect()  # as long as the training's model lives, so does its group
        distributed.destroy_process_group()


def test_two_workers(make_run: MakeRun, start: Path) -> None:
    """The second one's memory does not hold the batch, so that only the next attempt trains all epochs.

    In another training a frozen tensor moves on the second worker: both hear of it.
    """
    run = make_run(HALF, weights=str(start), epochs=2, batch_size=6, workers=2, metric="lr")  # epoch 1 is the best
    fork, ends = multiprocessing.get_context("fork"), [multiprocessing.Pipe(duplex=False) for _ in range(2)]
    ranks = [fork.Process(target=rank_of_two, args=(rank, run, ends[rank][1])) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(250)
    assert [process.exitcode for process in ranks] == [0, 0]
    heard = [[end.recv() for _ in range(3)] for end, _ in ends]
    assert heard == [["lost the other", "second", "moved"], ["out of memory", "second", "moved"]]
    assert not list(run.folder.parent.glob(".dist_test")), "results went through files, which two machines do not share"
    assert read_json(run.folder / KEPT) == {"batch_size": 3, "accumulation": 2}
    log = (run.folder / "train.log").read_text()
    assert "batch 6 does not fit: 3 x 2 accumulated; the effective batch stays 12; BatchNorm sees 3" in log
    loaded, (first, last) = load_file(start), (load_file(e.folder / TENSORS) for e in read_epochs(run.folder))
    assert stems(first, "model").keys() == {name for name in loaded if name.startswith(STEM)}
    for name, tensor in stems(first, "model").items():
        assert torch.equal(tensor, loaded[name])
    assert not torch.equal(last[f"model.{STEM}0.conv.weight"], loaded[f"{STEM}0.conv.weight"])
    assert {int(t) for name, t in last.items() if name.endswith(".step")} == {2, 4}  # 12 people at each of 4 steps

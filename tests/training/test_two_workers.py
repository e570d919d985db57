"""Two workers: a training taken up again, after an epoch or within one, ends in the same bits as an unbroken one."""

import dataclasses
import multiprocessing
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed

from raypose.record.epochs import read_epochs
from raypose.record.files import read_json, write_json
from raypose.space.run import Run
from raypose.training.base import base_config
from raypose.training.checkpoint import PLAIN, TENSORS
from raypose.training.cost import COSTS
from raypose.training.partial import META, PARTIAL, RANKS
from raypose.training.train import train

MakeRun = Callable[..., Run]


def rank_of_two(rank: int, run: Run, until: int, pause_after: int, store: str) -> None:
    os.environ["LOCAL_RANK"] = str(rank)
    distributed.init_process_group("gloo", rank=rank, world_size=2, init_method=f"file://{store}")
    steps = iter(range(1, 100))
    train(
        run,
        lambda metrics, folder: int(folder.name[-4:]) == until,
        lambda: rank == 0 and next(steps) == pause_after,  # as in a lane, where rank 0 alone is asked
    )


def unmeasured(run: Run) -> Run:
    """The run with the model's costs given, as measuring them takes longer than the training."""
    run.folder.mkdir(parents=True)
    write_json(run.folder / "cost.json", dict.fromkeys(COSTS, 1.0))
    return run


def both(run: Run, until: int = 99, pause_after: int = 99) -> None:
    """Train with two new processes, to the end of an epoch, or to a pause after some steps."""
    fork = multiprocessing.get_context("fork")
    store = run.folder.parent / f"{run.folder.name}-{until}-{pause_after}"
    ranks = [fork.Process(target=rank_of_two, args=(rank, run, until, pause_after, str(store))) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0, 0]


@pytest.fixture(scope="module")
def whole(make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six epochs of three steps, without a break; a hook makes means of both workers' statistics after each epoch."""
    config = base_config("rtmpose-n")
    config.custom_hooks.append({"type": "SyncBuffersHook"})
    file = tmp_path_factory.mktemp("config") / "means.py"
    config.dump(file)
    run = unmeasured(make_run(model=str(file), workers=2, batch_size=4, epochs=6))
    both(run)
    return run


@pytest.fixture
def again(whole: Run, tmp_path: Path) -> Run:
    return unmeasured(dataclasses.replace(whole, folder=tmp_path / "trial"))


def figures(run: Run) -> list[Mapping[str, float]]:
    return [epoch.metrics for epoch in read_epochs(run.folder)]


def assert_same_end(run: Run, other: Run) -> None:
    assert figures(run) == figures(other) and len(figures(run)) == 6
    one, two = (r.folder / "epoch_0006" for r in (run, other))
    first, second = (load_file(folder / TENSORS) for folder in (one, two))
    assert [name for name in first.keys() | second.keys() if not torch.equal(first[name], second[name])] == []
    assert read_json(one / PLAIN) == read_json(two / PLAIN)


def test_three_epochs_and_three_in_new_processes(whole: Run, again: Run) -> None:
    both(again, until=3)
    both(again)
    assert_same_end(again, whole)


def test_paused_within_an_epoch(whole: Run, again: Run) -> None:
    both(again, pause_after=5)
    meta, ranks = read_json(again.folder / PARTIAL / META), load_file(again.folder / PARTIAL / RANKS)
    assert (meta["epoch"], meta["step"], meta["batch"]) == (1, 2, [2, 4, 1])
    own = [name.removeprefix("1/") for name in ranks if name.startswith("1/")]
    assert {name.split(".")[0] for name in own if name.endswith("running_mean")} == {"model", "ema"}
    assert "train/loss" in own and not any(name.endswith("batches_tracked") for name in own)
    both(again)
    assert_same_end(again, whole)


def test_on_views_through_a_frozen_backbone(
    make_run: MakeRun, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    viewed = {"cached_views": 2, "cache_bytes": 10**9, "data_digest": "of these data"}
    run = make_run({"freeze": "backbone"}, weights=str(start), workers=2, batch_size=4, epochs=2, **viewed)
    again = unmeasured(dataclasses.replace(run, folder=tmp_path / "trial"))
    both(unmeasured(run))
    both(again, pause_after=4)
    both(again)
    assert figures(run) == figures(again) and [epoch["cached_views"] for epoch in figures(run)] == [2, 2]
    one, two = (load_file(r.folder / "epoch_0002" / TENSORS) for r in (run, again))
    assert [name for name in one if not torch.equal(one[name], two[name])] == []

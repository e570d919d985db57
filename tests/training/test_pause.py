"""A training that is paused after any step, and goes on in another call, ends in the same bits as an unbroken one."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from raypose.record.epochs import read_epochs
from raypose.record.files import read_json, write_json
from raypose.space.run import Run
from raypose.training.checkpoint import PLAIN, TENSORS
from raypose.training.cost import COSTS
from raypose.training.freeze import VERDICT
from raypose.training.partial import META, PARTIAL
from raypose.training.train import train

MakeRun = Callable[..., Run]


@dataclasses.dataclass
class Told:
    """A report that remembers each epoch's metrics, but for the costs, which are timed."""

    metrics: list[dict[str, float]] = dataclasses.field(default_factory=list)

    def __call__(self, metrics: Mapping[str, float], folder: Path) -> bool:
        self.metrics.append({name: figure for name, figure in metrics.items() if name not in COSTS})
        return False


class Asked:
    """Asks for a pause after the given number of steps."""

    def __init__(self, after: int) -> None:
        self.after, self.steps = after, 0

    def __call__(self) -> bool:
        self.steps += 1
        return self.steps == self.after


def unmeasured(run: Run) -> Run:
    """The run with the model's costs given, as measuring them takes longer than the training."""
    run.folder.mkdir(parents=True)
    write_json(run.folder / "cost.json", dict.fromkeys(COSTS, 1.0))
    return run


def elsewhere(run: Run, folder: Path) -> Run:
    """The same run in another folder."""
    return unmeasured(dataclasses.replace(run, folder=folder / "trial"))


def trained(run: Run) -> list[dict[str, float]]:
    told = Told()
    assert train(run, told)
    return told.metrics


def paused_each(run: Run, steps: int) -> tuple[list[dict[str, float]], list[dict[str, Any]]]:
    """Train with a pause after every few steps: all metrics, and what each pause said of itself."""
    told, pauses = Told(), []
    while not train(run, told, Asked(steps)):
        pauses.append(read_json(run.folder / PARTIAL / META))
        assert pauses[-1]["epoch"] == len(told.metrics) == len(read_epochs(run.folder))
    return told.metrics, pauses


def assert_same_end(run: Run, other: Run) -> None:
    one, two = (read_epochs(r.folder)[-1] for r in (run, other))
    assert one.number == two.number == run.epochs
    first, second = (load_file(epoch.folder / TENSORS) for epoch in (one, two))
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert read_json(one.folder / PLAIN) == read_json(two.folder / PLAIN)


@pytest.fixture(scope="module")
def whole(make_run: MakeRun) -> tuple[Run, list[dict[str, float]]]:
    """Four epochs of three steps without a break, the last one of the second pipeline; the first is the best.

    The model draws random numbers too.
    """
    run = unmeasured(make_run({"model.head.gau_cfg.dropout_rate": 0.2}, epochs=4, metric="lr"))
    metrics = trained(run)
    assert "epoch 4: the second training pipeline begins" in (run.folder / "train.log").read_text()
    return run, metrics


def test_paused_after_every_other_step(whole: tuple[Run, list[dict[str, float]]], tmp_path: Path) -> None:
    run, metrics = whole
    again = elsewhere(dataclasses.replace(run, loader_workers=1), tmp_path)  # which load ahead
    told, pauses = paused_each(again, 2)
    places = [(pause["epoch"], pause["step"]) for pause in pauses]
    assert places == [(0, 2), (1, 1), (1, 3), (2, 2), (3, 1), (3, 3)]
    assert all(one["seconds"] < other["seconds"] for one, other in pairwise(pauses) if one["epoch"] == other["epoch"])
    assert told == metrics
    assert_same_end(run, again)
    assert sorted(f.name for f in again.folder.iterdir()) == sorted(f.name for f in run.folder.iterdir())
    log = (again.folder / "train.log").read_text()
    assert "paused in epoch 2 after step 3 of 3" in log and "going on in epoch 2 after step 3" in log
    assert train(again, Told(), lambda: True)  # nothing is left to be paused


def test_accumulated_gradients_are_never_left_over(make_run: MakeRun, tmp_path: Path) -> None:
    run = unmeasured(make_run(batch_size=5, accumulation=2))  # optimizer steps of 10, 10 and 4 people
    metrics, again = trained(run), elsewhere(run, tmp_path)
    told, pauses = paused_each(again, 1)
    assert [p["step"] for p in pauses] == [2, 4, 5]
    assert told == metrics
    assert_same_end(run, again)


def test_across_the_end_of_a_freeze(make_run: MakeRun, start: Path, tmp_path: Path) -> None:
    run = unmeasured(make_run({"freeze": "stem", "unfreeze.at": 0.5}, weights=str(start), epochs=2))
    metrics, again = trained(run), elsewhere(run, tmp_path)
    told, pauses = paused_each(again, 4)
    assert [(p["epoch"], p["step"]) for p in pauses] == [(1, 1)]
    assert told == metrics
    assert_same_end(run, again)
    assert read_json(again.folder / VERDICT) == read_json(run.folder / VERDICT)


def test_on_views_through_a_frozen_backbone(
    make_run: MakeRun, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"freeze": "backbone", "model.head.gau_cfg.dropout_rate": 0.2}
    viewed = {"cached_views": 2, "cache_bytes": 10**9, "data_digest": "of these data"}
    run = unmeasured(make_run(values, weights=str(start), epochs=4, **viewed))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one machine"))
    metrics, again = trained(run), elsewhere(run, tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    told, pauses = paused_each(again, 4)
    assert [(p["epoch"], p["step"]) for p in pauses] == [(1, 1), (2, 2), (3, 3)]
    assert told == metrics and all(epoch["cached_views"] == 2 for epoch in metrics)
    assert_same_end(run, again)


@pytest.fixture(scope="module")
def paused(whole: tuple[Run, list[dict[str, float]]], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Paused in the first epoch."""
    run = elsewhere(whole[0], tmp_path_factory.mktemp("paused"))
    assert not train(run, Told(), Asked(2))
    return run


def damaged(run: Run, whole: Run) -> Run:
    file = run.folder / PARTIAL / TENSORS
    content = bytearray(file.read_bytes())
    content[-2000:-1000] = bytes(255 - byte for byte in content[-2000:-1000])
    file.write_bytes(content)
    return run


def cut(run: Run, whole: Run) -> Run:
    file = run.folder / PARTIAL / META
    file.write_bytes(file.read_bytes()[:100])
    return run


def unfinished(run: Run, whole: Run) -> Run:
    (run.folder / PARTIAL).rename(run.folder / f".{PARTIAL}.tmp")
    return run


def outlived(run: Run, whole: Run) -> Run:
    shutil.copytree(whole.folder / "epoch_0001", run.folder / "epoch_0001")
    return run


def split(run: Run, whole: Run) -> Run:
    return dataclasses.replace(run, batch_size=4, accumulation=1)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (damaged, "epoch 1 begins anew; what was saved of a paused epoch is not used: it is damaged"),
        (cut, "it is damaged"),
        (unfinished, None),
        (outlived, "epoch 2 begins anew; what was saved of a paused epoch is not used: it is of epoch 1"),
        (
            split,
            "steps are of 1 workers x 8 people x 1 accumulated, and now of 1 workers x 4 people x 1 accumulated",
        ),
    ],
)
def test_what_does_not_fit_is_not_used(
    paused: Run,
    whole: tuple[Run, list[dict[str, float]]],
    tmp_path: Path,
    fault: Callable[[Run, Run], Run],
    reason: str | None,
) -> None:
    copied = dataclasses.replace(paused, folder=shutil.copytree(paused.folder, tmp_path / "trial"))
    run = fault(copied, whole[0])
    assert not train(run, Told(), Asked(1))
    log = (run.folder / "train.log").read_text()
    assert log.count("begins anew") == (reason is not None) and (reason or "") in log
    assert read_json(run.folder / PARTIAL / META)["step"] == 1
    assert not (run.folder / f".{PARTIAL}.tmp").exists()

"""Killed at any change it makes, as often as one likes, an experiment ends as if nothing had happened."""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from raypose.record.folder import ExperimentFolder
from raypose.record.study import read_view
from raypose.tracking.client import connect
from raypose.tracking.store import open_store
from tests.chaos.simulation import FEW, drive, killed, left_over, make, story, violations

EXPERIMENTS, LONGEST = 8, 60


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder in memory where there is one: a killed process needs no disk, and a flush costs nothing there."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def unbroken(place: Path) -> list[tuple[object, ...]]:
    """How the experiment ends when nobody disturbs it."""
    return undisturbed(make(place / "unbroken"))


def undisturbed(folder: ExperimentFolder) -> list[tuple[object, ...]]:
    """How an experiment ends when nobody disturbs it."""
    assert killed(lambda: drive(folder, None), None) == 0
    return story(read_view(folder))


def kill_until_it_ends(folder: ExperimentFolder, seed: int, longest: int, with_mlflow: bool) -> int:
    """Kill and restore at random changes until one run comes through; how many kills that took."""
    draw, kills = random.Random(seed), 0
    store = open_store(folder.mlruns) if with_mlflow else None
    if store:  # made beforehand: its making, which takes longest, has tests of its own
        killed(lambda: connect(store) and None, None)
    while (code := killed(lambda: drive(folder, store), draw.randint(1, longest))) is None:
        kills += 1
        longest += longest // 10  # or it might never get through its first steps
        assert violations(folder) == []
    assert code == 0
    return kills


def check(place: Path, seeds: range, with_mlflow: bool, unbroken: list[tuple[object, ...]]) -> list[int]:
    """The kills of each seed's experiment, once all have ended as if nothing had happened."""
    kills = []
    for seed in seeds:
        root = place / f"{seed}-{with_mlflow}"
        folder = make(root)
        kills.append(kill_until_it_ends(folder, seed, LONGEST, with_mlflow))
        view = read_view(folder)
        assert story(view) == unbroken and view.state == "finished", seed
        assert left_over(folder) == [], seed
        if with_mlflow:
            assert mirrored(root) == {trial.number: len(trial.epochs) for trial in view.trials}, seed
    return kills


def mirrored(root: Path) -> dict[int, int]:
    """Of each trial's run in MLflow the number of its epochs' figures; fails if a trial has two runs."""
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'exp'")
    runs = client.search_runs([experiment.experiment_id])
    trials = {
        run.info.run_id: run.data.tags["raypose.trial"].split("/")[1]
        for run in runs
        if "raypose.trial" in run.data.tags
    }
    assert len(runs) == len(trials) + 1 and len(set(trials.values())) == len(trials)
    assert not [run for run in runs if run.info.status == "RUNNING"]
    return {int(number): len(client.get_metric_history(run, "PCK")) for run, number in trials.items()}


def test_killed_a_hundred_times_they_end_as_if_nothing_had_happened(
    place: Path, unbroken: list[tuple[object, ...]]
) -> None:
    assert sum(check(place, range(8), False, unbroken)) >= 100


def test_killed_while_points_are_drawn_again_they_end_with_the_same(place: Path) -> None:
    unbroken = undisturbed(make(place / "few-unbroken", FEW))
    assert len({str(trial[2]) for trial in unbroken}) == len(unbroken) == 6
    folder = make(place / "few", FEW)
    assert kill_until_it_ends(folder, 0, LONGEST, with_mlflow=False) >= 10
    view = read_view(folder)
    assert story(view) == unbroken and (view.state, view.total) == ("finished", 6)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(20))
def test_killed_with_their_mirror(place: Path, unbroken: list[tuple[object, ...]], seed: int) -> None:
    assert sum(check(place, range(seed, seed + 1), True, unbroken)) >= 10

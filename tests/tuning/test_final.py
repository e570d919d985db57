"""A search and its final, stopped, killed and restored: a winner over seeds, tested once on images no trial saw."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from raypose.datasets.mpii import VAL, Report
from raypose.datasets.split import split_rows
from raypose.record.folder import create_experiment
from raypose.record.study import Study
from raypose.space.load import parse_spec
from raypose.space.trial import Trial
from raypose.tuning.cluster import Capacity
from raypose.tuning.final import on_test_data, open_final
from raypose.tuning.prepare import run_of
from tests.home import START_S, Home
from tests.tuning.conftest import EPOCHS, HELD_OUT, LONG, SEED, Disturbed, inodes

pytestmark = LONG


def test_stopped_and_killed_and_restored_it_ends_like_any_other(disturbed: Disturbed) -> None:
    assert "raypose restore exp" in disturbed.home.output()
    assert disturbed.stopped["state"] == disturbed.killed["state"] == "interrupted"
    view, epochs = disturbed.view, list(range(1, EPOCHS + 1))
    final = view["final"]["trials"]
    assert view["state"] == view["final"]["state"] == "finished"
    assert [t["values"]["lr"] for t in view["trials"][:2]] == [4.0e-3, 2.0e-3]
    assert inodes(list(disturbed.committed)) == disturbed.committed, "a committed epoch was trained again"
    for trial in (*view["trials"], *final):
        numbers = [epoch["number"] for epoch in trial["epochs"]]
        assert trial["state"] == "complete" and numbers == epochs or trial["stopped"] and numbers == epochs[:2]
        assert trial["best"] == max(epoch["metrics"]["PCK"] for epoch in trial["epochs"])
        assert Path(trial["checkpoint"], "weights.pth").is_file()
    assert not any(trial["stopped"] for trial in final)


def test_the_winner_is_named_over_seeds_and_tested_once_on_images_that_no_trial_saw(
    disturbed: Disturbed, tiny_data: Path
) -> None:
    home, view = disturbed.home, disturbed.view
    assert_each_seed_was_tested_anew(view["final"]["verdict"], view["final"]["trials"])
    assert_no_trial_saw_the_test_images(tiny_data, view["final"]["trials"])
    assert "Best: trial" in home.output() and "on test data that no trial saw" in home.output()
    assert_mirrored(home, view)
    verdict_file = disturbed.repetitions.parent / "verdict.json"
    inode = verdict_file.stat().st_ino
    assert home.start("restore", "exp").wait(START_S) == 0
    assert verdict_file.stat().st_ino == inode, "tested a second time"


def assert_each_seed_was_tested_anew(verdict: dict[str, Any], final: list[dict[str, Any]]) -> None:
    ranked = {r["trial"]: r for r in verdict["ranking"]}
    assert 0 in ranked and len(final) == 2 * len(ranked) and all(len(r["figures"]) == 2 for r in ranked.values())
    assert {t["seed"] for t in final} == {SEED + 1, SEED + 2}
    for trial in final:
        retest = json.loads(Path(trial["folder"], "retest.json").read_text())
        assert retest["metrics"]["PCK"] == trial["retested"]
        assert sum(retest["images"]["counted"]) > 0 and trial["best"] is not None
    assert Path(verdict["checkpoint"], "weights.pth").is_file()
    assert len(verdict["test"]["interval"]) == 2
    assert ("gain" in verdict["test"]) == ("gain" in verdict) == (verdict["trial"] != 0)


def assert_no_trial_saw_the_test_images(data: Path, final: list[dict[str, Any]]) -> None:
    people = json.loads((data / VAL).read_text())
    held_out = {people[row]["image"] for row in split_rows(data / VAL, HELD_OUT, "test")}
    assert 0 < len(held_out) < len({person["image"] for person in people})
    for trial in final:
        seen = json.loads(Path(trial["folder"], "retest.json").read_text())["images"]["names"]
        assert seen and not held_out & set(seen)


def assert_mirrored(home: Home, view: dict[str, Any]) -> None:
    """MLflow has one run a trial, and every epoch of it once, of the search and of its final."""
    client = MlflowClient(f"sqlite:///{home.path / 'mlruns' / 'mlflow.db'}")
    for name, each in (("exp", view), ("exp/final", view["final"])):
        experiment = client.get_experiment_by_name(name)
        assert experiment is not None
        runs = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}
        (parent,) = [run for run in runs.values() if "mlflow.parentRunId" not in run.data.tags]
        assert parent.info.status == "FINISHED" and len(runs) == len(each["trials"]) + 1
        assert parent.data.metrics["winner_mean"] == view["final"]["verdict"]["mean"]
        for trial in each["trials"]:
            run = runs[trial["run_id"]]
            assert run.info.status == "FINISHED" and float(run.data.params["lr"]) == trial["values"]["lr"]
            assert run.data.metrics["best_PCK"] == trial["best"]
            assert run.data.metrics.get("retested_PCK") == trial["retested"]
            points = client.get_metric_history(run.info.run_id, "PCK")
            told = [(epoch["number"], epoch["metrics"]["PCK"]) for epoch in trial["epochs"]]
            assert sorted((point.step, point.value) for point in points) == told


def queued(root: Path, **changes: Any) -> Study:
    """A search whose trials wait, of a base config that trains for 420 epochs."""
    spec = {"space": {"lr": {"choice": [1]}}, "final": {"seeds": 2}, **changes}
    experiment = parse_spec(spec).model_dump(mode="json")
    saved = {"uid": "a1b2", "experiment": experiment, "base_values": {"lr": 4e-3}, "full_epochs": 420}
    study = Study(saved, create_experiment(root, None, "exp", saved))
    study.fill_queue()
    return study


@pytest.mark.parametrize(("schedule", "epochs"), [("full", 420), ("compressed", 2)])
def test_the_repetitions_run_to_the_end_of_their_schedule(tmp_path: Path, schedule: str, epochs: int) -> None:
    search = queued(tmp_path, train={"epochs": 2, "schedule": schedule})
    final = open_final(search)
    assert final.experiment.train.epochs == epochs and final.total == 2
    spec = final.folder.path / "spec.json"
    inode = spec.stat().st_ino
    assert open_final(search).experiment == final.experiment and spec.stat().st_ino == inode


@pytest.mark.parametrize(
    ("test", "expected"), [("/unseen", (Path("/unseen"), 0.0, "val")), (0.4, (Path("/seen"), 0.4, "test"))]
)
def test_test_data_are_a_folder_or_a_share_of_the_validation_images(
    tmp_path: Path, test: str | float, expected: tuple[Path, float, str]
) -> None:
    report = Report(Path("/seen"), 24, 8, 24, 8, 500, "digest", ())
    winner = {"trial": 3, "values": {"lr": 0.5}, "checkpoint": "/there"}
    run, part = on_test_data(open_final(queued(tmp_path, test=test)), winner, report, Capacity(2, 2, 1, 0.0))
    assert (run.data, run.held_out, part) == expected
    assert (run.weights, run.values, run.workers) == ("/there/weights.pth", {"lr": 0.5}, 1)


def test_the_repetitions_draw_anew_in_every_epoch(tmp_path: Path) -> None:
    search = queued(tmp_path, train={"cached_views": 2})
    report = Report(Path("/seen"), 24, 8, 24, 8, 500, "digest", ())
    runs = [
        run_of(study.experiment, Trial(0, {}), report, Capacity(2, 1, 1, 0.0), study.folder)
        for study in (search, open_final(search))
    ]
    assert [run.cached_views for run in runs] == [2, 0]

"""Whole experiments as a user runs them: real Ray, real trainings on a tiny set, real MLflow, and real kills."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

START_S = 240


def workers() -> set[int]:
    """Process ids of all Ray Train workers on this machine."""
    found = subprocess.run(["pgrep", "-f", "ray::RayTrainWorker"], capture_output=True, text=True, check=False)
    return {int(pid) for pid in found.stdout.split()}


def test_stopped_and_killed_and_restored_it_ends_like_any_other(home: Any) -> None:
    driver = home.tune("--trials", "3", "--epochs", "3")
    home.wait_for(lambda: len(home.epochs()) >= 1, driver)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(60) == 143
    assert "raypose restore exp" in home.output()
    stopped = home.show()
    assert stopped["state"] == "interrupted"

    driver = home.start("restore", "exp")
    before = len(home.epochs())
    home.wait_for(lambda: len(home.epochs()) >= before + 2, driver)
    driver.kill()
    driver.wait()
    committed = {path: path.stat().st_ino for path in home.epochs()}
    killed = home.show()

    restored = home.start("restore", "exp")
    assert restored.wait(START_S * 2) == 0, home.output()
    view = home.show()
    assert view["state"] == "finished" and len(view["trials"]) == 3
    for trial in view["trials"]:
        assert trial["state"] == "complete"
        assert [epoch["number"] for epoch in trial["epochs"]] == [1, 2, 3]
        assert trial["best"] == max(epoch["metrics"]["PCK"] for epoch in trial["epochs"])
        assert Path(trial["checkpoint"], "weights.pth").is_file()
    assert all(path.stat().st_ino == inode for path, inode in committed.items()), "a committed epoch was trained again"
    for earlier, later in zip(killed["trials"], view["trials"], strict=False):
        assert earlier["values"] in ({}, later["values"])
    assert_mirrored(home.path / "mlruns" / "mlflow.db", view)
    assert "exp" in home.output() and "Best: trial" in home.output()


def assert_mirrored(database: Path, view: dict[str, Any]) -> None:
    """MLflow has one run a trial, and every epoch of it once."""
    client = MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("exp")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    children = {run.info.run_id: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert len(runs) == len(children) + 1 and len(children) == len(view["trials"])
    for trial in view["trials"]:
        run = children[trial["run_id"]]
        assert run.info.status == "FINISHED" and float(run.data.params["lr"]) == trial["values"]["lr"]
        assert run.data.metrics["best_PCK"] == trial["best"]
        points = client.get_metric_history(run.info.run_id, "PCK")
        assert [(p.step, p.value) for p in sorted(points, key=lambda p: p.step)] == [
            (epoch["number"], epoch["metrics"]["PCK"]) for epoch in trial["epochs"]
        ]


def test_one_of_two_workers_killed_the_trial_goes_on_from_its_last_epoch(home: Any) -> None:
    others = workers()
    driver = home.tune("--trials", "1", "--epochs", "4", "--set", "resources.workers=2")
    home.wait_for(lambda: len(home.epochs()) >= 2, driver)
    inodes = {path: path.stat().st_ino for path in home.epochs()[:2]}
    os.kill(max(workers() - others), signal.SIGKILL)
    assert driver.wait(START_S) == 0, home.output()
    (trial,) = home.show()["trials"]
    assert trial["state"] == "complete" and trial["attempts"] == 2
    assert [epoch["number"] for epoch in trial["epochs"]] == [1, 2, 3, 4]
    assert all(path.stat().st_ino == inode for path, inode in inodes.items())


def test_failing_trials_and_too_large_wishes(home: Any) -> None:
    driver = home.tune("--trials", "2", "--epochs", "1", "--set", "space={lr: {choice: [1.0e+9]}}")
    assert driver.wait(START_S) in (0, 1)
    base, wild = home.show()["trials"]
    assert base["state"] == "complete"
    assert wild["state"] == "failed" and "DivergedError" in wild["error"]
    driver = home.start("tune", "lr.yaml", "--data", str(home.data), "--set", "resources.workers=900")
    assert driver.wait(START_S) == 2
    assert "a trial needs 900 CPUs" in home.output()
    assert [f.name for f in (home.path / "mlruns" / "experiments").iterdir()] == ["exp"]

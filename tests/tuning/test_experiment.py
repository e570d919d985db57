"""Whole experiments as a user runs them: real Ray, real trainings on a tiny set, real MLflow, and real kills."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from raypose.cli.options import load_experiment
from raypose.datasets.demo import render_demo
from raypose.datasets.mpii import TRAIN, require_sound
from raypose.errors import DataError, ResourceError, SpecError
from raypose.record.epochs import commit_epoch, staging_folder
from raypose.record.folder import ExperimentFolder, create_experiment
from raypose.record.study import Study
from raypose.record.view import PAGE, ExperimentView
from raypose.space.load import parse_spec
from raypose.tuning.experiment import resume, start
from raypose.tuning.prepare import freeze_choices, prepare_data
from tests.home import START_S, Home


def test_one_of_two_workers_killed_the_trial_goes_on_from_its_last_epoch(home: Home) -> None:
    killed = home.fault("kill", "open", "/images/", nth=3 * (12 + 4), env={"RANK": "1"})  # in its third epoch
    driver = home.tune("--trials", "1", "--epochs", "4", "--set", "resources.workers=2")
    home.wait_for(killed.exists, driver)
    inodes = {path: path.stat().st_ino for path in home.epochs()[:2]}
    assert driver.wait(START_S * 2) == 0, home.output()
    (trial,) = home.show()["trials"]
    assert trial["state"] == "complete" and trial["attempts"] == 2
    assert [epoch["number"] for epoch in trial["epochs"]] == [1, 2, 3, 4]
    assert len(inodes) == 2 and all(path.stat().st_ino == inode for path, inode in inodes.items())


def evaluated(home: Any, *settings: str) -> ExperimentFolder:
    """The experiment `earlier`, as if its two trials had been trained: never beaten in PCK, always in latency."""
    spec, options = home.path / "lr.yaml", {"data": str(home.data), "trials": 2, "epochs": 1}
    experiment = load_experiment(spec, settings=list(settings), **options).model_dump(mode="json")
    data = {"folder": str(home.data), "digest": require_sound(home.data).digest}
    saved = {"uid": "a1b2", "experiment": experiment, "base_values": {"lr": 4e-3}, "data": data}
    folder = create_experiment(home.path / "mlruns", "earlier", "", saved)
    evaluate(Study(saved, folder))
    return folder


def evaluate(study: Study) -> None:
    """All trials to their ends, as if each had been trained for an epoch."""
    study.fill_queue()
    while (trial := study.next_trial()) is not None:
        staging = staging_folder(study.folder.trial(trial.number), 1)
        (staging / "weights.pth").write_bytes(b"tensors")
        commit_epoch(staging, 1, {"PCK": 100.0, "latency_ms": 1e9}, 1.0)
        study.finish(trial.number)


def test_failing_trials_beside_a_trial_taken_over(home: Home) -> None:
    unseen = home.path / "unseen"
    render_demo(unseen, train=4, val=2)
    rules = ("space={lr: {choice: [1.0e+9, 2.0e+9]}}", "metric=[PCK, latency_ms]", "mode=[max, min]")
    earlier = evaluated(home, *rules, f"test={unseen}")
    options = (*(f"--set={rule}" for rule in (*rules, "test=unseen", "search.seed=3")), "--from", "earlier")
    driver = home.tune("--trials", "2", "--epochs", "1", *options)
    assert driver.wait(START_S) in (0, 1)
    shutil.rmtree(earlier.path)
    view = home.show()
    base, taken, wild = view["trials"]
    assert base["state"] == taken["state"] == "complete"
    assert wild["state"] == "failed" and "DivergedError" in wild["error"]
    assert (taken["source"], taken["seed"], taken["best"], base["seed"]) == ("earlier/1", 0, 100.0, 3)
    assert view["front"] == [0, 1] and "Pareto front of high PCK and low latency_ms: 2 of 3" in home.output()
    saved = json.loads((home.path / "mlruns" / "experiments" / "exp" / "spec.json").read_text())
    assert saved["experiment"]["test"] == saved["test"]["folder"] == str(unseen)
    assert saved["test"]["digest"] == require_sound(unseen).digest
    assert saved["environment"]["torch"] and saved["environment"]["cpus"]
    page = (home.path / "mlruns" / "experiments" / "exp" / "report.html").read_text()
    assert "raypose train --trial exp/0" in page and "DivergedError" in page
    (kept,) = (home.path / "mlruns" / "artifacts").rglob("report.html")
    assert kept.read_text() == page


class Silent:
    """A screen that nobody looks at."""

    def say(self, text: str) -> None: ...
    def progress(self, done: int, total: int) -> None: ...
    def show(self, view: ExperimentView) -> None: ...


class Telling(Silent):
    """A screen that keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_wishes_that_no_machine_fulfils_are_refused_and_leave_nothing(home: Home) -> None:
    options = {"settings": ["resources.workers=900"], "data": str(home.data)}
    experiment = load_experiment(home.path / "lr.yaml", **options)
    with pytest.raises(ResourceError, match="a trial needs 900 CPUs") as refused:
        start(experiment, "lr", home.path / "mlruns", None, None, None, Silent())
    assert refused.value.exit_code == 2 and [file.name for file in home.path.iterdir()] == ["lr.yaml"]


def test_a_report_that_cannot_be_written_harms_nothing_and_is_written_later(tiny_data: Path, tmp_path: Path) -> None:
    report, space = require_sound(tiny_data), {"lr": {"choice": [1.0e-3]}}
    spec = {"space": space, "search": {"trials": 1}, "train": {"epochs": 1}, "data": str(tiny_data)}
    data = {"folder": str(report.folder), "digest": report.digest, "parts": dict(report.parts)}
    experiment = parse_spec(spec).model_dump(mode="json")
    saved = {"uid": "a1b2", "experiment": experiment, "base_values": {"lr": 4e-3}, "data": data}
    folder = create_experiment(tmp_path, "exp", "", saved)
    evaluate(Study(saved, folder))
    page, screen = folder.path / PAGE, Telling()
    page.mkdir()  # nothing can be written there
    assert resume(folder, None, screen).state == "finished"
    assert any(line.startswith("there is no report (IsADirectoryError") for line in screen.said), screen.said
    assert not any("MLflow is not complete" in line for line in screen.said), screen.said
    page.rmdir()
    assert resume(folder, None, screen).trials[0].run_id
    (kept,) = (tmp_path / "artifacts").rglob(PAGE)
    assert kept.read_bytes() == page.read_bytes()


def test_the_data_are_no_test_data(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tiny_data)
    copy = shutil.copytree(tiny_data, tmp_path / "copy")
    for data, test in ((tiny_data, tiny_data), (tiny_data, tmp_path / "link"), (tiny_data, copy), ("demo", tiny_data)):
        experiment = parse_spec({"space": {"lr": {"choice": [1]}}, "data": str(data), "test": str(test)})
        with pytest.raises(SpecError, match=f"test: {test} holds the data that trials are .* name another folder"):
            prepare_data(experiment, tiny_data, Silent())


def test_test_data_that_changed_since_the_search_began_are_refused(tiny_data: Path, tmp_path: Path) -> None:
    unseen = tmp_path / "unseen"
    render_demo(unseen, train=4, val=2)
    experiment = parse_spec({"space": {"lr": {"choice": [1]}}, "data": str(tiny_data), "test": str(unseen)})
    folders = {"data": tiny_data, "test": unseen}
    facts = {key: {"folder": str(f), "parts": dict(require_sound(f).parts)} for key, f in folders.items()}
    saved = {"uid": "a1b2", "experiment": experiment.model_dump(mode="json"), "base_values": {"lr": 4e-3}, **facts}
    folder = create_experiment(tmp_path, "exp", "", saved)
    people = json.loads((unseen / TRAIN).read_text())
    (unseen / TRAIN).write_text(json.dumps(people[1:]))
    with pytest.raises(DataError, match=f"test: {unseen} no longer .* began with: {TRAIN}.* changed; put it back"):
        resume(folder, None, Silent())


def test_a_folder_of_test_data_is_found_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lr.yaml").write_text("space: {lr: {choice: [1]}}")
    monkeypatch.chdir(tmp_path)
    found = [load_experiment(Path("lr.yaml"), settings=[f"test={test}"]).test for test in ("unseen", "0.2", "null")]
    assert found == [str(tmp_path / "unseen"), 0.2, None]


def test_the_freeze_sets_of_starting_points_are_examined_too() -> None:
    start = [{"freeze": ["stem", "norms"]}, {"freeze": "none"}, {"lr": 1.0}]
    space = {"freeze": {"choice": ["none", "stem"]}, "lr": {"choice": [1]}}
    assert freeze_choices(parse_spec({"space": space, "search": {"start": start}})) == ["none", "stem", "stem+norms"]

"""Budgets of time: no more trials begin when one is spent, a restore does not begin any, and an extension goes on."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from raypose.display.budget import budget_line, seconds_left
from raypose.display.tables import summary
from raypose.errors import ExperimentError, InputError, SpecError
from raypose.record.epochs import read_epochs
from raypose.record.extend import extend
from raypose.record.files import write_json
from raypose.record.folder import ExperimentFolder, create_final
from raypose.record.mend import mended
from raypose.record.spent import SPENT, Meter
from raypose.record.study import Study, read_view
from raypose.space.load import parse_spec
from raypose.space.trial import Trial
from tests.record.conftest import Records

BASE = {"lr": 4e-3}
SPACE = {"lr": {"log_uniform": [1e-4, 1e-1]}}


def figure(trial: Trial, epoch: int) -> dict[str, float]:
    lr = float(str(trial.values["lr"]))
    return {"PCK": 80.0 * (1 - abs(lr - 0.01)) * (1 - 0.5**epoch)}


def make(records: Records, **search: Any) -> ExperimentFolder:
    return records.make({"space": SPACE, "search": {"trials": 4, **search}}, BASE)


def spend(folder: ExperimentFolder, hours: float, gpu_hours: float = 0.0) -> None:
    """As if the driver had worked for so long."""
    write_json(folder.path / SPENT, {"hours": hours, "gpu_hours": gpu_hours})


def test_the_time_of_all_restores_is_added_up(tmp_path: Path) -> None:
    search = parse_spec({"space": SPACE, "search": {"hours": 1}}).search
    for before in (0.0, 0.1):
        meter = Meter(tmp_path, search)
        assert meter.spent().hours == pytest.approx(before / 3600, abs=0.02 / 3600)
        with meter.running(gpus=4):
            time.sleep(0.1)
            running = meter.spent()
        assert meter.spent().hours >= running.hours > 0
    spent = Meter(tmp_path, search).spent()
    assert 0.2 <= 3600 * spent.hours < 0.5 and spent.gpu_hours == pytest.approx(4 * spent.hours) and spent.over is None


def test_a_budget_that_is_spent_begins_no_trial_and_ends_those_that_run(records: Records) -> None:
    folder = make(records, gpu_hours=2, start=[{"lr": 1e-3}, {"lr": 2e-3}])
    study = Study(folder.saved, folder)
    study.fill_queue()
    first, second = study.next_trial(), study.next_trial()
    assert first and second
    records.train(study, first, figure)
    spend(folder, hours=0.5, gpu_hours=2.1)

    restored = Study(folder.saved, folder)
    restored.fill_queue()
    assert restored.total == 2 and restored.unfinished == 1
    assert read_view(folder).state == "interrupted"
    assert restored.next_trial() == second, "what had begun comes to its end"
    assert restored.next_trial() is None
    records.train(restored, second, figure)
    view = read_view(folder)
    assert view.state == "finished" and (view.total, view.spent.over) == (2, "gpu_hours")
    assert [t.state for t in view.trials] == ["complete", "complete", "waiting"]
    assert "no more than 2 trials began: 30:00 min spent, 2.10 of 2 GPU-hours" in summary(view)
    assert Study(folder.saved, folder).next_trial() is None, "a restore does not begin the search again"


def test_trial_0_is_trained_whatever_was_spent(records: Records) -> None:
    folder = make(records, hours=0.001)
    spend(folder, hours=1.0)
    study = Study(folder.saved, folder)
    assert study.total == 1 and read_view(folder).state == "interrupted"
    study = records.run(folder, figure)
    assert study.drawn == 1 and read_view(folder).state == "finished"


def test_a_damaged_clock_is_told_and_begins_anew(records: Records) -> None:
    folder = make(records, hours=1)
    (folder.path / SPENT).write_text("{")
    study, lost = mended(folder.saved, folder)
    assert study.meter.spent().hours == 0 and len(lost) == 1 and "damaged; the time that was spent before" in lost[0]
    assert (folder.path / f"{SPENT}.damaged-1").exists()


def test_a_lost_database_is_made_anew_though_the_budget_is_spent(records: Records) -> None:
    folder = make(records, hours=1)
    records.run(folder, figure)
    spend(folder, hours=1.0)
    before = [(t.state, t.values, t.best) for t in read_view(folder).trials]
    folder.study_file.write_bytes(b"SQLite format 3\0 no more")
    mended(folder.saved, folder)
    assert [(t.state, t.values, t.best) for t in read_view(folder).trials] == before


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
def test_so_many_and_then_more_are_the_same_trials(tmp_path: Path, sampler: str, pruner: str) -> None:
    def made(place: str, trials: int) -> ExperimentFolder:  # by the same name, from which Hyperband's brackets follow
        rules = {"search": {"trials": trials, "sampler": sampler}, "prune": {"pruner": pruner, "min_epochs": 1}}
        return Records(tmp_path / place).make({"space": SPACE, **rules, "train": {"epochs": 9}}, BASE)

    whole, grown = made("whole", 12), made("grown", 7)
    run_pruned(whole)
    run_pruned(grown)
    assert read_view(grown).state == "finished"
    view = extend(grown, trials=5)
    assert (view.state, view.total) == ("interrupted", 12)
    run_pruned(grown)
    trials = [[(t.values, t.state, len(t.epochs)) for t in read_view(folder).trials] for folder in (whole, grown)]
    assert trials[0] == trials[1]
    assert {"complete", "pruned"} == {state for _, state, _ in trials[0]}


def run_pruned(folder: ExperimentFolder) -> None:
    """Every trial to its end, or to where the pruner wants it."""
    study, records = Study(folder.saved, folder), Records(folder.mlruns)
    study.fill_queue()
    while (trial := study.next_trial()) is not None:
        study.begin_attempt(trial.number, 1)
        home, pruned = folder.trial(trial.number), False
        while not pruned and len(epochs := read_epochs(home)) < study.experiment.train.epochs:
            records.commit(home, len(epochs) + 1, figure(trial, len(epochs) + 1))
            pruned = study.add_epoch(trial.number, read_epochs(home)[-1])
        study.finish(trial.number, pruned=pruned)


def test_time_is_added_to_what_was_spent_and_the_age_stays(records: Records) -> None:
    folder = make(records, hours=1)
    os.utime(folder.path / "spec.json", (1, 1))
    spend(folder, hours=1.2)
    view = extend(folder, hours=0.5)
    assert view.spec["search"]["hours"] == pytest.approx(1.7) and view.spent.over is None  # type: ignore[index]
    assert (folder.path / "spec.json").stat().st_mtime == 1
    assert extend(folder, hours=0.5).spec["search"]["hours"] == pytest.approx(2.2)  # type: ignore[index]


def test_what_cannot_be_extended_is_told(records: Records) -> None:
    folder = make(records, hours=1)
    for more, error, said in (
        ({}, InputError, "by what"),
        ({"gpu_hours": 1.0}, InputError, "--gpu-hours: it has no such budget"),
        ({"trials": 10**7}, SpecError, "search.trials: expected a number of at most 1000000"),
        ({"hours": float("nan")}, SpecError, "search.hours: expected a"),
    ):
        with pytest.raises(error, match=said):
            extend(folder, **more)
    grid = records.make({"space": {"lr": {"choice": [1e-3]}}, "search": {"sampler": "grid"}}, BASE)
    with pytest.raises(InputError, match="a grid is what its space holds"):
        extend(grid, trials=3)
    with folder.held(), pytest.raises(ExperimentError, match="it is running; stop it first"):
        in_another_thread(lambda: extend(folder, trials=1))
    create_final(folder, folder.saved)
    with pytest.raises(ExperimentError, match="its final has begun.*--from exp-1"):
        extend(folder, trials=1)
    assert read_view(folder).total == 4


def in_another_thread(act: Any) -> None:
    """A lock is held by a thread, as by another process."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            act()
        except BaseException as fault:  # noqa: BLE001
            raised.append(fault)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    for fault in raised:
        raise fault


def test_what_is_left_follows_the_pace_or_the_budget(records: Records) -> None:
    folder = make(records, hours=8)
    study = Study(folder.saved, folder)
    study.fill_queue()
    assert seconds_left(study.view(True)) == 8 * 3600
    trial = study.next_trial()
    assert trial
    records.train(study, trial, figure)
    for hours, left in ((1.0, 3.0), (5.0, 3.0), (7.5, 0.5), (9.0, 0.0)):
        spend(folder, hours)
        found = seconds_left(Study(folder.saved, folder).view(True))
        assert found == pytest.approx(3600 * left), hours
    spend(folder, 1.0)
    assert budget_line(Study(folder.saved, folder).view(True)) == "1 h 0 min of 8 hours spent, about 3 h 0 min left"

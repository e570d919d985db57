"""Requests to stop lie in the record: a trial ends with its epoch, and no restore takes it up again."""

import threading
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from raypose.cli.stopping import stop_experiment, stop_trial
from raypose.display.tables import sparkline, trial_lines
from raypose.errors import ExperimentError
from raypose.record.epochs import read_epochs
from raypose.record.folder import ExperimentFolder
from raypose.record.mend import mended
from raypose.record.onlooker import Onlooker
from raypose.record.requests import ask_to_stop, is_to_stop
from raypose.record.study import Study, read_view
from tests.record.conftest import EPOCHS, Records

SPEC = {"space": {"lr": {"log_uniform": [1e-4, 1e-1]}}, "search": {"trials": 3}}
LATENCY = {"metric": ["PCK", "latency_ms"], "mode": ["max", "min"]}


def begun(records: Records, **more: Any) -> tuple[ExperimentFolder, Study]:
    """An experiment of whose trials 0 and 1 run, each with one epoch."""
    folder = records.make({**SPEC, **more}, {"lr": 4e-3})
    study = Study(folder.saved, folder)
    study.fill_queue()
    for number in (0, 1):
        assert study.next_trial()
        study.begin_attempt(number, 1)
        assert not end_epoch(records, study, number)
    return folder, study


def end_epoch(records: Records, study: Study, number: int) -> bool:
    """One epoch more of a trial; whether it is to end here."""
    home = study.folder.trial(number)
    done = len(read_epochs(home))
    records.commit(home, done + 1, {"PCK": 10.0 + done, "latency_ms": 5.0})
    return study.add_epoch(number, read_epochs(home)[-1])


@pytest.mark.parametrize("more", [{}, LATENCY])
def test_a_trial_that_is_asked_to_end_counts_as_pruned(records: Records, more: dict[str, Any]) -> None:
    folder, study = begun(records, **more)
    ask_to_stop(folder.trial(1))
    assert end_epoch(records, study, 1) and not end_epoch(records, study, 0)
    study.finish(1, pruned=True)
    trial = read_view(folder).trials[1]
    assert (trial.state, trial.stopped, len(trial.epochs), trial.ranks) == ("pruned", True, 2, True)
    assert "ended by `raypose stop`" in trial_lines(read_view(folder))
    stored = optuna.load_study(study_name="exp-1.a1b2", storage=folder.study_url).trials[1]
    assert stored.state.name == "PRUNED"
    folder.study_file.write_bytes(b"SQLite format 3\0 no more")
    mended(folder.saved, folder)
    again = read_view(folder).trials[1]
    assert (again.state, again.stopped, again.best) == ("pruned", True, trial.best), "the database was made anew"


def test_a_restore_repeats_the_decision(records: Records) -> None:
    folder, _ = begun(records)
    ask_to_stop(folder.trial(1))  # and then the driver is killed
    study = records.run(folder, lambda trial, epoch: {"PCK": 1.0})
    assert study.unfinished == 0
    base, stopped, last = read_view(folder).trials
    assert (base.state, last.state) == ("complete", "complete")
    assert (stopped.state, stopped.stopped, len(stopped.epochs)) == ("pruned", True, 1)


def test_one_that_comes_to_its_end_all_the_same_is_complete(records: Records) -> None:
    folder, study = begun(records)
    for _ in range(1, EPOCHS - 1):
        end_epoch(records, study, 1)
    ask_to_stop(folder.trial(1))
    assert not end_epoch(records, study, 1)
    study.finish(1)
    assert read_view(folder).trials[1].state == "complete" and not read_view(folder).trials[1].stopped


def beside(folder: ExperimentFolder, work: Callable[[], None]) -> threading.Thread:
    """Work on the experiment as its driver, in a thread, which holds locks as a process does."""
    held = threading.Event()

    def drive() -> None:
        with folder.held():
            held.set()
            work()

    thread = threading.Thread(target=drive)
    thread.start()
    assert held.wait(10)
    return thread


def until(true: Callable[[], bool]) -> None:
    over = threading.Event()
    while not true():
        over.wait(0.05)


def test_who_stops_a_trial_waits_until_it_has_ended(records: Records) -> None:
    folder, study = begun(records)

    def drive() -> None:
        until((folder.trial(1) / "stop.json").is_file)
        assert end_epoch(records, study, 1)
        study.finish(1, pruned=True)

    said: list[str] = []
    driver = beside(folder, drive)
    ended = stop_trial(folder, 1, said.append)
    driver.join()
    assert (ended.state, ended.stopped, len(ended.epochs)) == ("pruned", True, 2)
    assert said == ["trial 1 ends with its running epoch"]


def test_who_stops_an_experiment_waits_until_nobody_holds_it(records: Records) -> None:
    folder, _ = begun(records)
    driver = beside(folder, lambda: until(lambda: is_to_stop(folder.path)))
    assert stop_experiment(folder, lambda _: None).state == "interrupted"
    assert not driver.is_alive() and not is_to_stop(folder.path)


def test_what_cannot_be_stopped_is_told(records: Records) -> None:
    folder, study = begun(records)
    for act in (lambda: stop_experiment(folder, print), lambda: stop_trial(folder, 1, print)):
        with pytest.raises(ExperimentError, match="it is not running; `raypose show exp-1` tells"):
            act()
    study.finish(1)
    over = threading.Event()
    driver = beside(folder, lambda: bool(over.wait(30)) and None)
    for number, said in ((0, "trial 0 is what all others"), (1, "trial 1 of exp-1 is complete"), (2, "no trial 2 yet")):
        with pytest.raises(ExperimentError, match=said):
            stop_trial(folder, number, print)
    over.set()
    driver.join()
    assert not list(folder.path.rglob("stop.json"))


def test_an_onlooker_reads_the_record_when_it_has_changed(records: Records) -> None:
    folder, study = begun(records)
    onlooker = Onlooker(folder)
    first = onlooker.look()
    assert onlooker.look().trials is first.trials, "nothing has happened"
    end_epoch(records, study, 1)
    until(lambda: len(onlooker.look().trials[1].epochs) == 2)
    with study.meter.running(gpus=2):
        pass
    assert onlooker.look().spent.hours > 0


def test_curves_are_drawn_between_the_lowest_and_the_highest_figure() -> None:
    assert sparkline([0.0, 50.0, 100.0], [0.0, 100.0], 3) == "▁▅█"
    assert sparkline([], [], 3) == "" and sparkline([5.0], [5.0], 1) == "▁"
    assert sparkline([0.0, 0.0, 7.0, 7.0, 4.0], [0.0, 7.0], 72) == "█▅", "every third epoch, and the last"
    assert len(sparkline([1.0] * 210, [1.0], 210)) == 24

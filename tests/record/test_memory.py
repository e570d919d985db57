"""What a driver changes in its study is in the database together or not at all, and the two never differ."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.engine import Engine

from raypose.record.memory import StudyMemory
from raypose.record.view import pareto_front
from tests.display.test_tables import trial as trial_view

ONE = (("PCK", "max"),)


def opened(folder: Path) -> StudyMemory:
    return StudyMemory(f"sqlite:///{folder / 'study.db'}", "exp", ONE)


def told(memory: StudyMemory) -> list[Any]:
    trials = memory.get_all_trials(memory.study)
    return [(t.state, t.params, t.values, t.intermediate_values, t.user_attrs, t.system_attrs) for t in trials]


def search(memory: StudyMemory, trials: int, write: bool) -> None:
    """Trials that are queued, drawn, noted down, pruned and failed, some of them in a transaction of their own."""
    study = optuna.load_study(study_name="exp", storage=memory)
    study.enqueue_trial({"lr": 0.5}, user_attrs={"given": {"lr": 0.5}})
    for number in range(trials):
        trial = study.ask()
        trial.suggest_float("lr", 1e-4, 1.0, log=True)
        trial.suggest_categorical("freeze", ["none", "stem"])
        if write:
            memory.write()
        trial.report(number / 7, 1)
        trial.set_user_attr("values", {"lr": number})
        state = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)[number % 3]
        study.tell(trial, number if state == TrialState.COMPLETE else None, state)
    study.set_user_attr("run_id/0", "abc")


@pytest.mark.parametrize("write", [True, False])
def test_the_database_holds_what_the_memory_holds(tmp_path: Path, write: bool) -> None:
    memory = opened(tmp_path)
    search(memory, 15, write)
    memory.write()
    again = opened(tmp_path)
    assert told(again) == told(memory) and len(told(again)) == 15
    assert again.get_study_user_attrs(again.study) == {"run_id/0": "abc"}


def test_what_is_changed_together_is_written_in_one_transaction(tmp_path: Path) -> None:
    memory, commits = opened(tmp_path), list[object]()

    def committed(connection: object) -> None:
        commits.append(connection)

    event.listen(Engine, "commit", committed)
    try:
        search(memory, 3, write=False)
        assert not commits and told(opened(tmp_path)) == []
        commits.clear()
        memory.write()
        memory.write()
        assert len(commits) == memory.transactions == 1
    finally:
        event.remove(Engine, "commit", committed)


def test_a_write_that_fails_leaves_nothing_behind_and_may_be_made_again(tmp_path: Path) -> None:
    memory = opened(tmp_path)
    search(memory, 2, write=False)
    with closing(sqlite3.connect(tmp_path / "study.db")) as database:
        database.execute("ALTER TABLE study_user_attributes RENAME TO away")
        with pytest.raises(optuna.exceptions.StorageInternalError):
            memory.write()
        assert database.execute("SELECT count(*) FROM trials").fetchone() == (0,)
        database.execute("ALTER TABLE away RENAME TO study_user_attributes")
    memory.write()
    assert told(opened(tmp_path)) == told(memory)


@pytest.mark.parametrize("modes", [("max", "min"), ("min", "min"), ("max", "max")])
def test_the_front_is_optunas(modes: tuple[str, str]) -> None:
    draw = random.Random(1)
    study = optuna.create_study(directions=[{"max": "maximize", "min": "minimize"}[mode] for mode in modes])
    views = []
    for number in range(60):
        figures = (draw.randint(0, 9), draw.randint(0, 9))  # with ties
        trial = study.ask()
        study.tell(trial, figures)
        view = trial_view(number, (1.0,))
        view.epochs[0].metrics.update({"PCK": figures[0], "latency_ms": figures[1]})
        views.append(view)
    front = pareto_front(views, (("PCK", modes[0]), ("latency_ms", modes[1])))
    assert set(front) == {trial.number for trial in study.best_trials} and len(front) < 30

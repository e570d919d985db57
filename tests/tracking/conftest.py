"""A store that all tests of MLflow share, and records made of real checkpoint folders."""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from raypose.record.epochs import commit_epoch, read_epochs, staging_folder
from raypose.record.files import write_json
from raypose.record.view import ExperimentState, ExperimentView, TrialState, TrialView
from raypose.space.knobs import Value
from raypose.tracking.store import Store, open_store


class Record:
    """An experiment on disk, with the figures that a test gives it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        write_json(folder / "spec.json", {"data": {"digest": f"of {folder.name}"}})
        spec: dict[str, object] = {
            "model": "rtmpose-n",
            "weights": "demo",
            "data": "demo",
            "space": {"lr": {"log_uniform": [2e-4, 1.6e-2]}},
            "train": {"epochs": 8, "batch_size": 32},
        }
        goal = (("PCK@0.1", "max"),)
        self.view = ExperimentView(
            folder.name, f"{folder.name}.uid", "running", "PCK@0.1", 5, 8, folder, spec, (), goal, ()
        )

    def begin(self, values: dict[str, Value]) -> int:
        """A new running trial; returns its number."""
        number = len(self.view.trials)
        folder = self.view.folder / "trials" / f"{number:04d}"
        folder.mkdir(parents=True)
        (folder / "config.py").write_text(f"trial = {number}\n")
        trial = TrialView(number, "running", values, (), None, None, 1, 0.0, None, None, folder, 0, None, None, None)
        self.view = replace(self.view, trials=(*self.view.trials, trial))
        return number

    def epoch(self, number: int, pck: float, **more: float) -> None:
        """One more epoch of a trial, committed as a worker does it."""
        trial = self.view.trials[number]
        epoch = len(trial.epochs) + 1
        staging = staging_folder(trial.folder, epoch)
        (staging / "weights.pth").write_bytes(os.urandom(1000))
        commit_epoch(staging, epoch, {"PCK@0.1": pck, "Head PCK": pck / 2, "loss": 1 / epoch, **more}, 0.5)
        best = max(trial.best or 0.0, pck)
        best_epoch = epoch if trial.best is None or pck > trial.best else trial.best_epoch
        self._change(number, epochs=read_epochs(trial.folder), best=best, best_epoch=best_epoch)

    def end(self, number: int, state: TrialState, error: str | None = None) -> None:
        """The trial has ended."""
        self._change(number, state=state, error=error)

    def become(self, state: ExperimentState) -> ExperimentView:
        """The experiment's state changes; returns the view."""
        self.view = replace(self.view, state=state)
        return self.view

    def _change(self, number: int, **changes: object) -> None:
        trials = list(self.view.trials)
        trials[number] = replace(trials[number], **changes)  # type: ignore[arg-type]
        self.view = replace(self.view, trials=tuple(trials))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The default store below a path that needs care in URIs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield open_store(tmp_path_factory.mktemp("ml") / "my runs %41 #1")


@pytest.fixture
def record(tmp_path: Path, request: pytest.FixtureRequest) -> Record:
    """An experiment with the test's name and no trials."""
    return Record(tmp_path / request.node.name)


def points(store: Store, run_id: str) -> dict[tuple[str, int], list[float]]:
    """All points of all metrics of a run, as MLflow's database has them."""
    assert store.database
    with sqlite3.connect(store.database) as database:
        rows = database.execute("SELECT key, step, value FROM metrics WHERE run_uuid = ?", (run_id,)).fetchall()
    found: dict[tuple[str, int], list[float]] = {}
    for key, step, value in rows:
        found.setdefault((key, step), []).append(value)
    return found


@pytest.fixture(name="points")
def points_of() -> object:
    """The function `points`."""
    return points

"""A driver process whose training is a formula, and what MLflow must hold afterwards.

`Driver` starts such a process. It works an experiment off, which is made if there is none, with eight trials at a time
and a real record and mirror. All are forked off one process that has imported everything, so that they begin at once.
"""

import io
import logging
import multiprocessing
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import unquote, urlsplit

from raypose.record.epochs import commit_epoch, read_epochs, retire, staging_folder
from raypose.record.folder import ExperimentFolder, create_experiment, find_experiment
from raypose.record.study import Study
from raypose.record.view import ExperimentView, TrialView
from raypose.space.load import parse_spec
from raypose.tracking.background import MirrorThread
from raypose.tracking.store import Store, open_store

LANES = 8
STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "running": "RUNNING"}


@dataclass(frozen=True)
class Job:
    """An experiment, and how long an epoch of it takes, in seconds; `uri` is MLFLOW_TRACKING_URI, or empty."""

    mlruns: Path
    name: str
    trials: int
    epochs: int
    pause: float
    uri: str = ""


@dataclass(frozen=True)
class End:
    """The longest that telling the mirror took, in seconds, what it left undone, and what was logged."""

    longest: float
    behind: list[str]
    log: str


class Driver:
    """A process at work on a job; it has begun when this returns."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._heard, tell = context.Pipe(duplex=False)
        self._process = context.Process(target=_drive, args=(job, tell))
        self._process.start()
        tell.close()
        assert self._heard.recv() == "begun"

    def kill(self) -> None:
        """With SIGKILL."""
        self._process.kill()
        self._process.join()

    @property
    def has_ended(self) -> bool:
        """Does `end` return at once?"""
        return self._heard.poll()

    def end(self) -> End:
        """Waits for it."""
        end: End = self._heard.recv()
        self._process.join()
        return end


def _drive(job: Job, tell: Connection) -> None:
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if job.uri:
        os.environ["MLFLOW_TRACKING_URI"] = job.uri
    log = io.StringIO()
    logging.basicConfig(level=logging.INFO, stream=log, force=True)
    folder = make(job.mlruns, job.name, job.trials, job.epochs)
    with folder.held():
        longest, behind = work(folder, job.pause, lambda: tell.send("begun"))
    tell.send(End(longest, behind, log.getvalue()))


def make(mlruns: Path, name: str, trials: int, epochs: int) -> ExperimentFolder:
    """The experiment of this name, made if there is none."""
    if (mlruns / "experiments" / name).exists():
        return find_experiment(mlruns, name)
    spec = {
        "space": {"lr": {"log_uniform": [1e-4, 1e-1]}},
        "search": {"trials": trials},
        "prune": {"pruner": "none"},
        "train": {"epochs": epochs},
    }
    experiment = parse_spec(spec).model_dump(mode="json")
    saved = {"uid": "a1b2", "experiment": experiment, "base_values": {"lr": 4e-3}, "data": {"digest": name}}
    return create_experiment(mlruns, name, "exp", saved)


def work(folder: ExperimentFolder, pause: float, begun: Callable[[], None]) -> tuple[float, list[str]]:
    """Every trial to its end, mirrored; the longest that telling the mirror took, and what it left undone."""
    study, behind, longest = Study(folder.saved, folder), [], [0.0]
    study.fill_queue()
    begun()
    with _mirrored(study, behind) as poke:
        for number, epoch in _events(study):
            time.sleep(pause)
            _train(study.folder.trial(number), epoch, study)
            study.add_epoch(number, read_epochs(study.folder.trial(number))[epoch - 1])
            if epoch == study.experiment.train.epochs:
                study.finish(number)
            started = time.monotonic()
            poke()
            longest[0] = max(longest[0], time.monotonic() - started)
    behind.clear()  # what counts is how it ends
    with _mirrored(study, behind):
        pass
    return longest[0], behind


def _events(study: Study) -> Iterator[tuple[int, int]]:
    """Trial and epoch of what happens next, with eight trials side by side."""
    live: dict[int, int] = {}
    while True:
        while len(live) < LANES and (trial := study.next_trial()) is not None:
            if not study.catch_up(trial.number):
                study.begin_attempt(trial.number, 1)
                live[trial.number] = len(read_epochs(study.folder.trial(trial.number)))
        if not live:
            return
        for number in list(live):
            live[number] += 1
            yield number, live[number]
            if live[number] == study.experiment.train.epochs:
                del live[number]


def _train(home: Path, number: int, study: Study) -> None:
    """One epoch as a worker commits it; the one before gives its space back."""
    staging = staging_folder(home, number)
    (staging / "weights.pth").write_bytes(os.urandom(1000))
    (home / "config.py").write_text("trial = 1\n")
    figure = 50.0 + 40.0 * ((int(home.name) * 7 + number * 3) % 11) / 11
    commit_epoch(staging, number, {study.experiment.primary: figure, "Head PCK": figure / 2, "loss": 1 / number}, 0.01)
    best = max(read_epochs(home), key=lambda epoch: (epoch.metrics[study.experiment.primary], -epoch.number))
    for epoch in read_epochs(home)[:-1]:
        if epoch.has_weights and epoch.number != best.number:
            retire(epoch)


@contextmanager
def _mirrored(study: Study, behind: list[str]) -> Iterator[Callable[[], None]]:
    """As the real driver has it."""
    thread = MirrorThread(open_store(study.folder.mlruns), lambda: study.glance(worked_on=True), study.set_run_ids)
    thread.poke()
    try:
        yield thread.poke
    finally:
        reason = thread.close(timeout_s=60)
        behind.extend([reason] if reason else [])


def complaints(store: Store, view: ExperimentView, artifact_root: Path | None = None) -> list[str]:
    """Where MLflow's database differs from the record; empty if everything is there once."""
    assert store.database
    with sqlite3.connect(f"{store.database.as_uri()}?mode=ro", uri=True) as database:
        held = _Held(database, artifact_root)
        found = list(held.of_study(view))
        for trial in view.trials:
            found += [f"trial {trial.number}: {line}" for line in held.of_trial(view, trial)]
        return found + held.strangers(view) + held.of_winner(view)


class _Held:
    """What MLflow's database holds."""

    def __init__(self, database: sqlite3.Connection, artifact_root: Path | None) -> None:
        self._database, self._root = database, artifact_root
        self._parent: str | None = None
        self._known: set[str] = set()

    def of_study(self, view: ExperimentView) -> Iterator[str]:
        runs = self._runs("raypose.study", view.key)
        if len(runs) != 1:
            yield f"{len(runs)} parent runs"
            return
        self._parent, status, _ = runs[0]
        expected = {"finished": "FINISHED", "interrupted": "KILLED", "running": "RUNNING"}[view.state]
        if status != expected:
            yield f"the parent is {status}, not {expected}"
        yield from self._repeated(self._parent)
        best, held = view.best, self._latest(self._parent)
        if best and (held.get(f"best_{_legal(view.metric)}"), held.get("best_trial")) != (best.best, best.number):
            yield f"the parent's best is {held}, not {best.best} of trial {best.number}"

    def of_trial(self, view: ExperimentView, trial: TrialView) -> Iterator[str]:
        runs = self._runs("raypose.trial", f"{view.key}/{trial.number}")
        if len(runs) != 1:
            yield f"{len(runs)} runs"
            return
        run, status, artifacts = runs[0]
        expected = STATUS[trial.state]
        if status != expected:
            yield f"{status}, not {expected}"
        if self._tags(run).get("mlflow.parentRunId") != self._parent:
            yield "not below its parent"
        yield from self._repeated(run)
        wanted = {
            (_legal(key), epoch.number): value
            for epoch in trial.epochs
            for key, value in {**epoch.metrics, "epoch": epoch.number, "epoch_seconds": epoch.seconds}.items()
        }
        rows = self._database.execute("SELECT key, step, value FROM metrics WHERE run_uuid = ?", (run,))
        there = {(key, step): value for key, step, value in rows if not key.startswith("best_")}
        if there != wanted:
            yield f"{len(wanted.keys() - there.keys())} points missing, {len(there.keys() - wanted.keys())} too many"
        if trial.best is not None and self._latest(run).get(f"best_{_legal(view.metric)}") != trial.best:
            yield "another best"
        if trial.state == "complete":
            yield from self._artifacts(trial, artifacts)

    def of_winner(self, view: ExperimentView) -> list[str]:
        """It is registered once when all is over, and not before."""
        rows = self._database.execute(
            "SELECT version FROM model_version_tags WHERE key = 'raypose.experiment' AND value = ?", (view.name,)
        ).fetchall()
        expected = 1 if view.state == "finished" and view.best else 0
        return [] if len(rows) == expected else [f"{len(rows)} versions of the registered model, not {expected}"]

    def strangers(self, view: ExperimentView) -> list[str]:
        """Runs of the experiment that belong to nothing."""
        rows = self._database.execute(
            "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) "
            "WHERE experiments.name = ? AND runs.lifecycle_stage = 'active'",
            (view.name,),
        )
        others = {run for (run,) in rows} - self._known
        return [f"{len(others)} runs of nothing"] if others else []

    def _runs(self, tag: str, value: str) -> list[tuple[str, str, str]]:
        rows = self._database.execute(
            "SELECT run_uuid, status, artifact_uri FROM runs JOIN tags USING (run_uuid) "
            "WHERE tags.key = ? AND tags.value = ? AND lifecycle_stage = 'active'",
            (tag, value),
        ).fetchall()
        self._known |= {run for run, _, _ in rows}
        return rows

    def _repeated(self, run: str) -> Iterator[str]:
        rows = self._database.execute("SELECT key, step FROM metrics WHERE run_uuid = ?", (run,)).fetchall()
        yield from (f"{count} points of {key}" for key, count in Counter(rows).items() if count > 1)

    def _latest(self, run: str) -> dict[str, float]:
        return dict(self._database.execute("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (run,)))

    def _tags(self, run: str) -> dict[str, str]:
        return dict(self._database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,)))

    def _artifacts(self, trial: TrialView, uri: str) -> Iterator[str]:
        parts = urlsplit(uri)
        folder = Path(unquote(parts.path))
        if parts.scheme == "mlflow-artifacts":
            assert self._root
            folder = self._root / folder.relative_to("/")
        assert trial.checkpoint
        there = [(trial.folder / "config.py", folder / "config.py")]
        there += [(trial.checkpoint / name, folder / "checkpoint" / name) for name in ("weights.pth", "meta.json")]
        for mine, copy in there:
            if not copy.is_file() or copy.read_bytes() != mine.read_bytes():
                yield f"{mine.name} is not among the artifacts as it is"


def _legal(key: str) -> str:
    return key.replace("@", "_")

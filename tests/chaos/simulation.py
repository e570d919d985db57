"""A whole experiment in one process, quick enough to be killed a hundred times: real study, epochs, lock and MLflow.

Only the trainer is simulated: an epoch's state follows from the one before and from the trial's values, and its figure
from its state, so that a wrong start is seen in every figure that follows.
"""

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from raypose.record.epochs import (
    commit_epoch,
    is_intact,
    keep_last_and_best,
    last_whole,
    read_epochs,
    staging_folder,
)
from raypose.record.folder import ExperimentFolder, create_experiment
from raypose.record.mend import mended
from raypose.record.study import Study, read_view
from raypose.record.view import ExperimentView, best_epoch
from raypose.space.load import parse_spec
from raypose.space.trial import Trial
from raypose.tracking.background import MirrorThread
from raypose.tracking.store import Store

EPOCHS = 4
SPEC: dict[str, Any] = {
    "space": {"lr": {"log_uniform": [1e-4, 1e-1]}, "freeze": {"choice": ["none", "stem", "backbone"]}},
    "search": {"trials": 8, "start": [{"lr": 1e-3}]},
    "prune": {"pruner": "asha", "min_epochs": 1, "reduction": 2},
    "train": {"epochs": EPOCHS},
}
FEW: dict[str, Any] = {**SPEC, "space": {"lr": {"choice": [1e-3, 4e-3, 1e-2]}, "freeze": {"choice": ["none", "stem"]}}}
"""The same over six points, of which samplers would try some twice."""
FAILS = 5  # this trial fails in its second epoch
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


def make(root: Path, spec: dict[str, Any] = SPEC) -> ExperimentFolder:
    """An experiment that nobody has worked on."""
    experiment = parse_spec(spec).model_dump(mode="json")
    base_values = {"lr": 4e-3, "freeze": "none"}
    saved = {"uid": "a1b2", "experiment": experiment, "base_values": base_values, "data": {"digest": "da7a"}}
    return create_experiment(root, "exp", "", saved)


def drive(folder: ExperimentFolder, store: Store | None) -> None:
    """Work on the experiment until it is finished, from whatever state it is in."""
    with folder.held():
        study, _ = mended(folder.saved, folder)
        study.fill_queue()
        mirror = MirrorThread(store, lambda: study.glance(worked_on=True), study.set_run_ids) if store else None
        poke: Callable[[], None] = mirror.poke if mirror else lambda: None
        while (trial := study.next_trial()) is not None:
            if not study.catch_up(trial.number):
                _train(study, trial, poke)
            poke()
        if mirror:
            behind = mirror.close(60)
            assert behind is None, behind


def _train(study: Study, trial: Trial, poke: Callable[[], None]) -> None:
    study.begin_attempt(trial.number, 1)
    home = study.folder.trial(trial.number)
    last = last_whole(home)
    state = (last.folder / "state").read_bytes() if last else b""
    for number in range(last.number + 1 if last else 1, EPOCHS + 1):
        if trial.number == FAILS and number == 2:
            return study.finish(trial.number, error="it always fails here")
        state = hashlib.sha256(state + repr((trial.values, number)).encode()).digest()
        staging = staging_folder(home, number)
        (staging / "state").write_bytes(state)
        (staging / "weights.pth").write_bytes(state * 1000)
        commit_epoch(staging, number, {"PCK": state[0] / 2.56, "loss": 1 / number}, 1.0)
        stop = study.add_epoch(trial.number, read_epochs(home)[number - 1])
        poke()
        if stop:
            study.finish(trial.number, pruned=True)
        keep_last_and_best(read_epochs(home)[:number], "PCK")
        if stop:
            return
    study.finish(trial.number)


def killed(work: Callable[[], None], at: int | None) -> int | None:
    """Run `work` in a child and kill it at the `at`-th change it makes; its exit code, None if it was killed.

    A change is a file made, renamed or removed, or a statement or commit of a database.
    """
    child = os.fork()
    if child == 0:
        if at is not None:
            _count(at)
        try:
            work()
        except BaseException as fault:  # noqa: BLE001  # the child must not run pytest's own code
            print(f"{type(fault).__name__}: {fault}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def _count(at: int) -> None:
    left = [at]

    def step(*_: Any, **__: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(name: str, arguments: tuple[Any, ...]) -> None:
        if name in CHANGES or name == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            step()

    sys.addaudithook(heard)
    for moment in ("commit", "before_cursor_execute"):
        event.listen(Engine, moment, step)


def violations(folder: ExperimentFolder) -> list[str]:
    """What must hold at every instant, and does not: epochs in order, a whole last and a whole best checkpoint."""
    view, found = read_view(folder), []
    for trial in view.trials:
        epochs = read_epochs(trial.folder)
        if [e.number for e in epochs] != list(range(1, len(epochs) + 1)):
            found.append(f"trial {trial.number}: epochs {[e.number for e in epochs]}")
        best = best_epoch(epochs, view.metric)
        for name, epoch in (("last", epochs[-1] if epochs else None), ("best", best)):
            if epoch and not is_intact(epoch):
                found.append(f"trial {trial.number}: its {name} checkpoint, epoch {epoch.number}, is not whole")
        if best and best.metrics[view.metric] != max(e.metrics[view.metric] for e in epochs):
            found.append(f"trial {trial.number}: best is not the maximum")
    if view.best and view.best.state == "failed":
        found.append("a failed trial is best")
    return found


def story(view: ExperimentView) -> list[tuple[Any, ...]]:
    """All that must be as if nothing had happened."""
    return [(t.number, t.state, t.values, t.error, [(e.number, e.metrics) for e in t.epochs]) for t in view.trials]


def left_over(folder: ExperimentFolder) -> list[str]:
    """Files of a finished experiment that belong to nothing: half epochs, and checkpoints neither last nor best."""
    found = [str(path) for path in folder.path.rglob(".*") if path.name != ".gitignore"]
    for trial in read_view(folder).trials:
        for epoch in trial.epochs:
            files = [f.name for f in epoch.folder.iterdir()]
            kept = epoch.number in (len(trial.epochs), trial.best_epoch)
            if kept != epoch.has_weights or not kept and files != ["meta.json"]:
                found.append(f"{epoch.folder}: {files}")
    return found

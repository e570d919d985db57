"""An experiment from its specification to its last trial: make it, go on with it, plan it. Runs in: driver.

`start` makes the record and then does what `resume` does; nothing else distinguishes a first run from a later one.
"""

import multiprocessing
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from raypose.datasets.demo import ensure_demo
from raypose.datasets.mpii import Report, require_sound
from raypose.errors import DataError, SpecError
from raypose.record.folder import ExperimentFolder, check_name, create_experiment
from raypose.record.study import Study, check_storage
from raypose.record.view import ExperimentView
from raypose.space.domain import Choice
from raypose.space.load import parse_spec
from raypose.space.run import Run
from raypose.space.schema import Experiment
from raypose.space.trial import Trial
from raypose.tracking.background import MirrorThread
from raypose.tracking.store import open_store
from raypose.tuning.cluster import Capacity, capacity, cluster, stoppable
from raypose.tuning.run import run_trials

DEMO_FOLDER = Path("data/demo")


class Screen(Protocol):
    """Whoever tells the user how things stand."""

    def say(self, text: str) -> None:
        """What is being done now."""

    def progress(self, done: int, total: int) -> None:
        """How far the thing last said has come."""

    def show(self, view: ExperimentView) -> None:
        """How the trials stand."""


def start(
    experiment: Experiment, stem: str, mlruns: Path, name: str | None, address: str | None, screen: Screen
) -> ExperimentView:
    """Make an experiment and run it. Raises InputError before anything is made if something in it cannot work."""
    if name is not None:
        check_name(mlruns, name)
    open_store(mlruns)
    check_storage(experiment.search.storage)
    report = _data(experiment, DEMO_FOLDER.absolute(), screen)
    screen.say("checking model, weights and knobs")
    base = _examine(experiment, report)
    facts = {"folder": str(report.folder), "digest": report.digest}
    saved = {**_saved(experiment, base), "data": facts}
    screen.say("starting Ray")
    with cluster(address):
        room = _room(experiment, experiment.search.trials)
        folder = create_experiment(mlruns, name, stem, saved)
        with folder.held():
            return _work(Study(saved, folder), room, report, screen)


def resume(folder: ExperimentFolder, address: str | None, screen: Screen) -> ExperimentView:
    """Run what is left of an experiment, from its record alone."""
    saved = folder.saved
    experiment = parse_spec(saved["experiment"])
    with folder.held():
        report = _data(experiment, Path(saved["data"]["folder"]), screen)
        if report.digest != saved["data"]["digest"]:
            raise DataError(
                f"{report.folder} no longer holds the data that {folder.name} began with: put it back, "
                "or start a new experiment"
            )
        study = Study(saved, folder)
        left = study.unfinished
        if left == 0:
            with _mirrored(study, screen):
                return study.view(worked_on=False)
        screen.say("checking model, weights and knobs")
        _require_same(saved["base_values"], _examine(experiment, report), folder.name)
        screen.say("starting Ray")
        with cluster(address):
            return _work(study, _room(experiment, left), report, screen)


def _require_same(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    changed = [f"{knob} was {before[knob]} and is {now[knob]}" for knob in before if before[knob] != now[knob]]
    if changed:
        raise SpecError([f"model: the base config is not the one that {name} began with: {'; '.join(changed)}"])


def _saved(experiment: Experiment, base: Mapping[str, Any]) -> dict[str, Any]:
    """What an experiment is made of; the uid tells it from any other that ever had its name."""
    return {"uid": uuid.uuid4().hex[:8], "experiment": experiment.model_dump(mode="json"), "base_values": dict(base)}


def _work(study: Study, room: Capacity, report: Report, screen: Screen) -> ExperimentView:
    """Run the trials that the study still wants, on a cluster that is there."""
    study.fill_queue()
    screen.say(f"starting the workers of {room.lanes} concurrent trials")
    with stoppable(study.folder.name), _mirrored(study, screen) as changed:
        run_trials(study, lambda trial: _run(study.experiment, trial, report, room, study.folder), room, changed)
    return study.view(worked_on=False)


@contextmanager
def _mirrored(study: Study, screen: Screen) -> Iterator[Callable[[], None]]:
    """Show every change on the screen and in MLflow; yields what is to be called after a change."""
    working = [True]

    def read() -> ExperimentView:
        return study.view(worked_on=working[0])

    mirror = MirrorThread(open_store(study.folder.path.parents[1]), read, study.set_run_ids)

    def changed() -> None:
        screen.show(read())
        mirror.poke()

    changed()
    try:
        yield changed
    finally:
        working[0] = False
        behind = mirror.close(timeout_s=30)
        if behind:
            screen.say(f"MLflow is not complete ({behind}); `raypose restore {study.folder.name}` completes it")


def _data(experiment: Experiment, demo: Path, screen: Screen) -> Report:
    """The data folder, sound; the demo set is rendered into `demo` if it is not there."""
    if experiment.data != "demo":
        return require_sound(Path(experiment.data))
    screen.say(f"preparing the demo set in {demo}")
    ensure_demo(demo, on_progress=screen.progress)
    return require_sound(demo)


def _room(experiment: Experiment, trials: int) -> Capacity:
    """What the cluster holds. Raises InputError if the experiment cannot run on it."""
    room = capacity(experiment.resources, trials)
    if experiment.train.amp and not room.gpus_per_worker:
        raise SpecError(["train.amp: mixed precision needs a GPU; set it to false"])
    return room


def _run(experiment: Experiment, trial: Trial, report: Report, room: Capacity, folder: ExperimentFolder) -> Run:
    """The training of one trial; it holds plain values only, as it goes to other machines."""
    settings = experiment.train
    auto_loaders = room.cpus_per_worker if room.gpus_per_worker else room.cpus_per_worker - 1
    return Run(
        model=experiment.model,
        weights=experiment.weights,
        values=dict(trial.values),
        metric=experiment.metric,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        loader_workers=auto_loaders if settings.loader_workers == "auto" else settings.loader_workers,
        amp=settings.amp,
        seed=experiment.search.seed,
        workers=room.workers,
        gpu=room.gpus_per_worker > 0,
        data=report.folder,
        train_people=report.train_people,
        folder=folder.trial(trial.number),
    )


def _examine(experiment: Experiment, report: Report) -> dict[str, Any]:
    """The base config's own values of the knobs, and the proof that all choices can be built."""
    run = _planned(experiment, Trial(0, experiment.fixed), report)
    freeze = experiment.space.get("freeze")
    choices = [str(c) for c in freeze.options] if isinstance(freeze, Choice) else []
    values: dict[str, Any] = _in_training_process("examine", run, list(experiment.space), choices)
    return values


def _planned(experiment: Experiment, trial: Trial, report: Report) -> Run:
    """A trial's run as far as it can be known without a cluster."""
    wanted = experiment.resources
    gpus = 0.0 if wanted.gpus_per_worker == "auto" else wanted.gpus_per_worker
    room = Capacity(1, wanted.workers, wanted.cpus_per_worker, gpus)
    return _run(experiment, trial, report, room, ExperimentFolder(Path("planned")))


def plan(experiment: Experiment, trials: int, screen: Screen) -> dict[str, Any]:
    """What `start` would check and do for the first trials, without Ray, without training and without a trace."""
    report = _data(experiment, DEMO_FOLDER.absolute(), screen)
    screen.say("checking model, weights and knobs")
    base = _examine(experiment, report)
    drawn = _draw(experiment, base, trials)
    screen.say("building the trials' models")
    runs = [_planned(experiment, trial, report) for trial in drawn]
    plans = _in_training_process("plan_trials", _planned(experiment, Trial(0, {}), report), runs)
    return {
        "data": asdict(report),
        "base_values": base,
        "trials": [{"number": t.number, "values": t.values, **p} for t, p in zip(drawn, plans, strict=True)],
    }


def _draw(experiment: Experiment, base: Mapping[str, Any], count: int) -> list[Trial]:
    """The first trials as `start` would draw them before any result is known, from a study in memory."""
    in_memory = experiment.model_copy(
        update={"search": experiment.search.model_copy(update={"storage": "sqlite:///:memory:"})}
    )
    study = Study(_saved(in_memory, base), ExperimentFolder(Path("planned")))
    study.fill_queue()
    drawn = (study.next_trial() for _ in range(min(count, study.total)))
    return [trial for trial in drawn if trial is not None]


def _in_training_process(function: str, *arguments: object) -> Any:
    """Call a function of raypose.training.plan in a process of its own: the driver imports neither torch nor mmpose."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_call_plan, function, arguments).result()


def _call_plan(function: str, arguments: tuple[object, ...]) -> Any:
    from raypose.training import plan as training_plan  # only ever in the child process

    return getattr(training_plan, function)(*arguments)

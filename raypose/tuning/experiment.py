"""An experiment from its specification to its verdict: make it, go on with it. Runs in: driver.

`start` makes the record and then does what `resume` does; nothing else distinguishes a first run from a later one.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from raypose.datasets.mpii import Report
from raypose.errors import DataError, NoSpaceError, ResourceError, SpecError, WeightsError
from raypose.record.distinct import no_more
from raypose.record.files import is_full_disk
from raypose.record.folder import ExperimentFolder, check_name, create_experiment, find_experiment
from raypose.record.mend import mended
from raypose.record.origin import Origin, begin_from
from raypose.record.points import copied, different, imported, own_trials
from raypose.record.requests import forget_stop
from raypose.record.storage import check_storage
from raypose.record.study import Study, read_view
from raypose.record.view import PAGE, ExperimentView
from raypose.space.load import parse_spec
from raypose.space.schema import Experiment
from raypose.space.trust import require_trusted
from raypose.tracking.background import MirrorThread
from raypose.tracking.environment import environment
from raypose.tracking.store import open_store
from raypose.tuning.cluster import Capacity, capacity, cluster, stoppable
from raypose.tuning.estimate import estimate
from raypose.tuning.final import conclude, open_final
from raypose.tuning.lookout import watched
from raypose.tuning.prepare import DEMO_FOLDER, Screen, examine, measure, prepare_folders, run_of, training_process
from raypose.tuning.rounds import rounds
from raypose.tuning.run import run_trials

LISTED = 3
LAST_LOOK_S, A_TRIAL_S = 30.0, 0.02  # for MLflow to take all that it lacks, when there is nothing left to train
HURRIED_S = 5.0  # for MLflow when the process is to end: what it lacks it gets on restore


def start(
    experiment: Experiment,
    stem: str,
    mlruns: Path,
    name: str | None,
    take_over: str | None,
    address: str | None,
    screen: Screen,
    origin: Origin | None = None,
) -> ExperimentView:
    """Make an experiment and run it; `take_over` names one whose finished trials count as this one's.

    A single training goes on from the epoch of its `origin`, if that has one. Raises InputError before anything is made
    if something in it cannot work.
    """
    if name is not None:
        check_name(mlruns, name)
    open_store(mlruns)
    check_storage(experiment.search.storage)
    other = find_experiment(mlruns, take_over) if take_over else None
    folders = prepare_folders(experiment, DEMO_FOLDER.absolute(), screen)
    report = folders["data"]
    here = (address or os.environ.get("RAY_ADDRESS") or "local") == "local"  # elsewhere an epoch takes another time
    found = _check(experiment, report, screen, measured=here)
    saved: dict[str, Any] = {
        "uid": uuid.uuid4().hex[:8],  # tells it from any other that ever had its name
        "experiment": experiment.model_dump(mode="json"),
        "base_values": found["values"],
        "environment": environment(),
        **{key: found[key] for key in ("full_epochs", "config", "weights")},
        **{key: {"folder": str(each.folder), **_digests(each)} for key, each in folders.items()},
    }
    if origin:
        if origin.folder.saved["data"]["digest"] != report.digest:
            screen.say(f"warning: {report.folder} does not hold the data that {origin.name} was trained on")
        saved["origin"] = str(origin.epoch.folder) if origin.epoch else origin.name
    if other:
        saved["imported"] = imported(experiment, report.digest, read_view(other), other.saved["data"]["digest"])
    trials = own_trials(saved, experiment)
    if (most := different(saved, experiment)) is not None:
        screen.say(no_more(most, experiment.search.trials))
    screen.say("starting Ray")
    with cluster(address):
        room = _room(experiment, trials)
        saved["on_gpus"] = room.gpus_per_worker > 0
        if found["pace"]:
            took = estimate(experiment, trials, found["pace"], found["full_epochs"], room.lanes)
            screen.say(f"estimate: {took.text()}")
        begin = partial(begin_from, origin) if origin and origin.epoch else None
        folder = create_experiment(mlruns, name, stem, saved, copied(saved, experiment), begin)
        with folder.held():
            return _work(Study(saved, folder), report, screen)


def resume(folder: ExperimentFolder, address: str | None, screen: Screen) -> ExperimentView:
    """Run what is left of an experiment, from its record alone."""
    folder = folder.parent or folder
    folder.require_own()
    saved = folder.saved
    experiment = parse_spec(saved["experiment"], empty_space=True)
    require_trusted(experiment)
    with folder.held():
        forget_stop(folder.path)  # nobody was there to hear it
        folders = prepare_folders(experiment, Path(saved["data"]["folder"]), screen)
        report = folders["data"]
        for key, each in folders.items():
            if changed := each.changed(saved[key]["parts"]):
                what = f"{key}: {each.folder} no longer holds what {folder.name} began with"
                raise DataError(f"{what}: {', '.join(changed)} changed; put it back, or start a new experiment")
        study, lost = mended(saved, folder)
        lost += mended(folder.final.saved, folder.final)[1] if folder.final.exists else []
        for line in lost:
            screen.say(f"warning: {line}")
        if study.view(worked_on=False).state == "finished":
            return _mirror_all(study, screen)
        _require_same(saved, _check(experiment, report, screen), folder.name)
        screen.say("starting Ray")
        with cluster(address):
            if saved["on_gpus"] and not _room(experiment, 1).gpus_per_worker:
                raise ResourceError(f"{folder.name} began on GPUs, and here are none; join a cluster that has some")
            return _work(study, report, screen)


def _digests(report: Report) -> dict[str, Any]:
    return {"digest": report.digest, "parts": dict(report.parts)}


def _check(experiment: Experiment, report: Report, screen: Screen, measured: bool = False) -> dict[str, Any]:
    """What the training stage knows of the experiment, with the `pace` of an epoch where that is to be measured."""
    screen.say("checking model, weights and knobs")
    with training_process() as ask:
        found = examine(ask, experiment, report)
        return {**found, "pace": measure(ask, experiment, report) if measured else None}


def _require_same(saved: Mapping[str, Any], found: Mapping[str, Any], name: str) -> None:
    """Raise InputError, which says what changed, unless config and weights are those that the experiment began with."""
    before, now = saved["config"], found["config"]
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    changed = [f"{key} was {before.get(key, 'not there')} and is {now.get(key, 'not there')}" for key in keys[:LISTED]]
    if changed:
        more = f"; and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
        text = f"model: the base config is not the one that {name} began with: {'; '.join(changed)}{more}"
        raise SpecError([f"{text}; put it back, or start a new experiment"])
    if saved["weights"] != found["weights"]:
        given = saved["experiment"]["weights"]
        raise WeightsError(f"weights: {given}: not what {name} began with; put them back, or start a new experiment")


def _work(study: Study, report: Report, screen: Screen) -> ExperimentView:
    """Run the trials that the study still wants, then its final, on a cluster that is there."""
    with stoppable(study.folder.name):
        study.fill_queue()
        _run(study, report, screen)
        if study.experiment.final:
            final = open_final(study)
            final.fill_queue()
            _run(final, report, screen)
            screen.say("comparing the repetitions")
            conclude(final, report, _room(final.experiment, 1))
        return _mirror_all(study, screen)


def _run(study: Study, report: Report, screen: Screen) -> None:
    if not study.unfinished:
        return
    room = _room(study.experiment, study.unfinished)
    screen.say(f"starting the workers of {room.lanes} concurrent trials")
    root = study.folder.parent or study.folder
    gpus = room.lanes * room.workers * room.gpus_per_worker
    with rounds(root.path, study.meter, gpus), _mirrored(study, screen) as changed:
        try:
            run_trials(study, lambda trial: run_of(study.experiment, trial, report, room, study.folder), room, changed)
        except Exception as fault:  # a full disk makes Optuna, SQLAlchemy, Ray and the system fail, each in its own way
            if is_full_disk(fault):
                text = f"{root.path}: the disk is full; free some, and `raypose restore {root.name}` goes on"
                raise NoSpaceError(text) from fault
            raise


def _mirror_all(study: Study, screen: Screen) -> ExperimentView:
    """Write the report and complete MLflow, with the end of the search and of its final."""
    _report(study.view(worked_on=False), screen)
    final = study.folder.final
    for each in [study, *([Study(final.saved, final)] if final.exists else [])]:
        with _mirrored(each, screen, working=False):
            pass
    return study.view(worked_on=False)


def _report(view: ExperimentView, screen: Screen) -> None:
    """Write the experiment's page beside its record, from where the mirror takes it; nothing trained can fail by it."""
    from raypose.report.page import write  # here, as its libraries take seconds that no trial shall wait for

    page = view.folder / PAGE
    screen.say(f"writing the report: {page}")
    try:
        write([view], page)
    except Exception as fault:  # noqa: BLE001  a library that draws fails in its own ways, and all is recorded
        reason = f"{type(fault).__name__}: {fault}".splitlines()[0]
        screen.say(f"there is no report ({reason}); `raypose report {view.name}` tries again")


@contextmanager
def _mirrored(study: Study, screen: Screen, working: bool = True) -> Iterator[Callable[[], None]]:
    """Show every change on the screen and in MLflow; yields what is to be called after a change."""
    at_work, wait_s = [working], 0.5 if working else LAST_LOOK_S + A_TRIAL_S * study.drawn
    look = study.glance if working else study.view

    def read() -> ExperimentView:
        return look(worked_on=at_work[0])

    mirror = MirrorThread(open_store(study.folder.mlruns), read, study.set_run_ids)
    screen.show(read())
    mirror.poke()
    try:
        with watched(lambda: screen.show(read())) as seen:

            def changed() -> None:
                seen()
                mirror.poke()

            yield changed
    except BaseException:
        at_work[0], wait_s = False, HURRIED_S  # after a good end there may be a final to come
        raise
    finally:
        behind = mirror.close(wait_s)
        if behind and not at_work[0]:  # or else training goes on, or `_mirror_all` comes, which brings the rest
            screen.say(f"MLflow is not complete ({behind}); `raypose restore {study.folder.name}` completes it")


def _room(experiment: Experiment, trials: int) -> Capacity:
    """What the cluster holds. Raises InputError if the experiment cannot run on it."""
    room = capacity(experiment.resources, trials)
    if experiment.train.amp and not room.gpus_per_worker:
        raise SpecError(["train.amp: mixed precision needs a GPU; set it to false"])
    if experiment.search.gpu_hours is not None and not room.gpus_per_worker:
        raise SpecError(["search.gpu_hours: the trials hold no GPU, so it would never be spent; write search.hours"])
    return room

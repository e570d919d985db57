"""What is known before the first trial: the data, the base config's values, each trial's Run. Runs in: driver.

The driver imports neither torch nor mmpose: questions to the training stage are answered in a process of their own.
"""

import importlib
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from raypose.datasets.demo import DEMO_FOLDER as DEMO_FOLDER  # for the driver
from raypose.datasets.demo import ensure_demo
from raypose.datasets.mpii import Report, require_sound
from raypose.errors import SpecError
from raypose.record.folder import ExperimentFolder
from raypose.record.view import ExperimentView
from raypose.space.domain import Choice
from raypose.space.run import Run
from raypose.space.schema import Experiment
from raypose.space.trial import Trial
from raypose.tuning.cluster import Capacity

Ask = Callable[..., Any]


class Screen(Protocol):
    """Whoever tells the user how things stand."""

    def say(self, text: str) -> None:
        """What is being done now."""

    def progress(self, done: int, total: int) -> None:
        """How far the thing last said has come."""

    def show(self, view: ExperimentView) -> None:
        """How the trials stand."""


def prepare_data(experiment: Experiment, demo: Path, screen: Screen) -> Report:
    """The data folder, sound, beside sound test data."""
    return prepare_folders(experiment, demo, screen)["data"]


def prepare_folders(experiment: Experiment, demo: Path, screen: Screen) -> dict[str, Report]:
    """`data`, and `test` if that is a folder, sound; the demo set is rendered into `demo` if it is not there.

    Raises SpecError if both hold the same.
    """
    folder = demo if experiment.data == "demo" else Path(experiment.data)
    test = Path(experiment.test) if isinstance(experiment.test, str) else None
    if test and test.resolve() == folder.resolve():
        raise _seen(test)
    unseen = {"test": require_sound(test)} if test else {}
    if experiment.data == "demo":
        screen.say(f"preparing the demo set in {demo}")
        ensure_demo(demo, on_progress=screen.progress)
    report = require_sound(folder, experiment.failure.bad_images)
    if report.unreadable:
        screen.say(f"warning: {report.unreadable} training images are left out; see: raypose data check {folder}")
    if test and unseen["test"].digest == report.digest:
        raise _seen(test)
    return {"data": report, **unseen}


def _seen(test: Path) -> SpecError:
    return SpecError(
        [
            f"test: {test} holds the data that trials are trained and chosen by; name another folder, "
            "or a share of the validation images, such as 0.2"
        ]
    )


def run_of(experiment: Experiment, trial: Trial, report: Report, room: Capacity, folder: ExperimentFolder) -> Run:
    """The training of one trial; it holds plain values only, as it goes to other machines."""
    settings = experiment.train
    return Run(
        model=experiment.model,
        weights=experiment.weights,
        values=dict(trial.values),
        metric=experiment.primary,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        loader_workers=room.loaders if settings.loader_workers == "auto" else settings.loader_workers,
        amp=settings.amp,
        seed=trial.seed,
        workers=room.workers,
        gpu=room.gpus_per_worker > 0,
        data=report.folder,
        train_people=report.train_people,
        folder=folder.trial(trial.number),
        accumulation=settings.accumulation,
        lr_rule=experiment.lr_rule.rule,
        reference_batch=experiment.lr_rule.reference_batch,
        schedule=settings.schedule,
        held_out=experiment.test if isinstance(experiment.test, float) else 0.0,
        retest=folder.parent is not None,
        bad_images=experiment.failure.bad_images,
        fast_transforms=settings.transforms == "fast",
        channels_last=not room.gpus_per_worker if settings.channels_last == "auto" else settings.channels_last,
        fused=settings.fused,
        data_digest=report.digest,
        cache_bytes=round(settings.cache_gb * 1e9),
        cached_views=0 if folder.parent else settings.cached_views,  # a final's repetitions draw anew in every epoch
    )


def planned(experiment: Experiment, trial: Trial, report: Report, gpus: int = 0) -> Run:
    """A trial's run as far as it can be known without a cluster, on a machine with so many GPUs."""
    wanted = experiment.resources
    each = float(gpus > 0) if wanted.gpus_per_worker == "auto" else wanted.gpus_per_worker
    room = Capacity(1, wanted.workers, wanted.cpus_per_worker, each, (os.cpu_count() or 1) / max(1, gpus))
    return run_of(experiment, trial, report, room, ExperimentFolder(Path("planned")))


def examine(ask: Ask, experiment: Experiment, report: Report) -> dict[str, Any]:
    """The base config's own values of all knobs and its epochs, and the proof that all choices can be built."""
    space = experiment.space
    knobs = [key for name, domain in space.items() for key in (name, *domain.also)]
    run = planned(experiment, Trial(0, experiment.fixed), report)
    names = [name for name, _ in experiment.objectives]
    found: dict[str, Any] = ask("plan.examine", run, knobs, freeze_choices(experiment), names)
    return found


def measure(ask: Ask, experiment: Experiment, report: Report) -> dict[str, Any] | None:
    """The pace of an epoch of the base config's own values; None where this machine cannot tell."""
    run = planned(experiment, Trial(0, experiment.fixed, experiment.search.seed), report, ask("pace.gpus"))
    measured: dict[str, Any] | None = ask("pace.pace", run, experiment.resources.cpus_per_worker)
    return measured


def freeze_choices(experiment: Experiment) -> list[str]:
    """All values that the knob freeze may take, also those of starting points outside its space."""
    domain = experiment.space.get("freeze")
    drawn = domain.options if isinstance(domain, Choice) else ()
    given = [point["freeze"] for point in experiment.search.start if "freeze" in point]
    return list(dict.fromkeys(str(choice) for choice in (*drawn, *given)))


@contextmanager
def training_process() -> Iterator[Ask]:
    """Yields what calls `module.function` of raypose.training with arguments, in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), warnings.simplefilter, ("ignore",)) as pool:
        yield lambda function, *arguments: pool.submit(_call, function, arguments).result()


def _call(function: str, arguments: tuple[object, ...]) -> Any:
    module, name = function.split(".")
    return getattr(importlib.import_module(f"raypose.training.{module}"), name)(*arguments)

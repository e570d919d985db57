"""What a trial's pipeline and its weights make of people, found out in a process of their own. Runs in: driver."""

from collections.abc import Mapping
from pathlib import Path

from raypose.datasets.browse import BrowsedPart, Guess
from raypose.datasets.mpii import Report, require_sound
from raypose.datasets.portrait import Portrait
from raypose.record.subject import find_subject
from raypose.space.knobs import Value
from raypose.space.load import parse_spec
from raypose.space.run import Run
from raypose.space.schema import Experiment
from raypose.space.trial import Trial
from raypose.tuning.plan import draw
from raypose.tuning.prepare import DEMO_FOLDER, Ask, Screen, examine, planned, prepare_data, training_process


def see_augmented(
    experiment: Experiment, number: int, part: BrowsedPart, count: int, seed: int, epoch: int, screen: Screen
) -> tuple[Mapping[str, Value], list[Portrait]]:
    """The values of a trial, as `raypose plan` draws it, and people as they leave its pipeline in an epoch."""
    report = prepare_data(experiment, DEMO_FOLDER.absolute(), screen)
    with training_process() as ask:
        run = _drawn(ask, experiment, number, report, screen)
        screen.say("running the trial's pipeline")
        return run.values, ask("browse.augmented", run, part, count, seed, epoch)


def see_hardest(
    experiment: Experiment, number: int, count: int, screen: Screen
) -> tuple[dict[str, float], list[Guess]]:
    """How an experiment's weights do in a trial's model on the validation people, and those they fail on most."""
    report = prepare_data(experiment, DEMO_FOLDER.absolute(), screen)
    with training_process() as ask:
        run = _drawn(ask, experiment, number, report, screen)
        return _hardest(ask, run, count, screen)


def see_hardest_of_experiment(
    mlruns: Path, name: str, data: Path, count: int, screen: Screen
) -> tuple[str, dict[str, float], list[Guess]]:
    """The same of a trained trial, EXP/N, or of the winner, EXP; with its name.

    Raises ExperimentError if there is none, or it has no weights.
    """
    subject = find_subject(mlruns, name)
    report = require_sound(data)
    # The config's own schedule, whatever it is, as no step of it is made.
    alone = {"model": subject.model, "weights": subject.weights, "space": {}, "train": {"schedule": "full"}}
    experiment = parse_spec(alone, empty_space=True)
    with training_process() as ask:
        metrics, guesses = _hardest(ask, planned(experiment, Trial(0, subject.values, 0), report), count, screen)
    return subject.name, metrics, guesses


def _drawn(ask: Ask, experiment: Experiment, number: int, report: Report, screen: Screen) -> Run:
    screen.say("checking model, weights and knobs")
    found = examine(ask, experiment, report)
    (trial,) = draw(experiment, found["values"], [number])
    return planned(experiment, trial, report)


def _hardest(ask: Ask, run: Run, count: int, screen: Screen) -> tuple[dict[str, float], list[Guess]]:
    screen.say("evaluating the validation people")
    found: tuple[dict[str, float], list[Guess]] = ask("browse.hardest", run, count)
    return found

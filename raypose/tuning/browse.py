"""What a trial's pipeline and its weights make of people, found out in a process of their own. Runs in: driver."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from raypose.datasets.browse import BrowsedPart, Guess
from raypose.datasets.mpii import Report
from raypose.datasets.portrait import Portrait
from raypose.errors import ExperimentError
from raypose.record.folder import find_experiment
from raypose.record.study import read_view
from raypose.record.view import TrialView
from raypose.space.knobs import Value
from raypose.space.load import parse_spec
from raypose.space.run import Run
from raypose.space.schema import Experiment
from raypose.space.trial import Trial
from raypose.space.trust import require_trusted
from raypose.tuning.plan import draw
from raypose.tuning.prepare import DEMO_FOLDER, Ask, Screen, examine, planned, prepare_data, training_process

WEIGHTS = "weights.pth"


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
    """The same of a trained trial, EXP/N, or of the best one, EXP; with its name, `EXP/N epoch E`.

    Raises ExperimentError if there is none, or it has no weights.
    """
    stem, _, number = name.rpartition("/")
    one = stem and number.isdigit()
    folder = find_experiment(mlruns, stem if one else name)
    folder.require_own()
    experiment = parse_spec(folder.saved["experiment"], empty_space=True).model_copy(update={"data": str(data)})
    require_trusted(experiment)
    view = read_view(folder)
    trial = next((t for t in view.trials if t.number == int(number)), None) if one else view.best
    checkpoint = trial.checkpoint if trial else None
    if trial is None or checkpoint is None:
        raise ExperimentError(f"{name}: {_lack(trial, one)}; `raypose show {folder.name}` shows its trials")
    report = prepare_data(experiment, DEMO_FOLDER.absolute(), screen)
    run = planned(experiment, Trial(trial.number, trial.values, trial.seed), report)
    with training_process() as ask:
        metrics, guesses = _hardest(ask, replace(run, weights=str(checkpoint / WEIGHTS)), count, screen)
    return f"{folder.name}/{trial.number} epoch {trial.best_epoch}", metrics, guesses


def _lack(trial: TrialView | None, one: bool | str) -> str:
    if trial is not None:
        return "has no finished epoch with weights"
    return "there is no such trial" if one else "no trial has a figure yet"


def _drawn(ask: Ask, experiment: Experiment, number: int, report: Report, screen: Screen) -> Run:
    screen.say("checking model, weights and knobs")
    found = examine(ask, experiment, report)
    (trial,) = draw(experiment, found["values"], [number])
    return planned(experiment, trial, report)


def _hardest(ask: Ask, run: Run, count: int, screen: Screen) -> tuple[dict[str, float], list[Guess]]:
    screen.say("evaluating the validation people")
    found: tuple[dict[str, float], list[Guess]] = ask("browse.hardest", run, count)
    return found

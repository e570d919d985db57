"""What a study is given before it draws: the base config, starting points, a grid, others' trials. Runs in: driver."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from raypose.errors import SpecError
from raypose.record.distinct import Tried, count, whole
from raypose.record.sampling import grid
from raypose.record.view import ExperimentView
from raypose.space.conditions import draw_order, holds
from raypose.space.knobs import Value, same
from raypose.space.schema import Experiment

# What a figure depends on besides the knobs: trials that differ in one of these cannot be compared.
SAME = ("model", "weights", "metric", "mode", "fixed", "lr_rule", "train", "test", "resources")


class Source(TypedDict):
    """The trial of another experiment that is taken over as it was evaluated.

    `folder` holds its record, which is copied, and `origin` its weights: it may have been taken over there itself.
    """

    trial: str
    folder: str
    origin: str
    state: str


class Point(TypedDict, total=False):
    """Values given to a trial, by knob; what is missing is drawn. `seed` is its own, where it is not the search's.

    `repeats` is the trial of the search that one of a final trains again.
    """

    given: dict[str, Value]
    source: Source
    repeats: int
    seed: int


def points(saved: Mapping[str, Any], experiment: Experiment) -> list[Point]:
    """All that a study is given, in the order of its trials; trial 0 is the base config, and none is there twice."""
    if "points" in saved:
        repeated: list[Point] = saved["points"]
        return repeated
    base, taken = saved["base_values"], saved.get("imported", [])
    given, tried = [base], tried_by(saved, experiment, [{"given": base}, *taken])
    for point in _to_try(experiment):
        values = whole(experiment, point)
        if values is None:
            given.append(point)
        elif values not in tried:
            given.append(point)
            tried.add(values)
    return [*({"given": values} for values in given[: experiment.search.trials]), *taken]


def _to_try(experiment: Experiment) -> list[Mapping[str, Value]]:
    """Starting points, and a grid; what a starting point leaves open is then the grid's."""
    start: list[Mapping[str, Value]] = list(experiment.search.start)
    if experiment.search.sampler != "grid":
        return start
    every = grid(experiment)
    return [*(next((each for each in every if _agree(each, point)), point) for point in start), *every]


def _agree(point: Mapping[str, Value], given: Mapping[str, Value]) -> bool:
    return all(name in point and same(point[name], value) for name, value in given.items())


def tried_by(saved: Mapping[str, Any], experiment: Experiment, given: Iterable[Point]) -> Tried:
    """The values of those points that leave nothing open."""
    tried = Tried(saved["base_values"])
    for point in given:
        values = whole(experiment, point["given"])
        if values is not None:
            tried.add(values)
    return tried


def own_trials(saved: Mapping[str, Any], experiment: Experiment) -> int:
    """How many trials there will be beside those taken over: a grid's, or all that are asked for and differ."""
    if experiment.search.sampler == "grid":
        return len(_own(saved, experiment))
    return different(saved, experiment) or experiment.search.trials


def different(saved: Mapping[str, Any], experiment: Experiment) -> int | None:
    """How many different trials a search can have beside those it takes over, if these are fewer than it asks for."""
    if experiment.search.sampler == "grid":
        return None
    tried = tried_by(saved, experiment, points(saved, experiment))
    found = count(experiment, tried, [point["given"] for point in _own(saved, experiment)])
    return None if found is None or found >= experiment.search.trials else found


def _own(saved: Mapping[str, Any], experiment: Experiment) -> list[Point]:
    return [point for point in points(saved, experiment) if "source" not in point]


def copied(saved: Mapping[str, Any], experiment: Experiment) -> dict[int, Path]:
    """Of each trial that is taken over its number and the folder of the record to copy."""
    given = enumerate(points(saved, experiment))
    return {number: Path(point["source"]["folder"]) for number, point in given if "source" in point}


def imported(experiment: Experiment, digest: str, other: ExperimentView, other_digest: str) -> list[Point]:
    """The finished trials of another experiment that this one could have drawn.

    Raises SpecError if its figures mean something else, or none of its trials has the same knobs.
    """
    ours = experiment.model_dump(mode="json")
    differ = [key for key in SAME if ours[key] != other.spec.get(key)] + ["data"] * (digest != other_digest)
    if differ:
        raise SpecError([f"--from {other.name}: differs in {', '.join(differ)}; its figures cannot be compared"])
    found: list[Point] = [
        {
            "given": dict(trial.values),
            "seed": trial.seed,
            "source": {
                "trial": f"{other.name}/{trial.number}",
                "folder": str(trial.folder),
                "origin": str(trial.origin or trial.folder),
                "state": trial.state,
            },
        }
        for trial in other.trials
        if trial.state in ("complete", "pruned") and _could_be_drawn(experiment, trial.values)
    ]
    if not found:
        raise SpecError([f"--from {other.name}: none of its finished trials has the knobs and values of this space"])
    return found


def _could_be_drawn(experiment: Experiment, values: Mapping[str, Value]) -> bool:
    space, seen = experiment.space, dict(experiment.fixed)
    for name in draw_order(space):
        if holds(space[name].when, seen):
            if name not in values or not space[name].contains(values[name]):
                return False
            seen |= {key: values[name] for key in (name, *space[name].also)}
    return seen == dict(values)

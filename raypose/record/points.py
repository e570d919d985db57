"""What a study is given before it draws: the base config, starting points, a grid, others' trials. Runs in: driver."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from raypose.errors import SpecError
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
    """All that a study is given, in the order of its trials; trial 0 is the base config."""
    if "points" in saved:
        repeated: list[Point] = saved["points"]
        return repeated
    given = [saved["base_values"], *experiment.search.start]
    if experiment.search.sampler == "grid":
        given += [
            point for point in grid(experiment) if not any(_is_point(experiment, point, tried) for tried in given)
        ]
    return [*({"given": values} for values in given[: experiment.search.trials]), *saved.get("imported", [])]


def _is_point(experiment: Experiment, point: Mapping[str, Value], tried: Mapping[str, Value]) -> bool:
    """Whether values that were given, perhaps with more of knobs that do not exist there, are a point of the grid."""
    return all(
        key in tried and same(tried[key], value)
        for name, value in point.items()
        for key in (name, *experiment.space[name].also)
    )


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

"""A single training: an experiment of one trial, whose values are all given. Runs in: command line."""

from collections.abc import Mapping
from typing import Any

from raypose.space.load import parse_spec
from raypose.space.schema import Experiment


def single(experiment: Experiment, repeated: Mapping[str, Any], given: Mapping[str, Any]) -> Experiment:
    """The training of one set of values: what the file holds fixed, below a repeated trial's, below those given.

    A value that is given goes to all keys that follow its knob in the file. Raises SpecError for values that are none.
    """
    tied = {key: given[name] for name, domain in experiment.space.items() if name in given for key in domain.also}
    plain = experiment.model_dump(mode="json")
    search = {"trials": 1, "sampler": "random", "seed": experiment.search.seed, "storage": experiment.search.storage}
    alone = {"space": {}, "search": search, "prune": {"pruner": "none"}, "final": None}
    held = {**experiment.fixed, **repeated, **tied, **given}
    return parse_spec({**plain, **alone, "fixed": held}, empty_space=True)


def differences(one: Experiment, other: Mapping[str, Any]) -> list[str]:
    """The keys in which an experiment differs from the saved copy of another one, such as `train.epochs`."""
    ours, theirs = _flat(one.model_dump(mode="json")), _flat(other)
    return [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]


def _flat(plain: Mapping[str, Any]) -> dict[str, Any]:
    sections = {key: value for key, value in plain.items() if isinstance(value, dict) and key != "space"}
    within = {f"{key}.{name}": value for key, section in sections.items() for name, value in section.items()}
    return {**{key: value for key, value in plain.items() if key not in sections}, **within}

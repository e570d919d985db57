"""Optuna's samplers and pruners for a specification. Runs in: driver.

A sampler is made anew for every knob of every trial and seeded by both: what it draws is a function of the study alone,
so no state of it can be lost in a crash, not even between two knobs of a trial.
"""

import itertools
import random
import warnings

import optuna

from raypose.record.halving import Halving, Hyperband
from raypose.record.recent import RecentTPE
from raypose.space.conditions import draw_order, holds
from raypose.space.knobs import Value
from raypose.space.schema import Experiment
from raypose.space.sections import Prune


def sampler(experiment: Experiment, place: str) -> optuna.samplers.BaseSampler:
    """The sampler that draws at one `place`, a knob of a trial."""
    seed = random.Random(f"{experiment.search.seed}/{place}").getrandbits(32)
    match experiment.search.sampler:
        case "tpe":  # grouped, so that trial 0 may lie outside the space in one knob without spoiling the others
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return RecentTPE(seed=seed, multivariate=True, group=True, n_startup_trials=5)
        case "gp":
            return optuna.samplers.GPSampler(seed=seed)
        case "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed)
        case "random" | "grid":  # a grid's points are enqueued, and nothing is left to draw
            return optuna.samplers.RandomSampler(seed=seed)


def only(values: dict[str, Value]) -> optuna.samplers.BaseSampler:
    """The sampler that draws these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.PartialFixedSampler(values, optuna.samplers.RandomSampler())


def grid(experiment: Experiment) -> list[dict[str, Value]]:
    """All points of the space, without knobs whose condition fails, in a random order that follows from the seed."""
    axes = [
        [(name, domain.value(index)) for index in range(domain.count or 0)] for name, domain in experiment.space.items()
    ]
    order = draw_order(experiment.space)
    points = []
    for drawn in map(dict, itertools.product(*axes)):
        values: dict[str, Value] = dict(experiment.fixed)
        for name in order:
            if holds(experiment.space[name].when, values):
                values[name] = drawn[name]
        points.append({name: values[name] for name in drawn if name in values})
    unique = list({tuple(point.items()): point for point in points}.values())
    random.Random(experiment.search.seed).shuffle(unique)
    return unique


def pruner(prune: Prune, epochs: int) -> optuna.pruners.BasePruner:
    """The pruner; steps are epochs from 1."""
    first = prune.first(epochs)
    match prune.pruner:
        case "asha":
            return Halving(first, prune.reduction)
        case "hyperband":
            return Hyperband(first, epochs, prune.reduction)
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=first)
        case "none":
            return optuna.pruners.NopPruner()

"""The values of one trial, drawn knob by knob. Runs in: driver."""

from collections.abc import Callable

import optuna

from raypose.space.conditions import draw_order, holds
from raypose.space.domain import Choice, Domain
from raypose.space.knobs import Value
from raypose.space.schema import Experiment


def drawn_values(experiment: Experiment, trial: optuna.Trial, seed: Callable[[str], None]) -> dict[str, Value]:
    """The trial's values, those of them drawn that it was not given; `seed` is called with each knob before."""
    given: dict[str, Value] = trial.user_attrs.get("given", {})
    space, values = experiment.space, dict(experiment.fixed)
    for name in draw_order(space):
        domain = space[name]
        if not holds(domain.when, values):
            continue
        outside = name in given and not domain.contains(given[name])
        seed(name)
        values[name] = given[name] if outside else _suggest(trial, name, domain)
        values |= {key: given.get(key, values[name]) for key in domain.also}
    return values


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Value:
    if isinstance(domain, Choice):
        choice: Value = trial.suggest_categorical(name, domain.options)
        return choice
    if domain.integer:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log, step=domain.step)

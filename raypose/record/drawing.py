"""The values of one trial, drawn knob by knob, until they are none that another trial has. Runs in: driver."""

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import optuna
from optuna.samplers import BaseSampler

from raypose.record.distinct import Tried, left, whole
from raypose.record.memory import StudyMemory
from raypose.record.sampling import only, sampler
from raypose.space.conditions import draw_order, holds
from raypose.space.domain import Choice, Domain
from raypose.space.knobs import Value
from raypose.space.schema import Experiment

AGAIN: Final = 10
"""How often the sampler is asked anew before chance decides among what is left."""


class Drawing:
    """Draws what is not given to a trial; `tried` has what others have, and gets what is drawn."""

    def __init__(self, experiment: Experiment, study: optuna.Study, memory: StudyMemory, tried: Tried) -> None:
        self._experiment, self._study, self._memory, self._tried = experiment, study, memory, tried

    def draw(self, number: int) -> tuple[optuna.Trial, dict[str, Value]]:
        """The trial with its values: a function of its number and of the trials before, so that a crash loses none.

        Samplers do not look whether a point has been tried. What they would repeat is drawn again, and in the end by
        chance among what is left. Only what was given is trained a second time, if nothing is left beside it.
        """
        before = self._memory.get_trial(number).user_attrs
        given: Mapping[str, Value] = before.get("given", {})
        take_back = self._memory.savepoint(number)
        trial, values = self._by(number, given, partial(self._sampler, number))
        if "values" not in before and whole(self._experiment, given) is None:
            for again in range(1, AGAIN + 1):
                if values not in self._tried:
                    break
                take_back()
                trial, values = self._by(number, given, partial(self._sampler, number, again=again))
            if values in self._tried and (untried := self._untried(number, given)):
                take_back()
                trial, values = self._by(number, given, lambda knob: only(untried))
        self._tried.add(values)
        return trial, values

    def _sampler(self, number: int, knob: str, again: int = 0) -> BaseSampler:
        """What is drawn follows from the trial and the knob, and not from how many were drawn before."""
        return sampler(self._experiment, f"{number}/{knob}" + (f"/{again}" if again else ""))

    def _untried(self, number: int, given: Mapping[str, Value]) -> dict[str, Value] | None:
        chance = random.Random(f"{self._experiment.search.seed}/{number}")
        return next(left(self._experiment, self._tried, given, chance), None)

    def _by(
        self, number: int, given: Mapping[str, Value], sampler_of: Callable[[str], BaseSampler]
    ) -> tuple[optuna.Trial, dict[str, Value]]:
        """The trial's values, those of them drawn that it was not given, each by the sampler of its knob."""
        trial = optuna.Trial(self._study, number)
        space, values = self._experiment.space, dict(self._experiment.fixed)
        for name in draw_order(space):
            domain = space[name]
            if not holds(domain.when, values):
                continue
            outside = name in given and not domain.contains(given[name])
            self._study.sampler = sampler_of(name)
            values[name] = given[name] if outside else _suggest(trial, name, domain)
            values |= {key: given.get(key, values[name]) for key in domain.also}
        return trial, values


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Value:
    if isinstance(domain, Choice):
        choice: Value = trial.suggest_categorical(name, domain.options)
        return choice
    if domain.integer:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log, step=domain.step)

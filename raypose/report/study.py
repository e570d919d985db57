"""The trials of a record as a study in memory that Optuna's figures can draw. Runs in: command line, driver.

The record's own study lacks values that lie outside the space, as the base config's often do, and takes a pruned trial
for one without a figure. Values of a choice become text here: safe in HTML, and comparable.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from raypose.record.trial_view import STATES
from raypose.record.view import ExperimentView, TrialView
from raypose.space.knobs import Value, shown

Figures = Callable[[TrialView], Sequence[float] | None]
_STATES = {word: state for state, word in STATES.items()}


def best_figure(trial: TrialView) -> Sequence[float] | None:
    """A trial's best figure, also of one that was pruned; None if it has none that counts, or is not at its end."""
    ended = trial.state in ("complete", "pruned")
    return [trial.best] if ended and trial.best is not None else None


def memory_study(view: ExperimentView, figures: Figures = best_figure, modes: Sequence[str] = ("max",)) -> optuna.Study:
    """All trials by their numbers; those with `figures` are complete, all others in their own state without any."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directions = [StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE for mode in modes]
    study = optuna.create_study(directions=directions)
    axes = {name: _Axis(name, view) for name in view.varied}
    study.add_trials(_frozen(trial, axes, figures(trial)) for trial in view.trials)
    return study


class _Axis:
    """One knob as Optuna draws it: wide enough for the values that its trials were given."""

    def __init__(self, name: str, view: ExperimentView) -> None:
        space: Any = view.spec["space"]
        tried = (trial.values[name] for trial in view.trials if name in trial.values)
        self._values = list(dict.fromkeys([*space[name].get("choice", ()), *tried]))
        self._labels = _labels(self._values)
        self.distribution = _distribution(space[name], self._values, self._labels)

    def place(self, value: Value) -> Any:
        """A trial's value on this axis."""
        is_choice = isinstance(self.distribution, CategoricalDistribution)
        return self._labels[self._values.index(value)] if is_choice else value


def _labels(values: Sequence[Value]) -> list[str]:
    """One text for each value, as a person would write it, and no two alike."""
    texts = [html.escape(shown(value)) for value in values]
    return [f"{text} ({place})" if texts.count(text) > 1 else text for place, text in enumerate(texts, 1)]


def _distribution(domain: Mapping[str, Any], values: Sequence[Any], labels: Sequence[str]) -> BaseDistribution:
    bounds = next((domain[key] for key in domain if key.endswith("uniform")), None)
    if bounds is None or any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return CategoricalDistribution(labels)
    low, high = min(*bounds, *values), max(*bounds, *values)
    log = any("log" in key for key in domain) and low > 0
    if all(isinstance(number, int) for number in (low, high, *values)):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _frozen(trial: TrialView, axes: Mapping[str, _Axis], figures: Sequence[float] | None) -> FrozenTrial:
    """A complete trial without figures has failed to Optuna: it has no place in its figures."""
    params = {name: axis.place(trial.values[name]) for name, axis in axes.items() if name in trial.values}
    own = TrialState.FAIL if trial.state == "complete" else _STATES[trial.state]
    return create_trial(
        state=TrialState.COMPLETE if figures else own,
        values=figures,
        params=params,
        distributions={name: axes[name].distribution for name in params},
    )

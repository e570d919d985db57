"""TPE that looks at no more trials than its model gains from. Runs in: driver.

Optuna's TPE models the 25 best trials against all others, of which it trusts the older ones less and less. To draw one
trial beside 10,000 others takes it a tenth of a second or two, nearly all of it for those.
"""

from collections.abc import Container, Iterable, Sequence
from heapq import nlargest
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

BEST, LATEST = 25, 500
"""How many of the complete trials TPE takes for the good ones at most, and how many others it sees of each kind."""


class RecentTPE(optuna.samplers.TPESampler):
    """Optuna's TPE over the best trials, the latest that have ended and the latest that run; the same below 500.

    What it has looked at for a trial it does not look at again for the same one.
    """

    _drawing, _found = -1, list[FrozenTrial]()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The knobs that are drawn together."""
        return super().infer_relative_search_space(self._recent(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values of those."""
        return super().sample_relative(self._recent(study, trial), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of one that is drawn alone."""
        return super().sample_independent(self._recent(study, trial), trial, param_name, param_distribution)

    def _recent(self, study: optuna.Study, trial: FrozenTrial) -> optuna.Study:
        if trial.number != self._drawing:
            self._found = that_matter(study.get_trials(deepcopy=False), study.directions)
            self._drawing = trial.number
        return cast(optuna.Study, _Recent(study, self._found))


class _Recent:
    """A study in which a sampler finds only these trials."""

    def __init__(self, study: optuna.Study, found: list[FrozenTrial]) -> None:
        self._study, self._found = study, found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] = tuple(TrialState), use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._found if trial.state in states]


def that_matter(trials: Iterable[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """The best of these trials in each objective, and the latest, in their order; a function of the trials alone."""
    of_state: dict[TrialState, list[FrozenTrial]] = {state: [] for state in TrialState}
    for trial in trials:
        of_state[trial.state].append(trial)
    complete, running = of_state[TrialState.COMPLETE], of_state[TrialState.RUNNING]
    ended = sorted([*complete, *of_state[TrialState.PRUNED]], key=lambda t: t.number)
    kept = {t.number: t for t in [*ended[-LATEST:], *running[-LATEST:]]}
    for index, direction in enumerate(directions):
        sign = 1 if direction == StudyDirection.MAXIMIZE else -1
        kept |= {t.number: t for t in nlargest(BEST, complete, key=lambda t: sign * t.values[index])}
    return [kept[number] for number in sorted(kept)]

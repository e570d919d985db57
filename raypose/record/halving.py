"""Successive halving as a function of the epochs that the study holds. Runs in: driver.

Optuna's own pruners note in the study that a trial has passed a rung before anybody knows the verdict: a driver killed
between the two lets the trial run on. Here nothing is noted, so whoever asks again hears the same.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Callable
from weakref import WeakKeyDictionary

import optuna
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

Rivals = Callable[[optuna.Study, FrozenTrial], bool]


class Figures:
    """What a study's trials had reached at each epoch, lowest first.

    A study only ever adds figures to trials that have not ended, so those alone are looked at again.
    """

    def __init__(self) -> None:
        self._at: defaultdict[int, list[float]] = defaultdict(list)
        self._taken: dict[int, set[int]] = {}
        self._known = 0

    def at(self, epoch: int) -> list[float]:
        """All figures of this epoch."""
        return self._at[epoch]

    def look(self, study: optuna.Study, rivals: Rivals) -> None:
        """Take over what has come since the last look."""
        trials = study.get_trials(deepcopy=False)
        self._taken |= {t.number: set() for t in trials[self._known :] if rivals(study, t)}
        self._known = len(trials)
        for trial in [trials[number] for number in self._taken]:
            taken = self._taken[trial.number]
            for epoch in trial.intermediate_values.keys() - taken:
                insort(self._at[epoch], trial.intermediate_values[epoch])
                taken.add(epoch)
            if trial.state.is_finished():
                del self._taken[trial.number]


class Halving(BasePruner):
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934), the kind that stops and never promotes later.

    Rung k stands at epoch `epochs * reduction ** (first_rung + k)`; there a trial goes on if it is among the best
    1 / `reduction` of all `rivals` that have come so far.
    """

    def __init__(
        self, epochs: int, reduction: int, first_rung: int = 0, rivals: Rivals = lambda study, trial: True
    ) -> None:
        self._reduction, self._rivals = reduction, rivals
        self._figures: WeakKeyDictionary[optuna.Study, Figures] = WeakKeyDictionary()
        self._lowest: int = epochs * reduction**first_rung

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial ends at its last epoch."""
        epoch = trial.last_step
        if epoch is None or not self.is_rung(epoch):
            return False
        known = self._figures.setdefault(study, Figures())
        known.look(study, self._rivals)
        figures, figure = known.at(epoch), trial.intermediate_values[epoch]
        pass_on = max(len(figures) // self._reduction, 1)
        if study.direction == StudyDirection.MAXIMIZE:
            return bool(figure < figures[-pass_on])
        return bool(figure > figures[pass_on - 1])

    def is_rung(self, epoch: int) -> bool:
        """Whether trials are compared at this epoch; at any other they go on."""
        rung = self._lowest
        while rung < epoch:
            rung *= self._reduction
        return rung == epoch


class Hyperband(HyperbandPruner):
    """Optuna's Hyperband, which shares trials out to brackets, over halving that notes nothing."""

    def __init__(self, epochs: int, most: int, reduction: int) -> None:
        super().__init__(epochs, most, reduction)
        self._parts = (epochs, reduction)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial ends at its last epoch; its rivals are those of its bracket."""
        return self._pruners[self._get_bracket_id(study, trial)].prune(study, trial)

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """The bracket of a trial, among whose trials the sampler draws too.

        Optuna's has one bracket until it is first asked to prune, so that a study opened again would draw otherwise.
        """
        if not self._pruners:
            self._try_initialization(study)
        return super()._get_bracket_id(study, trial)

    def _try_initialization(self, study: optuna.Study) -> None:
        super()._try_initialization(study)
        epochs, reduction = self._parts
        brackets = range(len(self._pruners))
        self._pruners = [Halving(epochs, reduction, b, self._of_bracket(b)) for b in brackets]  # type: ignore[misc]

    def _of_bracket(self, bracket: int) -> Rivals:
        return lambda study, trial: self._get_bracket_id(study, trial) == bracket

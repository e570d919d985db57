"""Successive halving as a function of the epochs that the study holds. Runs in: driver.

Optuna's own pruners note in the study that a trial has passed a rung before anybody knows the verdict: a driver killed
between the two lets the trial run on. Here nothing is noted, so whoever asks again hears the same.
"""

import optuna
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


class Halving(BasePruner):
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934), the kind that stops and never promotes later.

    Rung k stands at epoch `epochs * reduction ** (first_rung + k)`; there a trial goes on if it is among the best
    1 / `reduction` of all that have come so far.
    """

    def __init__(self, epochs: int, reduction: int, first_rung: int = 0) -> None:
        self._reduction = reduction
        self._lowest: int = epochs * reduction**first_rung

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial ends at its last epoch."""
        epoch = trial.last_step
        if epoch is None or not self._is_rung(epoch):
            return False
        rivals = [t.intermediate_values for t in study.get_trials(deepcopy=False)]
        figures = [values[epoch] for values in rivals if epoch in values]
        figures.sort(reverse=study.direction == StudyDirection.MAXIMIZE)
        last: float = figures[max(len(figures) // self._reduction, 1) - 1]
        figure: float = trial.intermediate_values[epoch]
        if study.direction == StudyDirection.MAXIMIZE:
            return figure < last
        return figure > last

    def _is_rung(self, epoch: int) -> bool:
        rung = self._lowest
        while rung < epoch:
            rung *= self._reduction
        return rung == epoch


class Hyperband(HyperbandPruner):
    """Optuna's Hyperband, which shares trials out to brackets, over halving that notes nothing."""

    def __init__(self, epochs: int, most: int, reduction: int) -> None:
        super().__init__(epochs, most, reduction)
        self._parts = (epochs, reduction)

    def _try_initialization(self, study: optuna.Study) -> None:
        super()._try_initialization(study)
        epochs, reduction = self._parts
        self._pruners = [Halving(epochs, reduction, bracket) for bracket in range(len(self._pruners))]  # type: ignore[misc]

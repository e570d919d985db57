"""TPE looks at the trials that matter; as long as there are few, at all of them."""

import warnings
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from raypose.record.recent import BEST, LATEST, RecentTPE, that_matter

DISTRIBUTIONS: dict[str, Any] = {"lr": optuna.distributions.FloatDistribution(0, 1)}


def drawn(sampler: type[TPESampler]) -> list[tuple[float, float]]:
    study = optuna.create_study(direction="maximize")
    points = []
    for number in range(40):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study.sampler = sampler(seed=number, multivariate=True, group=True, n_startup_trials=5)
        trial = study.ask()
        points.append((trial.suggest_float("lr", 0, 1), trial.suggest_float("decay", 0, 1)))
        study.tell(trial, sum(points[-1])) if number % 3 else None  # the others go on running
    return points


def test_below_its_bound_it_draws_what_optunas_draws() -> None:
    assert drawn(RecentTPE) == drawn(TPESampler)


def test_the_best_and_the_latest_matter() -> None:
    study, ended = optuna.create_study(direction="maximize"), 3 * LATEST
    for number in range(ended + 2 * LATEST):
        state = TrialState.RUNNING if number >= ended else TrialState.PRUNED if number % 2 else TrialState.COMPLETE
        value = None if state == TrialState.RUNNING else float(-abs(number - 200))  # trial 200 is the best
        made = optuna.trial.create_trial(
            state=state, value=value, params={"lr": 0.5}, distributions=DISTRIBUTIONS, intermediate_values={1: 0.0}
        )
        study.add_trial(made)
    trials = study.get_trials(deepcopy=False)
    kept = [trial.number for trial in that_matter(trials, [StudyDirection.MAXIMIZE])]
    best = range(200 - BEST + 1, 200 + BEST, 2)  # every other one is complete
    assert kept == [*best, *range(ended - LATEST, ended), *range(ended + LATEST, ended + 2 * LATEST)]
    least = [trial.number for trial in that_matter(trials, [StudyDirection.MINIMIZE])]
    assert least[-1] == kept[-1] and set(best) - set(least)
    few = [*trials[:LATEST], *trials[-LATEST:]]
    assert that_matter(few, [StudyDirection.MAXIMIZE]) == few

"""The searches that are compared: raypose's own defaults, and what others do by theirs. Runs in: command line."""

from types import SimpleNamespace
from typing import Any, Final

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from raypose.bench.curves import Curves, Point
from raypose.record.sampling import pruner, sampler
from raypose.space.load import parse_spec

RECIPE: Final = {"lr": 4e-3, "freeze": "none"}  # RTMPose's own, at the largest size of the table
METRIC: Final = "PCK"


class OptunaStudy:
    """Optuna's sampler and pruner on a study in memory."""

    def __init__(self, curves: Curves, sampler: BaseSampler, pruner: BasePruner) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.curves, self.trials = curves, list[optuna.Trial]()
        self.study = optuna.create_study(study_name="replay", direction="maximize", sampler=sampler, pruner=pruner)

    def start(self, number: int) -> Point:
        """The next trial's point."""
        self.trials.append(trial := self.study.ask())
        lr = trial.suggest_float("lr", self.curves.lrs[0], self.curves.lrs[-1], log=True)
        freeze = trial.suggest_categorical("freeze", self.curves.freezes)
        return self.curves.nearest(lr, freeze, trial.suggest_categorical("input_size", self.curves.sizes))

    def end_epoch(self, number: int, epoch: int, figure: float) -> bool:
        """The pruner's verdict."""
        self.trials[number].report(figure, epoch)
        return epoch < self.curves.epochs and self.trials[number].should_prune()

    def end(self, number: int, *, stopped: bool, diverged: bool) -> None:
        """As raypose's study tells it: complete trials have the figure of their best epoch."""
        if stopped or diverged:
            self.study.tell(number, state=TrialState.PRUNED if stopped else TrialState.FAIL)
        else:
            figures = self.study.get_trials(deepcopy=False)[number].intermediate_values
            self.study.tell(number, max(figures.values()))


class Raypose(OptunaStudy):
    """raypose's defaults: trial 0 has the recipe's values and is never stopped."""

    def __init__(self, curves: Curves, seed: int) -> None:
        space = {
            "lr": {"log_uniform": [curves.lrs[0], curves.lrs[-1]]},
            "freeze": {"choice": curves.freezes},
            "input_size": {"choice": curves.sizes},
        }
        spec = {"space": space, "search": {"seed": seed}, "train": {"epochs": curves.epochs}}
        self.experiment = parse_spec(spec)
        super().__init__(curves, sampler(self.experiment, "0/"), pruner(self.experiment.prune, curves.epochs))
        self.study.enqueue_trial({**RECIPE, "input_size": curves.sizes[-1]})

    def start(self, number: int) -> Point:
        """The next trial's point, drawn by a sampler of its own."""
        self.study.sampler = sampler(self.experiment, f"{number}/")
        return super().start(number)

    def end_epoch(self, number: int, epoch: int, figure: float) -> bool:
        """The pruner's verdict."""
        return super().end_epoch(number, epoch, figure) and number != 0


class Ray:
    """Ray Tune with its ASHAScheduler and its OptunaSearch, called as Tune's controller calls them."""

    def __init__(self, curves: Curves, seed: int) -> None:
        space = {
            "lr": FloatDistribution(curves.lrs[0], curves.lrs[-1], log=True),
            "freeze": CategoricalDistribution(curves.freezes),
            "input_size": CategoricalDistribution(curves.sizes),
        }
        self.curves, self.last = curves, dict[int, dict[str, Any]]()
        self.search = OptunaSearch(space, metric=METRIC, mode="max", seed=seed)
        self.scheduler: Any = ASHAScheduler(metric=METRIC, mode="max", max_t=curves.epochs)
        optuna.logging.set_verbosity(optuna.logging.ERROR)

    def start(self, number: int) -> Point:
        """The next trial's point."""
        point = self.search.suggest(str(number)) or {}
        self.scheduler.on_trial_add(None, _tune_trial(number))
        return self.curves.nearest(**point)

    def end_epoch(self, number: int, epoch: int, figure: float) -> bool:
        """The scheduler's verdict; what is stopped is told to the searcher when it ends."""
        result = self.last[number] = {METRIC: figure, TRAINING_ITERATION: epoch}
        if self.scheduler.on_trial_result(None, _tune_trial(number), result) == TrialScheduler.STOP:
            return True
        self.search.on_trial_result(str(number), result)
        return False

    def end(self, number: int, *, stopped: bool, diverged: bool) -> None:
        """Tune tells both, and of a failed trial the searcher alone."""
        if diverged:
            self.search.on_trial_complete(str(number), error=True)
            return
        self.scheduler.on_trial_complete(None, _tune_trial(number), self.last[number])
        self.search.on_trial_complete(str(number), result=self.last[number])


def _tune_trial(number: int) -> Any:
    return SimpleNamespace(trial_id=str(number))


def random_search(curves: Curves, seed: int) -> OptunaStudy:
    """Random points, each trained to its end."""
    return OptunaStudy(curves, RandomSampler(seed=seed), NopPruner())


def optuna_defaults(curves: Curves, seed: int) -> OptunaStudy:
    """Optuna's TPE and Hyperband by their defaults."""
    return OptunaStudy(curves, TPESampler(seed=seed), HyperbandPruner())

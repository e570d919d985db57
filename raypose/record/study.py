"""The experiment's Optuna study: what was drawn, how it went, what to draw next. Runs in: driver; `show` reads.

The study follows from what lies on disk: `catch_up` completes it after a crash. Only the driver writes it.
"""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from raypose.errors import SpecError
from raypose.record.epochs import read_epochs
from raypose.record.folder import ExperimentFolder
from raypose.record.sampling import grid, pruner, sampler
from raypose.record.view import Epoch, ExperimentState, ExperimentView, TrialView, best_epoch
from raypose.space.domain import Choice, Domain
from raypose.space.knobs import Value
from raypose.space.load import parse_spec
from raypose.space.trial import Trial

STATES: dict[TrialState, Any] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class Study:
    """One experiment's trials, by number; every method that changes something has written it when it returns."""

    def __init__(self, saved: Mapping[str, Any], folder: ExperimentFolder) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.experiment, self.folder = parse_spec(saved["experiment"]), folder
        self._base: dict[str, Value] = saved["base_values"]
        self._key = f"{folder.name}.{saved['uid']}"
        experiment = self.experiment
        url = folder.study_url if experiment.search.storage == "auto" else experiment.search.storage
        self._study = optuna.create_study(
            storage=url,
            study_name=self._key,
            direction="maximize",
            load_if_exists=True,
            pruner=pruner(experiment.prune, experiment.train.epochs),
        )
        self._live: dict[int, optuna.Trial] = {}
        self._attempts_before: dict[int, int] = {}

    def fill_queue(self) -> None:
        """Trial 0 is the base config; a grid's points follow. A crash in between is made good by the next call."""
        points: list[dict[str, Value]] = [self._base]
        if self.experiment.search.sampler == "grid":
            points += grid(self.experiment)
        for point in points[len(self._trials()) : self.experiment.search.trials]:
            space = self.experiment.space
            inside = {k: v for k, v in point.items() if k in space and space[k].contains(v)}
            self._study.enqueue_trial(inside, user_attrs={"given": point})

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    @property
    def total(self) -> int:
        """How many trials there will be."""
        wanted = self.experiment.search.trials
        return min(wanted, 1 + len(grid(self.experiment))) if self.experiment.search.sampler == "grid" else wanted

    @property
    def unfinished(self) -> int:
        """How many trials are still to be ended."""
        return self.total - sum(t.state.is_finished() for t in self._trials())

    def next_trial(self) -> Trial | None:
        """The next trial to run: first the unfinished ones of an earlier process, then new ones; None at the end."""
        unfinished = [t for t in self._trials() if t.state == TrialState.RUNNING and t.number not in self._live]
        waiting = any(t.state == TrialState.WAITING for t in self._trials())
        if unfinished:
            return self._drawn(optuna.Trial(self._seeded(unfinished[0].number), unfinished[0]._trial_id))
        if not waiting and len(self._trials()) >= self.total:
            return None
        number = next((t.number for t in self._trials() if t.state == TrialState.WAITING), len(self._trials()))
        return self._drawn(self._seeded(number).ask())

    def _seeded(self, number: int) -> optuna.Study:
        self._study.sampler = sampler(self.experiment, number)
        return self._study

    def _drawn(self, trial: optuna.Trial) -> Trial:
        """Draw what the trial does not have yet; a trial cut off between two draws ends with the same values."""
        given: dict[str, Value] = trial.user_attrs.get("given", {})
        values: dict[str, Value] = {}
        for name, domain in self.experiment.space.items():
            outside = name in given and not domain.contains(given[name])
            values[name] = given[name] if outside else _suggest(trial, name, domain)
        values |= self.experiment.fixed
        trial.set_user_attr("values", values)
        self._live[trial.number] = trial
        self._attempts_before[trial.number] = trial.user_attrs.get("attempts", 0)
        return Trial(trial.number, values)

    def begin_attempt(self, number: int, attempt: int) -> None:
        """A lane begins attempt `attempt` (from 1) of this process's life at the trial."""
        if not self._is_finished(number):
            self._live[number].set_user_attr("attempts", self._attempts_before[number] + attempt)

    def _is_finished(self, number: int) -> bool:
        return self._trials()[number].state.is_finished()

    def add_epoch(self, number: int, epoch: Epoch) -> bool:
        """Record an epoch, once; true if the pruner wants the trial to end here.

        Trial 0 always runs to its end: what tuning brought is told beside the base config's full figure.
        """
        if self._is_finished(number):
            return True
        trial = self._live[number]
        known = self._trials()[number].intermediate_values
        if epoch.number not in known:
            trial.report(epoch.metrics[self.experiment.metric], epoch.number)
        behind = epoch.number < self.experiment.train.epochs and trial.should_prune()
        return behind and number != 0

    def catch_up(self, number: int) -> bool:
        """Complete a trial's rows from its checkpoints; true if it was at its end already and is told so."""
        epochs = read_epochs(self.folder.trial(number))
        prune = [self.add_epoch(number, epoch) for epoch in epochs][-1:] == [True]
        done = prune or len(epochs) >= self.experiment.train.epochs
        if done:
            self.finish(number, pruned=prune)
        return done

    def finish(self, number: int, *, pruned: bool = False, error: str | None = None) -> None:
        """End a trial, once: complete with its best metric, pruned, or failed with the reason."""
        if self._is_finished(number):
            return
        best = best_epoch(read_epochs(self.folder.trial(number)), self.experiment.metric)
        if error is not None or best is None:
            self._live[number].set_user_attr("error", error or "it ended before its first epoch")
            self._study.tell(number, state=TrialState.FAIL)
        elif pruned:
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, best.metrics[self.experiment.metric])

    def set_run_ids(self, run_ids: Mapping[int, str]) -> None:
        """Keep the MLflow run of each trial; of the study, since a finished trial takes no more notes."""
        self._study.set_user_attr("run_ids", {str(number): run_id for number, run_id in run_ids.items()})

    def view(self, worked_on: bool) -> ExperimentView:
        """The experiment as plain values."""
        run_ids = self._study.user_attrs.get("run_ids", {})
        trials = tuple(self._view(t, run_ids.get(str(t.number))) for t in self._trials())
        finished = len(trials) >= self.total and all(t.state in ("complete", "pruned", "failed") for t in trials)
        state: ExperimentState = "finished" if finished else "running" if worked_on else "interrupted"
        spec = self.experiment.model_dump(mode="json")
        return ExperimentView(
            name=self.folder.name,
            key=self._key,
            state=state,
            metric=self.experiment.metric,
            total=self.total,
            epochs=self.experiment.train.epochs,
            folder=self.folder.path,
            spec=spec,
            trials=trials,
        )

    def _view(self, trial: FrozenTrial, run_id: str | None) -> TrialView:
        attrs = trial.user_attrs
        folder = self.folder.trial(trial.number)
        epochs = read_epochs(folder)
        best = best_epoch(epochs, self.experiment.metric)
        return TrialView(
            number=trial.number,
            state=STATES[trial.state],
            values=attrs.get("values", attrs.get("given", {})),
            epochs=epochs,
            best=best.metrics[self.experiment.metric] if best else None,
            best_epoch=best.number if best else None,
            attempts=attrs.get("attempts", 0),
            seconds=sum(e.seconds for e in epochs),
            error=attrs.get("error"),
            run_id=run_id,
            folder=folder,
        )


def check_storage(url: str) -> None:
    """Raise SpecError unless a study can be kept there; its password, if any, would be saved with the specification."""
    if url == "auto":
        return
    try:
        if make_url(url).password:
            raise SpecError(["search.storage: leave the password out, it would be saved; PostgreSQL reads PGPASSWORD"])
        optuna.storages.get_storage(url)
    except (SQLAlchemyError, ImportError, ValueError) as fault:
        raise SpecError([f"search.storage: '{url}' cannot be used: {str(fault).splitlines()[0]}"]) from fault


def read_view(folder: ExperimentFolder) -> ExperimentView:
    """An experiment as it stands, for whoever only looks."""
    return Study(folder.saved, folder).view(worked_on=folder.is_worked_on())


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Value:
    if isinstance(domain, Choice):
        choice: Value = trial.suggest_categorical(name, domain.options)
        return choice
    if domain.integer:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log, step=domain.step)

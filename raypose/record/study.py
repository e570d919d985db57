"""The experiment's Optuna study: what was drawn, how it went, what to draw next. Runs in: driver; `show` reads.

The study follows from what lies on disk: `catch_up` completes it after a crash. Only the driver writes it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from raypose.errors import SpecError
from raypose.record.epochs import read_copied, read_epochs
from raypose.record.final import retested
from raypose.record.folder import ExperimentFolder
from raypose.record.points import points
from raypose.record.sampling import pruner, sampler
from raypose.record.view import RETEST, Epoch, ExperimentState, ExperimentView, TrialView, best_epoch
from raypose.space.conditions import draw_order, holds
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
        self._points = points(saved, self.experiment)
        self._key = f"{folder.name}.{saved['uid']}"
        experiment = self.experiment
        self._several = len(experiment.objectives) > 1  # Optuna prunes for one objective only
        url = folder.study_url if experiment.search.storage == "auto" else experiment.search.storage
        self._study = optuna.create_study(
            storage=url,
            study_name=self._key,
            directions=["maximize" if mode == "max" else "minimize" for _, mode in experiment.objectives],
            load_if_exists=True,
            pruner=pruner(experiment.prune, experiment.train.epochs),
        )
        self._live: dict[int, optuna.Trial] = {}
        self._attempts_before: dict[int, int] = {}

    def fill_queue(self) -> None:
        """Enqueue what is given before anything is drawn; a crash in between is made good by the next call."""
        space = self.experiment.space
        for point in self._points[len(self._trials()) :]:
            inside = {k: v for k, v in point["given"].items() if k in space and space[k].contains(v)}
            self._study.enqueue_trial(inside, user_attrs=dict(point))

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    @property
    def total(self) -> int:
        """How many trials there will be."""
        if self.experiment.search.sampler == "grid":
            return len(self._points)
        return self.experiment.search.trials + sum("source" in point for point in self._points)

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
        space, values = self.experiment.space, dict(self.experiment.fixed)
        for name in draw_order(space):
            domain = space[name]
            if not holds(domain.when, values):
                continue
            outside = name in given and not domain.contains(given[name])
            values[name] = given[name] if outside else _suggest(trial, name, domain)
            values |= {key: given.get(key, values[name]) for key in domain.also}
        trial.set_user_attr("values", values)
        self._live[trial.number] = trial
        self._attempts_before[trial.number] = trial.user_attrs.get("attempts", 0)
        return Trial(trial.number, values, trial.user_attrs.get("seed", self.experiment.search.seed))

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
        if self._several:
            return False
        trial = self._live[number]
        known = self._trials()[number].intermediate_values
        if epoch.number not in known:
            trial.report(epoch.metrics[self.experiment.primary], epoch.number)
        behind = epoch.number < self.experiment.train.epochs and trial.should_prune()
        return behind and number != 0

    def catch_up(self, number: int) -> bool:
        """Complete a trial's rows from its checkpoints; true if it was at its end already and is told so."""
        epochs = read_epochs(self.folder.trial(number))
        prune = [self.add_epoch(number, epoch) for epoch in epochs][-1:] == [True]
        source = self._trials()[number].user_attrs.get("source")
        if source:  # as it was judged there
            prune = source["state"] == "pruned"
        done = bool(source) or prune or self._has_all(number, epochs)
        if done:
            self.finish(number, pruned=prune)
        return done

    def _has_all(self, number: int, epochs: tuple[Epoch, ...]) -> bool:
        """Has the training left nothing to do? A repetition of a final is tested anew after its last epoch."""
        tested = self.folder.parent is None or (self.folder.trial(number) / RETEST).is_file()
        return len(epochs) >= self.experiment.train.epochs and tested

    def finish(self, number: int, *, pruned: bool = False, error: str | None = None) -> None:
        """End a trial, once: complete with its best metric, pruned, or failed with the reason."""
        if self._is_finished(number):
            return
        best = best_epoch(read_epochs(self.folder.trial(number)), self.experiment.primary)
        if error is not None or best is None:
            self._live[number].set_user_attr("error", error or "it ended before its first epoch")
            self._study.tell(number, state=TrialState.FAIL)
        elif pruned:
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, [best.metrics[name] for name, _ in self.experiment.objectives])

    def set_run_ids(self, run_ids: Mapping[int, str]) -> None:
        """Keep the MLflow run of each trial; of the study, since a finished trial takes no more notes."""
        self._study.set_user_attr("run_ids", {str(number): run_id for number, run_id in run_ids.items()})

    def view(self, worked_on: bool) -> ExperimentView:
        """The experiment as plain values, with its final if it has one."""
        run_ids = self._study.user_attrs.get("run_ids", {})
        trials = tuple(self._view(t, run_ids.get(str(t.number))) for t in self._trials())
        final, verdict = self._final(worked_on), self.folder.verdict
        finished = len(trials) >= self.total and all(t.state in ("complete", "pruned", "failed") for t in trials)
        if self.experiment.final or self.folder.parent:  # the last word is the verdict
            finished = finished and (verdict or final and final.verdict) is not None
        state: ExperimentState = "finished" if finished else "running" if worked_on else "interrupted"
        return ExperimentView(
            name=self.folder.name,
            key=self._key,
            state=state,
            metric=self.experiment.primary,
            total=self.total,
            epochs=self.experiment.train.epochs,
            folder=self.folder.path,
            spec=self.experiment.model_dump(mode="json"),
            trials=trials,
            objectives=self.experiment.objectives,
            front=tuple(t.number for t in self._study.best_trials) if self._several else (),
            final=final,
            verdict=verdict,
        )

    def _final(self, worked_on: bool) -> ExperimentView | None:
        final = self.folder.final
        return Study(final.saved, final).view(worked_on) if final.exists else None

    def _view(self, trial: FrozenTrial, run_id: str | None) -> TrialView:
        attrs, folder = trial.user_attrs, self.folder.trial(trial.number)
        source = attrs.get("source")
        epochs = read_copied(folder, Path(source["origin"])) if source else read_epochs(folder)
        best = best_epoch(epochs, self.experiment.primary)
        return TrialView(
            number=trial.number,
            state=STATES[trial.state],
            values=attrs.get("values", attrs.get("given", {})),
            epochs=epochs,
            best=best.metrics[self.experiment.primary] if best else None,
            best_epoch=best.number if best else None,
            attempts=attrs.get("attempts", 0),
            seconds=sum(e.seconds for e in epochs),
            error=attrs.get("error"),
            run_id=run_id,
            folder=folder,
            seed=attrs.get("seed", self.experiment.search.seed),
            source=source["trial"] if source else None,
            repeats=attrs.get("repeats"),
            retested=retested(folder, self.experiment.primary),
            origin=Path(source["origin"]) if source else None,
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

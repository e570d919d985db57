"""The experiment's Optuna study: what was drawn, how it went, what to draw next. Runs in: driver; `show` reads.

The study follows from what lies on disk: `catch_up` completes it after a crash. Only the driver writes it.
"""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from raypose.errors import DamagedError
from raypose.record.epochs import read_epochs
from raypose.record.folder import ExperimentFolder
from raypose.record.points import Point, points
from raypose.record.sampling import pruner, sampler
from raypose.record.storage import KeptTrial, is_sound, keep_trial
from raypose.record.trial_view import STATES, trial_view
from raypose.record.view import RETEST, Epoch, ExperimentState, ExperimentView, best_epoch
from raypose.space.conditions import draw_order, holds
from raypose.space.domain import Choice, Domain
from raypose.space.knobs import Value
from raypose.space.load import parse_spec
from raypose.space.trial import Trial


class Study:
    """One experiment's trials, by number; every method that changes something has written it when it returns."""

    def __init__(self, saved: Mapping[str, Any], folder: ExperimentFolder) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.experiment, self.folder = parse_spec(saved["experiment"]), folder
        self._points = points(saved, self.experiment)
        self._key = f"{folder.name}.{saved['uid']}"
        self._own = self.experiment.search.storage == "auto"
        self._several = len(self.experiment.objectives) > 1  # Optuna prunes for one objective only
        self._study = self._open()
        self._live: dict[int, optuna.Trial] = {}
        self._attempts_before: dict[int, int] = {}

    def _open(self) -> optuna.Study:
        """The study in its storage. Raises DamagedError if the experiment's own database cannot be read."""
        try:
            return optuna.create_study(
                storage=self.folder.study_url if self._own else self.experiment.search.storage,
                study_name=self._key,
                directions=["maximize" if mode == "max" else "minimize" for _, mode in self.experiment.objectives],
                load_if_exists=True,
                pruner=pruner(self.experiment.prune, self.experiment.train.epochs),
            )
        except (SQLAlchemyError, StorageInternalError) as fault:
            if self._own and not is_sound(self.folder.study_file):
                raise DamagedError(self.folder.study_file, f"`raypose restore {self.folder.name}` mends it") from fault
            raise

    def fill_queue(self) -> None:
        """Enqueue what is given before anything is drawn; a crash in between is made good by the next call."""
        for point in self._points[len(self._trials()) :]:
            self._enqueue(point)

    def _enqueue(self, point: Point) -> None:
        space, given = self.experiment.space, point.get("given", {})
        inside = {k: v for k, v in given.items() if k in space and space[k].contains(v)}
        self._study.enqueue_trial(inside, user_attrs=dict(point))

    def put_back(self, kept: KeptTrial | None) -> None:
        """Enter the next trial of a lost database as it stood there; with nothing kept of it, draw it anew."""
        number = len(self._trials())
        first = self._points[number] if number < len(self._points) else Point()
        self._enqueue(kept["point"] if kept else first)
        self.next_trial()
        if kept:
            self.begin_attempt(number, kept["attempts"])
            for epoch in read_epochs(self.folder.trial(number)):
                self.add_epoch(number, epoch)
        if kept and kept["state"] not in ("waiting", "running"):
            self.finish(number, pruned=kept["state"] == "pruned", error=kept["error"])

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    @property
    def total(self) -> int:
        """How many trials there will be."""
        if self.experiment.search.sampler == "grid":
            return len(self._points)
        return self.experiment.search.trials + sum("source" in point for point in self._points)

    @property
    def drawn(self) -> int:
        """How many trials the database knows."""
        return len(self._trials())

    @property
    def begun(self) -> list[int]:
        """Numbers of the trials that were drawn and have not ended."""
        return [t.number for t in self._trials() if t.state == TrialState.RUNNING]

    @property
    def unfinished(self) -> int:
        """How many trials are still to be ended."""
        return self.total - sum(t.state.is_finished() for t in self._trials())

    def next_trial(self) -> Trial | None:
        """The next trial to run: first the unfinished ones of an earlier process, then new ones; None at the end."""
        unfinished = [t for t in self._trials() if t.state == TrialState.RUNNING and t.number not in self._live]
        waiting = any(t.state == TrialState.WAITING for t in self._trials())
        if unfinished:
            self._seed(unfinished[0].number)
            return self._drawn(optuna.Trial(self._study, unfinished[0]._trial_id))
        if not waiting and len(self._trials()) >= self.total:
            return None
        number = next((t.number for t in self._trials() if t.state == TrialState.WAITING), len(self._trials()))
        self._seed(number)
        return self._drawn(self._study.ask())

    def _seed(self, number: int, name: str = "") -> None:
        """Let what is drawn next follow from the trial and the knob, and not from how many were drawn before."""
        self._study.sampler = sampler(self.experiment, f"{number}/{name}")

    def _drawn(self, trial: optuna.Trial) -> Trial:
        """Draw what the trial does not have yet; a trial cut off between two draws ends with the same values."""
        given: dict[str, Value] = trial.user_attrs.get("given", {})
        space, values = self.experiment.space, dict(self.experiment.fixed)
        for name in draw_order(space):
            domain = space[name]
            if not holds(domain.when, values):
                continue
            outside = name in given and not domain.contains(given[name])
            self._seed(trial.number, name)
            values[name] = given[name] if outside else _suggest(trial, name, domain)
            values |= {key: given.get(key, values[name]) for key in domain.also}
        trial.set_user_attr("values", values)
        self._live[trial.number] = trial
        self._keep(trial.number)
        self._attempts_before[trial.number] = trial.user_attrs.get("attempts", 0)
        return Trial(trial.number, values, trial.user_attrs.get("seed", self.experiment.search.seed))

    def _keep(self, number: int) -> None:
        """Write down beside a trial's epochs what only the database knows."""
        if self._own:
            trial = self._trials()[number]
            attrs = trial.user_attrs
            point: Any = {key: attrs[key] for key in Point.__optional_keys__ if key in attrs}
            kept: KeptTrial = {
                "point": point | {"given": attrs["values"]},
                "attempts": attrs.get("attempts", 0),
                "state": STATES[trial.state],
                "error": attrs.get("error"),
            }
            keep_trial(self.folder.trial(number), kept)

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
        frozen = self._trials()[number]
        if epoch.number not in frozen.intermediate_values:
            trial.report(epoch.metrics[self.experiment.primary], epoch.number)
        if epoch.number <= frozen.user_attrs.get("passed", 0):  # whatever became of the others since
            return False
        behind = number != 0 and epoch.number < self.experiment.train.epochs and trial.should_prune()
        if not behind:
            trial.set_user_attr("passed", epoch.number)
        return behind

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
        self._keep(number)

    def set_run_ids(self, run_ids: Mapping[int, str]) -> None:
        """Keep the MLflow run of each trial; of the study, since a finished trial takes no more notes."""
        self._study.set_user_attr("run_ids", {str(number): run_id for number, run_id in run_ids.items()})

    def view(self, worked_on: bool) -> ExperimentView:
        """The experiment as plain values, with its final if it has one."""
        run_ids = self._study.user_attrs.get("run_ids", {})
        trials = tuple(
            trial_view(t, self.folder.trial(t.number), self.experiment, run_ids.get(str(t.number)))
            for t in self._trials()
        )
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

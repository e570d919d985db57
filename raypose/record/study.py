"""The experiment's Optuna study: what was drawn, how it went, what to draw next. Runs in: driver; `show` reads.

The study follows from what lies on disk: `catch_up` completes it after a crash. Only the driver writes it.
Nothing that is done for an event walks over all trials, of which there may be ten thousand.
"""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from raypose.errors import DamagedError
from raypose.record.drawing import Drawing
from raypose.record.epochs import read_epochs
from raypose.record.folder import ExperimentFolder
from raypose.record.halving import Halving
from raypose.record.memory import StudyMemory
from raypose.record.points import Point, different, own_trials, points, tried_by
from raypose.record.requests import is_to_end
from raypose.record.sampling import pruner
from raypose.record.spent import Meter
from raypose.record.storage import KeptTrial, is_sound, keep_trial, kept_of
from raypose.record.view import RETEST, Epoch, ExperimentView, best_epoch
from raypose.record.views import Views
from raypose.space.load import parse_spec
from raypose.space.trial import Trial


class Study:
    """One experiment's trials, by number; every method that changes something has written it when it returns."""

    def __init__(self, saved: Mapping[str, Any], folder: ExperimentFolder) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.experiment, self.folder = parse_spec(saved["experiment"], empty_space=True), folder
        self.meter = Meter(folder.path, self.experiment.search)
        """The time that its trials take."""
        self._points = points(saved, self.experiment)
        self._own_trials, self._different = own_trials(saved, self.experiment), different(saved, self.experiment)
        self._key = f"{folder.name}.{saved['uid']}"
        self._own = self.experiment.search.storage == "auto"
        self._several = len(self.experiment.objectives) > 1  # Optuna prunes for one objective only
        self._memory = self._open()
        self._study = optuna.load_study(
            study_name=self._key,
            storage=self._memory,
            pruner=pruner(self.experiment.prune, self.experiment.train.epochs),
        )
        self._live: dict[int, optuna.Trial] = {}
        self._attempts_before: dict[int, int] = {}
        trials = self._memory.get_all_trials(self._memory.study, deepcopy=False)
        tried = tried_by(saved, self.experiment, self._points)
        for trial in trials:
            if "values" in trial.user_attrs:
                tried.add(trial.user_attrs["values"])
        self._drawing = Drawing(self.experiment, self._study, self._memory, tried)
        self.drawn = len(trials)
        """How many trials the study knows."""
        self._ended = sum(t.state.is_finished() for t in trials)
        self._to_resume = deque(t.number for t in trials if t.state == TrialState.RUNNING)
        self._views = Views(self._memory, folder, self.experiment, self._key, saved.get("origin"))
        self._views.changed(range(self.drawn))
        self._to_keep: list[int] = []
        self._lock, self._depth = threading.RLock(), 0  # the threads that show and mirror the study look at it too

    def _open(self) -> StudyMemory:
        """The study in its storage. Raises DamagedError if the experiment's own database cannot be read."""
        url = self.folder.study_url if self._own else self.experiment.search.storage
        try:
            return StudyMemory(url, self._key, self.experiment.objectives)
        except (SQLAlchemyError, StorageInternalError) as fault:
            if self._own and not is_sound(self.folder.study_file):
                raise DamagedError(self.folder.study_file, f"`raypose restore {self.folder.name}` mends it") from fault
            raise

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is changed in this block is written at its end, in one transaction; blocks within one are part of it."""
        with self._lock:
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._memory.write()
                    for number in self._to_keep:  # after the database, which else would seem to have lost a trial
                        self._keep(number)
                    self._to_keep.clear()
            finally:
                self._depth -= 1

    def fill_queue(self) -> None:
        """Enqueue what is given before anything is drawn; a crash in between is made good by the next call."""
        with self.together():
            for point in self._points[self.drawn :]:
                self._enqueue(point)

    def _enqueue(self, point: Point) -> None:
        space, given = self.experiment.space, point.get("given", {})
        inside = {k: v for k, v in given.items() if k in space and space[k].contains(v)}
        self._study.enqueue_trial(inside, user_attrs=dict(point))
        self._views.changed([self.drawn])
        self.drawn += 1

    def put_back(self, kept: KeptTrial | None) -> None:
        """Enter the next trial of a lost database as it stood there; with nothing kept of it, draw it anew."""
        number = self.drawn
        first = self._points[number] if number < len(self._points) else Point()
        with self.together():
            self._enqueue(kept["point"] if kept else first)
            if (next_one := self._next()) is not None:  # it had begun, whatever has been spent since
                self._drawn(next_one)
            if kept:
                self.begin_attempt(number, kept["attempts"])
                for epoch in read_epochs(self.folder.trial(number)):
                    self.add_epoch(number, epoch)
            if kept and kept["state"] not in ("waiting", "running"):
                self.finish(number, pruned=kept["state"] == "pruned", error=kept["error"])

    def _trial(self, number: int) -> FrozenTrial:
        return self._memory.get_trial(number)

    @property
    def total(self) -> int:
        """How many trials there will be: where a budget is spent, those that have begun."""
        if self.meter.spent().over:
            return max(self._begun, 1)
        return max(self._wanted, self.drawn)  # a search of an earlier version may have trained some trials twice

    @cached_property
    def _wanted(self) -> int:
        """How many trials the specification asks for, and the space holds, with those that were taken over."""
        return self._own_trials + sum("source" in point for point in self._points)

    @property
    def begun(self) -> list[int]:
        """Numbers of the trials that were drawn and have not ended."""
        running = self._memory.get_all_trials(self._memory.study, False, (TrialState.RUNNING,))
        return [trial.number for trial in running]

    @property
    def unfinished(self) -> int:
        """How many trials are still to be ended."""
        return self.total - self._ended

    @property
    def transactions(self) -> int:
        """How often this process has written to the database."""
        return self._memory.transactions

    def next_trial(self) -> Trial | None:
        """The next trial to run: first the unfinished ones of an earlier process, then new ones; None at the end.

        When a budget is spent no more begin. Trial 0 does in any case: it is what all others are compared with.
        """
        with self.together():
            if not self._to_resume and self.meter.spent().over and self._begun:
                self.meter.keep()  # a restore shall hear the same
                return None
            number = self._next()
            return None if number is None else self._drawn(number)

    def _next(self) -> int | None:
        if self._to_resume:
            return self._to_resume.popleft()
        waiting = self._waiting()
        if not waiting and self.drawn >= self._wanted:
            return None
        self.drawn += not waiting
        return self._study.ask().number

    @property
    def _begun(self) -> int:
        return self.drawn - len(self._waiting())

    def _waiting(self) -> list[FrozenTrial]:
        """What is given and has not begun."""
        return self._memory.get_all_trials(self._memory.study, False, (TrialState.WAITING,))

    def _drawn(self, number: int) -> Trial:
        """Draw what the trial does not have yet."""
        trial, values = self._drawing.draw(number)
        trial.set_user_attr("values", values)
        self._live[number] = trial
        self._to_keep.append(number)
        self._views.changed([number])
        self._attempts_before[number] = trial.user_attrs.get("attempts", 0)
        return Trial(number, values, trial.user_attrs.get("seed", self.experiment.search.seed))

    def _keep(self, number: int) -> None:
        """Write down beside a trial's epochs what only the database knows."""
        if self._own:
            keep_trial(self.folder.trial(number), kept_of(self._trial(number)))

    def begin_attempt(self, number: int, attempt: int) -> None:
        """A lane begins attempt `attempt` (from 1) of this process's life at the trial."""
        if not self._is_finished(number):
            with self.together():
                self._live[number].set_user_attr("attempts", self._attempts_before[number] + attempt)
                self._views.changed([number])

    def _is_finished(self, number: int) -> bool:
        return self._trial(number).state.is_finished()

    def add_epoch(self, number: int, epoch: Epoch) -> bool:
        """Record an epoch, once; true if the pruner, or somebody by `raypose stop`, wants the trial to end here.

        Trial 0 always runs to its end: what tuning brought is told beside the base config's full figure.
        """
        if self._is_finished(number):
            return True
        with self.together():
            self._views.changed([number])
            behind = not self._several and self._is_behind(number, epoch)
            whole = epoch.number >= self.experiment.train.epochs
            return behind or not whole and is_to_end(self.folder.trial(number))

    def _is_behind(self, number: int, epoch: Epoch) -> bool:
        trial, frozen = self._live[number], self._trial(number)
        if epoch.number not in frozen.intermediate_values:
            trial.report(epoch.metrics[self.experiment.primary], epoch.number)
        if epoch.number <= frozen.user_attrs.get("passed", 0):  # whatever became of the others since
            return False
        judge = self._study.pruner
        last = number == 0 or epoch.number >= self.experiment.train.epochs
        if last or isinstance(judge, Halving) and not judge.is_rung(epoch.number):
            return False
        behind = trial.should_prune()
        if not behind:
            trial.set_user_attr("passed", epoch.number)
        return behind

    def catch_up(self, number: int) -> bool:
        """Complete a trial's rows from its checkpoints; true if it was at its end already and is told so."""
        epochs = read_epochs(self.folder.trial(number))
        with self.together():
            prune = [self.add_epoch(number, epoch) for epoch in epochs][-1:] == [True]
            source = self._trial(number).user_attrs.get("source")
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
        with self.together():
            if error is not None or best is None:
                self._live[number].set_user_attr("error", error or "it ended before its first epoch")
                self._study.tell(number, state=TrialState.FAIL)
            elif pruned:
                self._study.tell(number, state=TrialState.PRUNED)
            else:
                self._study.tell(number, [best.metrics[name] for name, _ in self.experiment.objectives])
            self._live.pop(number, None)
            self._ended += 1
            self._to_keep.append(number)
            self._views.changed([number])

    def set_run_ids(self, run_ids: Mapping[int, str]) -> None:
        """Keep the MLflow run of each trial; of the study, since a finished trial takes no more notes."""
        with self.together():
            for number, run_id in run_ids.items():
                self._views.set_run_id(number, run_id)

    def view(self, worked_on: bool) -> ExperimentView:
        """The experiment as plain values, with its final if it has one, looked at anew with all that lies on disk."""
        with self._lock:
            self._views.changed(range(self.drawn))
            return self.glance(worked_on)

    def glance(self, worked_on: bool) -> ExperimentView:
        """The same for whoever looks often: a trial in which nothing has happened since is the same object again."""
        with self._lock:
            trials, ended = self._views.trials(), self._ended
            total, spent = self.total, self.meter.spent()
        final = self._final(worked_on)
        return self._views.experiment(trials, total, ended, spent, worked_on, final, self._different)

    def _final(self, worked_on: bool) -> ExperimentView | None:
        final = self.folder.final
        return Study(final.saved, final).view(worked_on) if final.exists else None


def read_view(folder: ExperimentFolder) -> ExperimentView:
    """An experiment as it stands, for whoever only looks."""
    return Study(folder.saved, folder).view(worked_on=folder.is_worked_on())

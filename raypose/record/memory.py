"""The study in memory, and its changes on their way into the database. Runs in: driver, command line.

One process changes a study, so what it has in memory is the study: it asks the database once, at the start, and from
then on a question costs the same however many trials there are. What an event changes goes into the database together,
in one transaction: a process that dies leaves all of an event behind or nothing of it.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

_DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}


class StudyMemory(InMemoryStorage):
    """The one study `name` with its `objectives`, pairs of name and max or min; a trial's id here is its number."""

    def __init__(self, url: str, name: str, objectives: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        directions = [_DIRECTIONS[mode] for _, mode in objectives]
        self._database = RDBStorage(url)
        try:
            self._row = self._database.get_study_id_from_name(name)
        except KeyError:
            self._row = self._database.create_new_study(directions, name)
        self.study = super().create_new_study(directions, name)
        self._rows: list[int] = []
        self._unwritten: list[Callable[[RDBStorage], object]] = []
        self.transactions = 0
        self._read()

    def _read(self) -> None:
        for trial in self._database.get_all_trials(self._row, deepcopy=False):
            self._rows.append(trial._trial_id)
            super().create_new_trial(self.study, trial)
        for key, value in self._database.get_study_user_attrs(self._row).items():
            super().set_study_user_attr(self.study, key, value)
        for key, value in self._database.get_study_system_attrs(self._row).items():
            super().set_study_system_attr(self.study, key, value)

    def write(self) -> None:
        """Bring all that was changed into the database, in one transaction."""
        with self._lock:
            if self._unwritten:
                known = len(self._rows)
                try:
                    self._replay()
                except BaseException:
                    del self._rows[known:]
                    raise
                self._unwritten.clear()
                self.transactions += 1

    def _replay(self) -> None:
        """Optuna's storage commits after every change; in sessions that join a transaction this ends nothing."""
        sessions = self._database.scoped_session
        sessions.remove()
        with self._database.engine.begin() as connection:
            sessions.configure(bind=connection, join_transaction_mode="rollback_only")
            try:
                for change in self._unwritten:
                    change(self._database)
            finally:
                sessions.remove()

    def savepoint(self, number: int) -> Callable[[], None]:
        """What takes back all that happens to the trial from now on, until it is written."""
        trial, changes = copy.deepcopy(self.get_trial(number)), len(self._unwritten)  # Optuna's trials change theirs

        def take_back() -> None:
            with self._lock:
                self._set_trial(number, copy.deepcopy(trial))
                del self._unwritten[changes:]

        return take_back

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """The new trial's number."""
        number = super().create_new_trial(study_id, template_trial)
        self._unwritten.append(
            lambda to: self._rows.append(to.create_new_trial(self._row, self.get_trial(number)))  # as it is by then
        )
        return number

    def _later(self, number: int, change: Callable[[RDBStorage, int], object]) -> None:
        """Change the trial in the database too, unless it will only be made there, as it is by then."""
        if number < len(self._rows):
            self._unwritten.append(lambda to: change(to, self._rows[number]))

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """A knob's value."""
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        drawn = (param_name, param_value_internal, distribution)
        self._later(trial_id, lambda to, row: to.set_trial_param(row, *drawn))

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """How the trial stands; false if it ran already."""
        changed = super().set_trial_state_values(trial_id, state, values)
        if changed:
            self._later(trial_id, lambda to, row: to.set_trial_state_values(row, state, values))
        return changed

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """An epoch's figure."""
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._later(trial_id, lambda to, row: to.set_trial_intermediate_value(row, step, intermediate_value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """A note of ours about a trial."""
        super().set_trial_user_attr(trial_id, key, value)
        self._later(trial_id, lambda to, row: to.set_trial_user_attr(row, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """A note of Optuna's about a trial."""
        super().set_trial_system_attr(trial_id, key, value)
        self._later(trial_id, lambda to, row: to.set_trial_system_attr(row, key, value))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """A note of ours about the study."""
        super().set_study_user_attr(study_id, key, value)
        self._unwritten.append(lambda to: to.set_study_user_attr(self._row, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """A note of Optuna's about the study."""
        super().set_study_system_attr(study_id, key, value)
        self._unwritten.append(lambda to: to.set_study_system_attr(self._row, key, value))

"""A study as plain values, for whoever looks at it often. Runs in: driver, command line.

A trial in which nothing has happened since the last look is the same object again, so that a look costs what has
happened, and not what there is.
"""

from collections.abc import Iterable

from raypose.record.folder import ExperimentFolder
from raypose.record.memory import StudyMemory
from raypose.record.trial_view import trial_view
from raypose.record.view import ExperimentState, ExperimentView, Spent, TrialView, pareto_front
from raypose.space.schema import Experiment


class Views:
    """What there is to see of the study in `memory`, of an experiment and its `folder`; `key` is the study's name.

    `origin` is the trial that a single training repeats, or the epoch that it goes on from.
    """

    def __init__(
        self, memory: StudyMemory, folder: ExperimentFolder, experiment: Experiment, key: str, origin: str | None
    ) -> None:
        self._memory, self._folder, self._experiment, self._key = memory, folder, experiment, key
        self._origin = origin
        self._spec = experiment.model_dump(mode="json")
        self._trials: list[TrialView] = []
        self._changed: set[int] = set()

    def changed(self, numbers: Iterable[int]) -> None:
        """Something has happened in these trials, or they are new."""
        self._changed.update(numbers)

    def set_run_id(self, number: int, run_id: str) -> None:
        """Keep a trial's MLflow run."""
        if self._run_id(number) != run_id:
            self._memory.set_study_user_attr(self._memory.study, f"run_id/{number}", run_id)
            self._changed.add(number)

    def _run_id(self, number: int) -> str | None:
        run_id: str | None = self._memory.get_study_user_attrs(self._memory.study).get(f"run_id/{number}")
        return run_id

    def trials(self) -> tuple[TrialView, ...]:
        """All trials, by number."""
        for number in sorted(self._changed):
            frozen, folder = self._memory.get_trial(number), self._folder.trial(number)
            self._trials[number : number + 1] = [trial_view(frozen, folder, self._experiment, self._run_id(number))]
        self._changed.clear()
        return tuple(self._trials)

    def experiment(
        self,
        trials: tuple[TrialView, ...],
        total: int,
        ended: int,
        spent: Spent,
        worked_on: bool,
        final: ExperimentView | None,
        different: int | None,
    ) -> ExperimentView:
        """The experiment with these trials of `total`, of which so many have `ended`, and with its final."""
        objectives, verdict = self._experiment.objectives, self._folder.verdict
        finished = ended >= total
        if self._experiment.final or self._folder.parent:  # the last word is the verdict
            finished = finished and (verdict or final and final.verdict) is not None
        state: ExperimentState = "finished" if finished else "running" if worked_on else "interrupted"
        return ExperimentView(
            name=self._folder.name,
            key=self._key,
            state=state,
            metric=self._experiment.primary,
            total=total,
            epochs=self._experiment.train.epochs,
            folder=self._folder.path,
            spec=self._spec,
            trials=trials,
            objectives=objectives,
            front=pareto_front(trials, objectives) if len(objectives) > 1 else (),
            final=final,
            verdict=verdict,
            spent=spent,
            different=different,
            origin=self._origin,
        )

"""Ray Tune's searcher and scheduler, thin over the experiment's study and the broker. Runs in: driver."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from raypose.errors import WorkError
from raypose.record.epochs import read_epochs
from raypose.record.study import Study
from raypose.record.view import Epoch
from raypose.space.trial import Trial

NETWORK_DISK_S = 60.0


class StudySearcher(Searcher):
    """What to try next is the study's to say."""

    def __init__(
        self, study: Study, broker: Any, to_run: Callable[[Trial], Any], is_closed: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._study, self._broker, self._to_run, self._is_closed = study, broker, to_run, is_closed

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next trial that has epochs left to train; none if nobody is left to train it."""
        while not self._is_closed() and (trial := self._study.next_trial()) is not None:
            if not self._study.catch_up(trial.number):
                return {"number": trial.number, "run": asdict(self._to_run(trial)), "broker": self._broker}
        finished: str = Searcher.FINISHED
        return finished

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing to learn here: the scheduler has told the study."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles what it is given; the record makes this unnecessary."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """There is no state but the study."""

    def restore(self, checkpoint_path: str) -> None:
        """There is no state but the study."""


class StudyScheduler(FIFOScheduler):
    """Write every message into the study, decide by it, and let the lane know."""

    def __init__(self, study: Study, decide: Callable[[int, int, bool], object], changed: Callable[[], None]) -> None:
        super().__init__()
        self._study, self._decide, self._changed = study, decide, changed

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles what it is given; the record makes this unnecessary."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Called for every message; a message heard twice changes nothing."""
        number, stop = result["number"], False
        if result["kind"] == "begin":
            self._study.begin_attempt(number, result["attempt"])
        elif result["kind"] == "epoch":
            stop = self._end_epoch(number, result["epoch"])
            self._decide(number, result["epoch"], stop)  # now that it is written
        elif result["kind"] == "end":
            self._study.finish(number, error=result["error"])
        self._changed()
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def _end_epoch(self, number: int, epoch: int) -> bool:
        epochs = _wait_for(self._study.folder.trial(number), epoch)
        with self._study.together():
            # All up to this one: a worker that died between committing and telling has left one behind.
            stop = [self._study.add_epoch(number, known) for known in epochs[:epoch]][-1]
            if stop:
                self._study.finish(number, pruned=True)
        return stop


def _wait_for(trial: Path, epoch: int) -> tuple[Epoch, ...]:
    """The trial's epochs, once `epoch` is among them: a network disk may show a new folder seconds later."""
    deadline = time.monotonic() + NETWORK_DISK_S
    while len(epochs := read_epochs(trial)) < epoch:
        if time.monotonic() > deadline:
            raise WorkError(f"{trial}: a worker has written epoch {epoch}, which is not seen here; is the disk shared?")
        time.sleep(0.2)
    return epochs

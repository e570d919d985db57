"""Plain values that describe an experiment to whoever shows or mirrors it. Runs in: driver, command line."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from raypose.space.knobs import Value

TrialState = Literal["waiting", "running", "complete", "pruned", "failed"]
ExperimentState = Literal["running", "interrupted", "finished"]


@dataclass(frozen=True)
class Epoch:
    """One finished epoch: its number from 1, its metrics and the folder of its checkpoint."""

    number: int
    metrics: dict[str, float]
    folder: Path
    seconds: float
    has_weights: bool


@dataclass(frozen=True)
class TrialView:
    """One trial as the record knows it; `best` is the largest finite value of the experiment's metric."""

    number: int
    state: TrialState
    values: dict[str, Value]
    epochs: tuple[Epoch, ...]
    best: float | None
    best_epoch: int | None
    attempts: int
    seconds: float
    error: str | None
    run_id: str | None
    folder: Path

    @property
    def checkpoint(self) -> Path | None:
        """Folder of the best epoch's weights, if there is one."""
        return next((e.folder for e in self.epochs if e.number == self.best_epoch and e.has_weights), None)


@dataclass(frozen=True)
class ExperimentView:
    """One experiment with its trials so far, by number; `total` trials of at most `epochs` epochs are wanted.

    `key` is the name and what tells this experiment from others that ever had the same name.
    """

    name: str
    key: str
    state: ExperimentState
    metric: str
    total: int
    epochs: int
    folder: Path
    spec: dict[str, object]
    trials: tuple[TrialView, ...]

    @property
    def best(self) -> TrialView | None:
        """The trial with the largest metric, the earlier one on a tie; None before the first finite figure."""
        scored = [t for t in self.trials if t.best is not None]
        return max(scored, key=lambda t: (t.best, -t.number)) if scored else None

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of the knobs that differ between trials."""
        space = self.spec["space"]
        return tuple(space) if isinstance(space, dict) else ()

    def to_json(self, with_trials: bool = True) -> dict[str, Any]:
        """Plain values for programs; `raypose show --help` lists the keys."""
        plain = asdict(self)
        trials = plain.pop("trials")
        plain["best_trial"] = self.best.number if self.best else None
        if with_trials:
            plain["trials"] = [{**t, "checkpoint": v.checkpoint} for t, v in zip(trials, self.trials, strict=True)]
        return plain


def best_epoch(epochs: tuple[Epoch, ...], metric: str) -> Epoch | None:
    """The epoch with the largest metric, the earlier one on a tie."""
    return max(epochs, key=lambda e: (e.metrics[metric], -e.number), default=None)

"""Plain values that describe an experiment to whoever shows or mirrors it. Runs in: driver, command line."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from raypose.space.knobs import Value

TrialState = Literal["waiting", "running", "complete", "pruned", "failed"]
RETEST = "retest.json"
"""In a trial's folder: how its exported weights did when they were tested anew, with the hits on each image."""
CACHE = "cache.json"
"""In a trial's folder: the file that its images came from, decoded before, or its views of people, and its bytes."""
RAN_WITH = "ran_with.json"
"""In a trial's folder: what it was trained with in its last attempt, `auto` being resolved, device, versions."""
PAGE = "report.html"
"""In an experiment's folder, and among the artifacts of its run: all that it came to."""
CACHED_VIEWS = "cached_views"
"""Among an epoch's figures, if it was trained on views of people through a frozen backbone: how many of each."""

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
    """One trial as the record knows it; `best` is the largest value of the experiment's metric in any epoch.

    `source` names the trial of another experiment that was taken over, and `origin` the folder where it was trained and
    has its weights; `repeats` is the trial of the search that this one of a final repeats with its own `seed`, and
    `retested` the figure of its best weights, tested anew. `stopped`: it is pruned as somebody asked for its end.
    """

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
    seed: int
    source: str | None
    repeats: int | None
    retested: float | None
    origin: Path | None = None
    stopped: bool = False

    @property
    def ranks(self) -> bool:
        """Has it a figure that counts? What failed after its best epoch, or did not stay frozen, has none."""
        return self.best is not None and self.state != "failed"

    @property
    def at_best(self) -> dict[str, float]:
        """All figures of the best epoch."""
        return next((e.metrics for e in self.epochs if e.number == self.best_epoch), {})

    @property
    def cached_views(self) -> int | None:
        """How many augmentations of each person an epoch of it was confined to; None if none was."""
        return max((int(e.metrics[CACHED_VIEWS]) for e in self.epochs if CACHED_VIEWS in e.metrics), default=None)

    @property
    def checkpoint(self) -> Path | None:
        """Folder of the best epoch's weights, if there is one."""
        best = next((e.folder for e in self.epochs if e.number == self.best_epoch and e.has_weights), None)
        return self.origin / best.name if self.origin and best else best


@dataclass(frozen=True)
class Spent:
    """What the trials of an experiment have taken over all its restores, final apart.

    `over` names the budget that is spent, hours or gpu_hours, so that no more trials begin; None if there is some left.
    """

    hours: float = 0.0
    gpu_hours: float = 0.0
    over: str | None = None


@dataclass(frozen=True)
class ExperimentView:
    """One experiment with its trials so far, by number; `total` trials of at most `epochs` epochs are wanted.

    Where a budget is spent, `total` are those that began before it was; others among `trials` stay waiting.

    `key` is the name and what tells this experiment from others that ever had the same name. `metric` is the first of
    `objectives`, pairs of name and max or min; of two, `front` names the trials that no other one beats in both.
    `final` is the repetition of the best trials over seeds, and `verdict` what came out of it.
    `origin` is the trial that a single training repeats, or the epoch that it goes on from.
    `different` is how many different trials there can be beside those taken over, if fewer than search.trials.
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
    objectives: tuple[tuple[str, str], ...]
    front: tuple[int, ...]
    final: "ExperimentView | None" = None
    verdict: dict[str, Any] | None = None
    spent: Spent = Spent()
    different: int | None = None
    origin: str | None = None

    @cached_property
    def best(self) -> TrialView | None:
        """The trial with the largest metric, the earlier one on a tie; None before the first figure that counts."""
        scored = [t for t in self.trials if t.ranks]
        return max(scored, key=lambda t: (t.best, -t.number)) if scored else None

    @property
    def asked(self) -> int:
        """How many trials its specification asks for."""
        search = self.spec["search"]
        assert isinstance(search, dict)
        return int(search["trials"])

    @property
    def varied(self) -> tuple[str, ...]:
        """Names of the knobs that differ between trials; none of a single training."""
        space = self.spec["space"]
        return tuple(space) if isinstance(space, dict) else ()

    def to_json(self, with_trials: bool = True) -> dict[str, Any]:
        """Plain values for programs; `raypose show --help` lists the keys."""
        plain = asdict(self)
        trials = plain.pop("trials")
        plain["best_trial"] = self.best.number if self.best else None
        plain["final"] = self.final.to_json(with_trials) if self.final else None
        if with_trials:
            plain["trials"] = [{**t, "checkpoint": v.checkpoint} for t, v in zip(trials, self.trials, strict=True)]
        return plain


def best_epoch(epochs: tuple[Epoch, ...], metric: str) -> Epoch | None:
    """The epoch with the largest metric, the earlier one on a tie."""
    return max(epochs, key=lambda e: (e.metrics[metric], -e.number), default=None)


def pareto_front(trials: Iterable[TrialView], objectives: Sequence[tuple[str, str]]) -> tuple[int, ...]:
    """Numbers of the complete trials that no other one beats in one of two objectives without losing in the other."""
    (first, first_mode), (second, second_mode) = objectives
    signs = 1 if first_mode == "max" else -1, 1 if second_mode == "max" else -1
    complete = [t for t in trials if t.state == "complete" and t.at_best]
    figures = {t.number: (signs[0] * t.at_best[first], signs[1] * t.at_best[second]) for t in complete}
    front: list[int] = []
    for number in sorted(figures, key=lambda n: figures[n], reverse=True):
        if not front or figures[number][1] > figures[front[-1]][1] or figures[number] == figures[front[-1]]:
            front.append(number)
    return tuple(sorted(front))


def failed_seeds(ranked: Mapping[str, Any]) -> str | None:
    """`1 of 3 seeds failed`, of a trial in a verdict's ranking; None if all came to their end."""
    failed = ranked.get("failed", 0)
    return f"{failed} of {len(ranked['figures']) + failed} seeds failed" if failed else None

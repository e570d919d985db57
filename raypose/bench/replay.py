"""Searches replayed on learning curves: what each spends until it is near the best. Runs in: command line."""

import heapq
import itertools
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from raypose.bench.curves import NEAR, Curves, Point


class Search(Protocol):
    """Chooses points and hears how they do, epoch by epoch; trials are numbered from 0."""

    def start(self, number: int) -> Point:
        """The point of the next trial."""

    def end_epoch(self, number: int, epoch: int, figure: float) -> bool:
        """Whether the trial is to stop after this epoch, counted from 1."""

    def end(self, number: int, *, stopped: bool, diverged: bool) -> None:
        """The trial is over: at its last epoch, stopped, or without a figure for its last epoch."""


@dataclass
class Replay:
    """One search: `spent` trainings and the `best` figure at each of its improvements."""

    found: bool = False
    spent: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)

    def best_at(self, spent: float) -> float:
        """The best figure that was seen until so much was spent; 0 before the first."""
        seen = bisect_right(self.spent, spent)
        return self.best[seen - 1] if seen else 0.0


def replay(search: Search, curves: Curves, workers: int, budget: float) -> Replay:
    """Train with so many workers at once until an epoch is near the table's best, or `budget` trainings are spent."""
    result, spent = Replay(), 0.0
    for cost, figure in _epochs(search, curves, workers):
        spent += cost
        if spent > budget:
            break
        if figure is not None and figure > max(result.best, default=-1.0):
            result.spent.append(spent)
            result.best.append(figure)
            result.found = figure >= NEAR * curves.best
        if result.found:
            break
    return result


@dataclass(order=True)
class _Worker:
    """A worker that trains an epoch until `time`."""

    time: float
    order: int
    number: int = field(compare=False)
    point: Point = field(compare=False)
    epoch: int = field(default=1, compare=False)


def _epochs(search: Search, curves: Curves, workers: int) -> Iterator[tuple[float, float | None]]:
    """Cost and figure of all epochs, in the order in which they end; a trial that diverges has no figure."""
    numbers, order = itertools.count(), itertools.count()

    def begun(now: float) -> _Worker:
        number = next(numbers)
        point = search.start(number)
        return _Worker(now + curves.costs[point], next(order), number, point)

    busy = [begun(0.0) for _ in range(workers)]
    heapq.heapify(busy)
    while True:
        worker = heapq.heappop(busy)
        number, point, epoch = worker.number, worker.point, worker.epoch
        figures, cost = curves.figures[point], curves.costs[point]
        diverged = epoch > len(figures)
        stopped = not diverged and search.end_epoch(number, epoch, figures[epoch - 1])
        yield cost, None if diverged else figures[epoch - 1]
        if stopped or diverged or epoch == curves.epochs:
            search.end(number, stopped=stopped, diverged=diverged)
            heapq.heappush(busy, begun(worker.time))
        else:
            heapq.heappush(busy, _Worker(worker.time + cost, next(order), number, point, epoch + 1))

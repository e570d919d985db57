"""The table that searches are replayed on: real trainings of all choices of three knobs. Runs in: command line.

`tests/benchmarks/train_curves.py` trains it.
"""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import raypose
from raypose.errors import InputError

CURVES: Final = Path(raypose.__file__).parents[1] / "tests" / "benchmarks" / "curves.json"
NEAR: Final = 0.99
"""A search is at its end when it has seen this share of the table's best figure."""


@dataclass(frozen=True)
class Point:
    """What a search chooses."""

    lr: float
    freeze: str
    input_size: str


@dataclass(frozen=True)
class Curves:
    """Of each point the figure after each epoch, fewer of them where it diverged, and the cost of one."""

    epochs: int
    figures: Mapping[Point, tuple[float, ...]]
    costs: Mapping[Point, float]

    @cached_property
    def lrs(self) -> list[float]:
        """The learning rates that were trained, from the least."""
        return sorted({point.lr for point in self.figures})

    @cached_property
    def freezes(self) -> list[str]:
        """The freeze sets."""
        return list(dict.fromkeys(point.freeze for point in self.figures))

    @cached_property
    def sizes(self) -> list[str]:
        """The input sizes, from the least."""
        sizes = {point.input_size for point in self.figures}
        return sorted(sizes, key=lambda size: math.prod(map(int, size.split("x"))))

    @cached_property
    def best(self) -> float:
        """The best figure of any epoch."""
        return max(max(figures, default=-math.inf) for figures in self.figures.values())

    @cached_property
    def shortest(self) -> float:
        """The least that can be spent: one training of the right point, ended in time."""
        return min(
            self.costs[point] * (epoch + 1)
            for point, figures in self.figures.items()
            for epoch, figure in enumerate(figures)
            if figure >= NEAR * self.best
        )

    def nearest(self, lr: float, freeze: str, input_size: str) -> Point:
        """The point that was trained, for any learning rate."""
        trained = min(self.lrs, key=lambda known: abs(math.log(known / lr)))
        return Point(trained, freeze, input_size)


def read_curves(file: Path) -> Curves:
    """The table in a file; costs are of a full training, in the mean of all points. Raises InputError."""
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        return curves_of(int(table["epochs"]), table["curves"])
    except FileNotFoundError as fault:
        hint = "python tests/benchmarks/train_curves.py FOLDER trains one, in a checkout of raypose"
        raise InputError(f"{file}: no table of learning curves; {hint}, or name another with --table") from fault
    except (OSError, ValueError, LookupError, TypeError) as fault:
        raise InputError(f"{file}: no table of learning curves: {fault!r}") from fault


def curves_of(epochs: int, rows: list[dict[str, Any]]) -> Curves:
    """A table from the script's rows. An epoch costs the median of its freeze set and size, as noise is no cost."""
    figures: dict[Point, tuple[float, ...]] = {}
    seconds = defaultdict[tuple[str, str], list[float]](list)
    for row in rows:
        point = Point(row["lr"], row["freeze"], row["input_size"])
        if len(row["pck"]) != epochs and not row["error"] or len(row["pck"]) > epochs:
            raise ValueError(f"{point}: {len(row['pck'])} epochs instead of {epochs}")
        figures[point] = tuple(row["pck"])
        seconds[point.freeze, point.input_size] += row["cpu_seconds"]
    epoch = {point: statistics.median(seconds[point.freeze, point.input_size]) for point in figures}
    training = epochs * statistics.mean(epoch.values())
    return Curves(epochs, figures, {point: cost / training for point, cost in epoch.items()})

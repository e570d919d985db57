"""`raypose bench search`: raypose's way of searching beside others', on real learning curves. Runs in: command line."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from raypose.bench.curves import NEAR, Curves
from raypose.bench.replay import Replay, Search, replay
from raypose.bench.search_table import SearchComparison, SearchRow
from raypose.bench.searches import Ray, Raypose, optuna_defaults, random_search

RANDOM, RAY = "random search, all to the end", "Ray Tune: ASHA and OptunaSearch, as they come"
SEARCHES: Final[Mapping[str, Callable[[Curves, int], Search]]] = {
    RANDOM: random_search,
    RAY: Ray,
    "Optuna: TPE and Hyperband, as they come": optuna_defaults,
    "raypose, as it comes": Raypose,
}
WORKERS: Final = (1, 4)
BUDGET: Final = 200.0  # trainings, after which a search is given up


@dataclass(frozen=True)
class Replays:
    """All searches, by workers and way, one of each seed; `shortest` is the least that the `goal` can be seen with."""

    title: str
    goal: float
    shortest: float
    searches: Mapping[int, Mapping[str, list[Replay]]]

    @property
    def comparison(self) -> SearchComparison:
        """The table, and below it what nobody can do better."""
        rows = [
            _row(way, workers, _spent(replays), found)
            for workers, found in self.searches.items()
            for way, replays in found.items()
        ]
        return SearchComparison(self.title, [*rows, _row("an oracle", 1, 2 * [self.shortest], self.searches[1])])


def replay_searches(curves: Curves, seeds: int, told: Callable[[int, int], None]) -> Replays:
    """Replay every search with every seed. `told` hears how many seeds are done, and of how many."""
    searches: dict[int, dict[str, list[Replay]]] = {workers: {way: [] for way in SEARCHES} for workers in WORKERS}
    for seed in range(seeds):
        for workers, found in searches.items():
            for way, replays in found.items():
                replays.append(replay(SEARCHES[way](curves, seed), curves, workers, BUDGET))
        told(seed + 1, seeds)
    title = f"trainings spent until PCK {NEAR * curves.best:.2f} is seen; {len(curves.figures)} points, {seeds} seeds"
    return Replays(title, NEAR * curves.best, curves.shortest, searches)


def _row(way: str, workers: int, spent: list[float], found: Mapping[str, list[Replay]]) -> SearchRow:
    low, median, high = statistics.quantiles(spent, n=4, method="inclusive")
    to_random, to_ray = (statistics.median(_spent(found[other])) / median for other in (RANDOM, RAY))
    return SearchRow(way, workers, median, low, high, spent.count(BUDGET), to_random, to_ray)


def _spent(replays: list[Replay]) -> list[float]:
    return [replay.spent[-1] if replay.found else BUDGET for replay in replays]

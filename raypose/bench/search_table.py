"""What replayed searches are compared by, without what they are replayed with. Runs in: command line."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class SearchRow:
    """What a search with so many workers spent until it was near the best, in trainings: median and quartiles.

    `missed` of them never were, and count with all that they had to spend. Ratios are other medians to this one.
    """

    way: str
    workers: int
    median: float
    low: float
    high: float
    missed: int
    to_random: float
    to_ray: float


@dataclass(frozen=True)
class SearchComparison:
    """The table of all searches."""

    title: str
    rows: list[SearchRow]
    headings = "", "at once", "median", "from", "to", "never", "random's", "Ray's"

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Each row's."""
        for row in self.rows:
            figures = (f"{figure:.1f}" for figure in (row.median, row.low, row.high))
            ratios = (f"{ratio:.2f}" for ratio in (row.to_random, row.to_ray))
            yield row.way, str(row.workers), *figures, str(row.missed), *ratios

"""`raypose bench search`: searches on learning curves spend what they say, and stop whom they would stop."""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raypose.bench.curves import Curves, Point, curves_of, read_curves
from raypose.bench.replay import replay
from raypose.bench.search import BUDGET, replay_searches
from raypose.bench.searches import OptunaStudy, Ray, Raypose, optuna_defaults, random_search
from raypose.errors import InputError
from tests.bench.test_bench import raypose

EPOCHS = 8
LRS, FREEZES, SIZES = [1e-3, 4e-3, 1.6e-2, 6.4e-2], ["none", "backbone"], ["64x64", "128x128"]


def rows() -> list[dict[str, Any]]:
    """Curves that rise to a height that is best at 1.6e-2, with nothing frozen, on large images."""
    found = []
    for lr in LRS:
        for freeze in FREEZES:
            for size in SIZES:
                height = 40 - 10 * abs(math.log10(lr / 1.6e-2)) - 8 * (freeze == "backbone") - 9 * (size == "64x64")
                pck = [height * epoch / EPOCHS for epoch in range(1, EPOCHS + 1)]
                seconds = 1.0 + (freeze == "none") + 2 * (size == "128x128")
                found.append({"lr": lr, "freeze": freeze, "input_size": size, "error": None, "pck": pck})
                found[-1]["cpu_seconds"] = [9 * seconds, *(EPOCHS - 1) * [seconds]]
    diverged = next(row for row in found if row["lr"] == 6.4e-2 and row["freeze"] == "none")
    diverged |= {"error": "the loss is not finite", "pck": diverged["pck"][:2], "cpu_seconds": [1.0, 1.0]}
    return found


@pytest.fixture
def curves() -> Curves:
    """The table of all rows."""
    return curves_of(EPOCHS, rows())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The same in a file."""
    file = tmp_path / "curves.json"
    file.write_text(json.dumps({"epochs": EPOCHS, "curves": rows()}))
    return file


class Listed:
    """Asks for the given points in turn, and stops the trials at the given epochs."""

    def __init__(self, points: Iterable[Point], stops: dict[int, int]) -> None:
        self.points: Iterator[Point] = iter(points)
        self.stops, self.ends = stops, dict[int, str]()

    def start(self, number: int) -> Point:
        return next(self.points)

    def end_epoch(self, number: int, epoch: int, figure: float) -> bool:
        return self.stops.get(number) == epoch

    def end(self, number: int, *, stopped: bool, diverged: bool) -> None:
        self.ends[number] = "stopped" if stopped else "diverged" if diverged else "complete"


BEST, FROZEN = Point(1.6e-2, "none", "128x128"), Point(1.6e-2, "backbone", "64x64")
DIVERGES = Point(6.4e-2, "none", "64x64")


def test_costs_are_of_full_trainings_and_first_epochs_do_not_count(curves: Curves) -> None:
    costs = {curves.costs[point] for point in curves.figures if point.input_size == "128x128"}
    assert sum(curves.costs.values()) / len(curves.costs) == pytest.approx(1 / EPOCHS)
    assert max(costs) / min(costs) == pytest.approx(4 / 3)
    assert curves.shortest == pytest.approx(curves.costs[BEST] * EPOCHS)
    assert curves.nearest(3.1e-3, "none", "64x64") == Point(4e-3, "none", "64x64")


def test_what_is_spent_is_every_epoch_of_every_trial(curves: Curves) -> None:
    search = Listed([FROZEN, DIVERGES, FROZEN, BEST], {0: 3})
    found = replay(search, curves, 1, BUDGET)
    assert search.ends == {0: "stopped", 1: "diverged", 2: "complete"}
    epochs = {FROZEN: 3 + EPOCHS, DIVERGES: 3, BEST: EPOCHS}
    assert found.found and found.best[-1] == curves.best
    assert found.spent[-1] == pytest.approx(sum(curves.costs[point] * count for point, count in epochs.items()))
    assert found.best == sorted(found.best) and found.best_at(found.spent[0] / 2) == 0.0


def test_workers_train_side_by_side(curves: Curves) -> None:
    search = Listed([FROZEN, *9 * [BEST]], {})
    found = replay(search, curves, 2, BUDGET)
    beside = math.floor(EPOCHS * curves.costs[BEST] / curves.costs[FROZEN])  # of the cheap one, or the next, meanwhile
    assert beside > EPOCHS and search.ends == {0: "complete"}
    after = math.ceil((EPOCHS * curves.costs[BEST] - EPOCHS * curves.costs[FROZEN]) / curves.costs[BEST]) - 1
    spent = curves.costs[FROZEN] * EPOCHS + curves.costs[BEST] * (EPOCHS + after)
    assert found.spent[-1] == pytest.approx(spent)


def test_a_search_that_never_comes_near_is_given_up(curves: Curves) -> None:
    found = replay(Listed(iter(lambda: FROZEN, None), {}), curves, 1, 2.0)
    assert not found.found and found.spent[-1] <= 2.0


def test_ray_stops_whoever_is_behind_at_the_first_epoch_and_everyone_at_the_last(curves: Curves) -> None:
    ray = Ray(curves, seed=0)
    for number in range(2):
        assert ray.start(number) in curves.figures
    assert not ray.end_epoch(0, 1, 5.0) and ray.end_epoch(1, 1, 4.0)
    ray.end(1, stopped=True, diverged=False)
    assert [ray.end_epoch(0, epoch, 5.0) for epoch in range(2, EPOCHS + 1)] == [*(EPOCHS - 2) * [False], True]


def test_raypose_begins_with_the_recipe_and_never_stops_it(curves: Curves) -> None:
    search = Raypose(curves, seed=0)
    assert search.start(0) == Point(4e-3, "none", "128x128")
    drawn = {number: search.start(number) for number in range(1, 5)}
    stopped = {number: search.end_epoch(number, 2, 9.0 - number) for number in drawn}
    assert len(set(drawn.values())) > 1 and stopped[1] is False and all(stopped[number] for number in (2, 3, 4))
    assert not search.end_epoch(0, 2, 0.0)


@pytest.mark.parametrize("make", [Raypose, Ray, optuna_defaults, random_search])
def test_the_same_seed_searches_the_same_way(curves: Curves, make: Any) -> None:
    once, again = (replay(make(curves, 3), curves, 2, BUDGET) for _ in range(2))
    assert once == again and once.found


def test_a_full_trial_is_told_its_best_epoch(curves: Curves) -> None:
    search: OptunaStudy = random_search(curves, seed=0)
    search.start(0)
    for epoch, figure in enumerate((1.0, 3.0, 2.0), start=1):
        search.end_epoch(0, epoch, figure)
    search.end(0, stopped=False, diverged=False)
    assert search.study.best_value == 3.0


def test_medians_quartiles_and_ratios(curves: Curves) -> None:
    heard: list[tuple[int, int]] = []
    replays = replay_searches(curves, 3, lambda done, of: heard.append((done, of)))
    random, ray, *_, oracle = replays.comparison.rows
    assert heard == [(1, 3), (2, 3), (3, 3)] and (random.to_random, ray.to_ray) == (1.0, 1.0)
    spent = sorted(search.spent[-1] for search in replays.searches[1][random.way])
    assert random.median == spent[1] and random.low <= random.median <= random.high
    assert oracle.median == curves.shortest <= random.median == pytest.approx(oracle.to_random * oracle.median)


def test_it_is_shown_and_drawn(table: Path, tmp_path: Path) -> None:
    plot = tmp_path / "searches.png"
    done = raypose("bench", "search", "--table", str(table), "--seeds", "2", "--plot", str(plot))
    assert done.returncode == 0 and "raypose, as it comes" in done.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_for_programs(table: Path) -> None:
    done = raypose("bench", "search", "--table", str(table), "--seeds", "2", "--json")
    (comparison,) = json.loads(done.stdout)["comparisons"]
    assert {row["workers"] for row in comparison["rows"]} == {1, 4}


def test_without_a_table() -> None:
    done = raypose("bench", "search", "--table", "no_such.json")
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("raypose: no_such.json: no table of learn")


@pytest.mark.parametrize("text", ["", "{}", '{"epochs": 3, "curves": [{"pck": []}]}', '{"epochs": 8, "curves": []}'])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "curves.json").write_text(text)
    with pytest.raises(InputError, match="no table of learning curves"):
        read_curves(tmp_path / "curves.json")


def test_a_curve_of_other_epochs_is_refused(table: Path) -> None:
    altered = rows()
    altered[0]["pck"].append(1.0)
    with pytest.raises(ValueError, match="9 epochs instead of 8"):
        curves_of(EPOCHS, altered)

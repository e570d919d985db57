"""The verb `raypose bench`: how fast this machine trains, beside stock MMPose, and how far a search comes.

Runs in: command line.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from raypose.options import Json, open_console, print_json

SEARCH = "search"


def bench(
    parts: Annotated[list[str] | None, typer.Argument(help="loader, step; these two if none is named; search.")] = None,
    rounds: Annotated[int, typer.Option(help="How often each way is measured, in turns.", min=1)] = 5,
    seeds: Annotated[int, typer.Option(help="search: with how many seeds each way is replayed.", min=2)] = 30,
    table: Annotated[Path | None, typer.Option(help="search: learning curves, instead of the checkout's.")] = None,
    plot: Annotated[Path | None, typer.Option(help="search: draw how the best figure grows, into a PNG.")] = None,
    as_json: Json = False,
) -> None:
    """Measure this machine: raypose beside stock MMPose, in turns, in CPU time (with a GPU: in time).

    search replays raypose's way of searching, and others', on a table of real learning curves.

    Example: raypose bench loader
    """
    from raypose.bench.parts import PARTS
    from raypose.bench.parts import bench as measure
    from raypose.screen import LiveScreen
    from raypose.tracking.environment import environment

    known = (*PARTS, SEARCH)
    chosen = [part for part in known if part in (parts or PARTS)]
    if unknown := set(parts or ()) - set(known):
        raise typer.BadParameter(f"'{sorted(unknown)[0]}' is none of {', '.join(known)}", param_hint="PARTS")
    found: list[Any] = []
    with LiveScreen(open_console(stderr=True)).open() as screen:
        for part in chosen:
            screen.say(f"measuring: {part}")
            if part in PARTS:
                found.append(measure(part, rounds, screen.progress))
            else:
                found.append(_replayed(table, seeds, plot, screen.progress))
    machine = environment()
    if as_json:
        print_json({"machine": machine, "comparisons": [dataclasses.asdict(comparison) for comparison in found]})
        return
    console = open_console()
    for part, comparison in zip(chosen, found, strict=True):
        console.print(_search_table(comparison) if part == SEARCH else _table(comparison))
    console.print(", ".join(f"{name} {value}" for name, value in machine.items() if value), soft_wrap=True)


def _replayed(file: Path | None, seeds: int, plot: Path | None, told: Callable[[int, int], None]) -> Any:
    from raypose.bench.curves import CURVES, read_curves
    from raypose.bench.search import replay_searches
    from raypose.plots import draw_searches

    replays = replay_searches(read_curves(file or CURVES), seeds, told)
    if plot:
        draw_searches(replays, plot)
    return replays.comparison


def _table(comparison: Any) -> Any:
    from rich.table import Table

    table = Table(title=comparison.title, title_justify="left")
    for column in ("", comparison.unit, "ratio", "from", "to", "MB"):
        table.add_column(column, justify="right" if column else "left")
    for row in comparison.rows:
        ratios = (f"{ratio:.2f}" for ratio in (row.ratio, row.low, row.high))
        table.add_row(row.way, f"{row.per_second:,.0f}", *ratios, f"{row.megabytes:,.0f}")
    return table


def _search_table(comparison: Any) -> Any:
    from rich.table import Table

    table = Table(title=comparison.title, title_justify="left")
    for column in ("", "at once", "median", "from", "to", "never", "random's", "Ray's"):
        table.add_column(column, justify="right" if column else "left")
    for row in comparison.rows:
        figures = (f"{figure:.1f}" for figure in (row.median, row.low, row.high))
        ratios = (f"{ratio:.2f}" for ratio in (row.to_random, row.to_ray))
        table.add_row(row.way, str(row.workers), *figures, str(row.missed), *ratios)
    return table

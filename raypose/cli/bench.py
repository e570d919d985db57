"""The verb `raypose bench`: how fast this machine trains, beside stock MMPose, and how far a search comes.

Runs in: command line.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from raypose.cli.options import Json, open_console, print_json


def bench(
    parts: Annotated[list[str] | None, typer.Argument(help="What to measure; all if none is named.")] = None,
    rounds: Annotated[int, typer.Option(help="How often each way is measured, in turns.", min=1)] = 5,
    seeds: Annotated[int, typer.Option(help="search: with how many seeds each way is replayed.", min=2)] = 30,
    table: Annotated[Path | None, typer.Option(help="search: learning curves, instead of the checkout's.")] = None,
    plot: Annotated[Path | None, typer.Option(help="search: draw how the best figure grows, into a PNG.")] = None,
    lanes: Annotated[int, typer.Option(help="scale: how many trials run at once.", min=1)] = 50,
    trials: Annotated[int, typer.Option(help="scale: how many there are.", min=1)] = 300,
    as_json: Json = False,
) -> None:
    """Measure this machine: raypose beside stock MMPose, in turns, in CPU time (with a GPU: in time).

    loader   people loaded from photos, with MMPose's transforms, raypose's, and the crop cache

    step     training steps, with more and more of the model frozen

    epoch    a whole epoch beside MMEngine's bare Runner, and what checkpoint, record, MLflow and Ray cost of it (Linux)

    start    how soon trials begin: from the command on, on a warm lane, by a Ray Train run of their own (Linux)

    pipeline training from photos: loader and model at once, and each alone; on a GPU with mixed precision

    packing  several trainings at once on this machine, beside one that has all of it

    levers   training steps by precision and layout, beside plain single precision

    search   raypose's way of searching, and others', replayed on a table of real learning curves

    scale    what a search costs the process that drives it, with simulated GPUs; with --lanes 1000 --trials 10000 a
             quarter of an hour

    \b
    Example: raypose bench loader
    """
    from raypose.bench.parts import MEASURES, Options
    from raypose.bench.parts import bench as measure
    from raypose.display.screen import LiveScreen
    from raypose.tracking.environment import environment

    if unknown := set(parts or ()) - set(MEASURES):
        raise typer.BadParameter(f"'{sorted(unknown)[0]}' is none of {', '.join(MEASURES)}", param_hint="PARTS")
    found: list[Any] = []
    with LiveScreen(open_console(stderr=True)).open() as screen:
        for part in [part for part in MEASURES if not parts or part in parts]:
            screen.say(f"measuring: {part}")
            found += measure(part, Options(rounds, seeds, table, plot, lanes, trials), screen.progress)
    machine = environment()
    if as_json:
        print_json({"machine": machine, "comparisons": [dataclasses.asdict(comparison) for comparison in found]})
        return
    console = open_console()
    for comparison in found:
        console.print(_table(comparison))
    console.print(", ".join(f"{name} {value}" for name, value in machine.items() if value), soft_wrap=True)


def _table(comparison: Any) -> Any:
    from rich.table import Table

    first, *columns = comparison.headings
    table = Table(first, title=comparison.title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for cells in comparison.cells():
        table.add_row(*cells)
    return table

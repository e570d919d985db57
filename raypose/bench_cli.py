"""The verb `raypose bench`: how fast this machine trains, beside stock MMPose. Runs in: command line."""

import dataclasses
from typing import Annotated, Any

import typer

from raypose.options import Json, open_console, print_json


def bench(
    parts: Annotated[list[str] | None, typer.Argument(help="What to measure; all if none is named.")] = None,
    rounds: Annotated[int, typer.Option(help="How often each way is measured, in turns.", min=1)] = 5,
    as_json: Json = False,
) -> None:
    """Measure this machine: raypose beside stock MMPose, in turns, in CPU time (with a GPU: in time).

    loader   people loaded from photos, with MMPose's transforms, raypose's, and the crop cache

    step     training steps, with more and more of the model frozen

    epoch    a whole epoch beside MMEngine's bare Runner, and what checkpoint, record, MLflow and Ray cost of it (Linux)

    start    how soon trials begin: from the command on, on a warm lane, by a Ray Train run of their own (Linux)

    pipeline training from photos: loader and model at once, and each alone; on a GPU with mixed precision

    packing  several trainings at once on this machine, beside one that has all of it

    Example: raypose bench loader
    """
    from raypose.bench.parts import PARTS, Comparison
    from raypose.bench.parts import bench as measure
    from raypose.screen import LiveScreen
    from raypose.tracking.environment import environment

    chosen = [part for part in PARTS if not parts or part in parts]
    if unknown := set(parts or ()) - set(PARTS):
        raise typer.BadParameter(f"'{sorted(unknown)[0]}' is none of {', '.join(PARTS)}", param_hint="PARTS")
    found = []
    with LiveScreen(open_console(stderr=True)).open() as screen:
        for part in chosen:
            screen.say(f"measuring: {part}")
            found += measure(part, rounds, screen.progress)
    machine = environment()
    if as_json:
        print_json({"machine": machine, "comparisons": [dataclasses.asdict(comparison) for comparison in found]})
        return
    console = open_console()
    for comparison in found:
        console.print(_table(comparison) if isinstance(comparison, Comparison) else _course(comparison))
    console.print(", ".join(f"{name} {value}" for name, value in machine.items() if value), soft_wrap=True)


def _table(comparison: Any) -> Any:
    from rich.table import Table

    table = Table(title=comparison.title, title_justify="left")
    for column in ("", comparison.unit, "ratio", "from", "to", "MB"):
        table.add_column(column, justify="right" if column else "left")
    for row in comparison.rows:
        ratios = (f"{ratio:.2f}" for ratio in (row.ratio, row.low, row.high))
        table.add_row(row.way, f"{row.per_second:,.0f}", *ratios, f"{row.megabytes:,.0f}")
    return table


def _course(course: Any) -> Any:
    from rich.table import Table

    table = Table(title=course.title, title_justify="left")
    for column in ("", "seconds", "CPU seconds"):
        table.add_column(column, justify="right" if column else "left")
    for stage in course.stages:
        seconds = "" if stage.seconds is None else f"{stage.seconds:.2f}"
        table.add_row(stage.name, seconds, f"{stage.cpu_seconds:.2f}")
    for process, held in course.megabytes.items():
        table.add_row(f"the {process}: {held.resident:,.0f} MB, {held.own_part:,.0f} where it shares them", "", "")
    return table

"""The verb `raypose bench`: how fast this machine trains, beside stock MMPose. Runs in: command line."""

import dataclasses
from typing import Annotated, Any

import typer

from raypose.options import Json, open_console, print_json


def bench(
    parts: Annotated[list[str] | None, typer.Argument(help="loader, step; all of them if none is named.")] = None,
    rounds: Annotated[int, typer.Option(help="How often each way is measured, in turns.", min=1)] = 5,
    as_json: Json = False,
) -> None:
    """Measure this machine: raypose beside stock MMPose, in turns, in CPU time (with a GPU: in time).

    Example: raypose bench loader
    """
    from raypose.bench.parts import PARTS
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
            found.append(measure(part, rounds, screen.progress))
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

    table = Table(title=comparison.title, title_justify="left")
    for column in ("", comparison.unit, "ratio", "from", "to", "MB"):
        table.add_column(column, justify="right" if column else "left")
    for row in comparison.rows:
        ratios = (f"{ratio:.2f}" for ratio in (row.ratio, row.low, row.high))
        table.add_row(row.way, f"{row.per_second:,.0f}", *ratios, f"{row.megabytes:,.0f}")
    return table

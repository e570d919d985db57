"""The verbs of `raypose data`: render the demo set, check a folder. Runs in: command line."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from raypose.options import Json, open_console, print_json

data_app = typer.Typer(help="Render the demo set, check a data folder.", rich_markup_mode=None)


@data_app.command("demo")
def data_demo(
    folder: Annotated[Path, typer.Argument(help="Folder to render into; it must not exist or hold a demo set.")],
    train: Annotated[int, typer.Option(help="Training people.", min=1)] = 800,
    val: Annotated[int, typer.Option(help="Validation people.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.", min=0)] = 0,
) -> None:
    """Render the demo set: drawn people in MPII layout."""
    from raypose.datasets.demo import ensure_demo
    from raypose.screen import LiveScreen
    from raypose.space.one_line import one_line

    with LiveScreen(open_console()).open() as screen:
        screen.say(f"rendering {train + val} people")
        rendered = ensure_demo(folder.absolute(), train=train, val=val, seed=seed, on_progress=screen.progress)
    typer.echo(one_line(f"{folder}: {'rendered' if rendered else 'is there already'}"))


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="Folder with images/ and annotations/.")],
    deep: Annotated[bool, typer.Option("--deep", help="Decode every image too.")] = False,
    as_json: Json = False,
) -> None:
    """Is this a sound MPII layout? Counts, and every problem."""
    from raypose.datasets.mpii import check_mpii
    from raypose.space.one_line import one_line

    report = check_mpii(folder, deep=deep)
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        counts = (
            f"{folder}: {report.train_people} people to train on in {report.train_images} images, "
            f"{report.val_people} to validate in {report.val_images}, {report.joints_labelled} joints; "
            f"{len(report.problems)} problems"
        )
        for line in (counts, *(f"  {problem.severity}: {problem}" for problem in report.problems)):
            typer.echo(one_line(line))
    raise typer.Exit(2 if report.errors else 0)

"""The verb that sums up: `raypose report`. Runs in: command line.

Heavy stages are imported inside it, so that help and errors are instant.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raypose.cli.options import DEFAULT_MLRUNS, Mlruns, open_console
from raypose.errors import InputError

if TYPE_CHECKING:
    from raypose.display.screen import LiveScreen
    from raypose.record.view import ExperimentView

DEFAULT_OUT = Path("report.html")


def report(
    experiments: Annotated[list[str], typer.Argument(metavar="EXP...", help="Names of experiments; `raypose list`.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = DEFAULT_OUT,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write TensorBoard's event files, one run a trial.")
    ] = None,
    mlruns: Mlruns = DEFAULT_MLRUNS,
) -> None:
    """Write all that an experiment comes to on one HTML page, which needs no network; several are compared on it.

    Winner and how to repeat it, best and learning curves, importance of the knobs, joints, accuracy against cost, where
    the time went, failures with their reasons. The page of one experiment is also kept with its run in MLflow.

    \b
    Example: raypose report lr-1 --out lr-1.html

    \b
    Example: raypose report lr-1 freeze-1 --tensorboard events
    """
    _require_place(out, tensorboard)
    from raypose.display.screen import LiveScreen
    from raypose.record.folder import find_experiment
    from raypose.record.study import read_view

    found = [find_experiment(mlruns.absolute(), name) for name in experiments]
    folders = list(dict.fromkeys(folder.parent or folder for folder in found))  # a final is told of with its search
    console = open_console(stderr=True)
    with LiveScreen(console).open() as screen:
        screen.say("reading the record")
        views = [read_view(folder) for folder in folders]
        _write(views, out, screen)
        if tensorboard:
            _write_events(views, tensorboard, screen)
        if len(views) == 1:
            _keep(views[0], out, folders[0].mlruns, screen)
    typer.echo(out)


def _require_place(out: Path, tensorboard: Path | None) -> None:
    """Raise InputError unless the page and the event files can be written there."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise InputError(f"--out: {out}: {'is a folder' if out.is_dir() else 'no such folder'}; name a file to write")
    if tensorboard and tensorboard.exists() and not tensorboard.is_dir():
        raise InputError(f"--tensorboard: {tensorboard}: is a file; name a folder")


def _write(views: "list[ExperimentView]", out: Path, screen: "LiveScreen") -> None:
    from raypose.report.page import write

    screen.say("drawing the figures")
    write(views, out)


def _write_events(views: "list[ExperimentView]", folder: Path, screen: "LiveScreen") -> None:
    from raypose.report.events import write_events

    for view in views:
        screen.say(f"writing the events of {view.name} for: tensorboard --logdir {folder}")
        write_events(view, folder)


def _keep(view: "ExperimentView", page: Path, mlruns: Path, screen: "LiveScreen") -> None:
    """The page among the artifacts of the experiment's run; that it cannot be kept there is told, and no failure."""
    from raypose.tracking.report import keep_report
    from raypose.tracking.store import open_store

    screen.say("keeping the page in MLflow")
    problem = keep_report(open_store(mlruns), view, page)
    if problem:
        screen.say(f"warning: MLflow has no such page ({problem})")

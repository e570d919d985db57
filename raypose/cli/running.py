"""An experiment while a person watches: a live screen, then the summary and the exit code. Runs in: command line."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from raypose.cli.options import DEFAULT_MLRUNS, open_console

if TYPE_CHECKING:
    from raypose.display.screen import LiveScreen
    from raypose.record.view import ExperimentView


def run_and_tell(work: "Callable[[LiveScreen], ExperimentView]", mlruns: Path) -> None:
    """Run with a live screen, and end with the summary; exit code 1 if no trial came to a figure."""
    from raypose.display.screen import LiveScreen
    from raypose.display.tables import summary, trial_table

    console = open_console()
    with LiveScreen(console).open() as screen:
        view = work(screen)
    if view.final:
        console.print(trial_table(view.final))
    console.print(summary(view), soft_wrap=True)
    where = "" if mlruns == DEFAULT_MLRUNS else f" --mlruns {mlruns}"
    console.print(f"Compare the trials in MLflow: raypose ui{where}", soft_wrap=True)
    if view.best is None:
        raise typer.Exit(1)

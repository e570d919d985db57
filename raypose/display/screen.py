"""What a person sees while trials run. Runs in: command line."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from raypose.display.budget import budget_line
from raypose.display.tables import best_so_far, in_brief, trial_table
from raypose.record.view import ExperimentView, TrialView
from raypose.space.knobs import values_text

AROUND = 12  # lines of a terminal that the steps, the table's head and its foot take
LONGEST = 500  # rows of the table that stays when all is over


class LiveScreen:
    """The steps of the preparation as they come, then one table of trials that stays in place.

    On a terminal the table is redrawn; elsewhere (a file, a job's log) every epoch prints one line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[counted]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._view: ExperimentView | None = None
        self._told: dict[int, tuple[str, int, int]] = {}
        self._seen_at = time.monotonic()
        self._live: Live | None = None
        self._over = False

    @contextmanager
    def open(self) -> Iterator["LiveScreen"]:
        """Draw until the end of the block."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(get_renderable=self._draw, console=self._console, refresh_per_second=4) as self._live:
            try:
                yield self
            finally:
                self._over = True

    def say(self, text: str) -> None:
        """Finish the step before and begin this one."""
        if not self._console.is_terminal:
            self._console.print(text)
        self._finish_step()
        self._steps.add_task(text, total=None, counted="")

    def _finish_step(self) -> None:
        for task in self._steps.tasks:
            self._steps.update(task.id, total=task.total or 1, completed=task.total or 1)

    def progress(self, done: int, total: int) -> None:
        """How far the current step is."""
        self._steps.update(self._steps.task_ids[-1], completed=done, total=total, counted=f"{done}/{total}")

    def show(self, view: ExperimentView) -> None:
        """Take over the newest state of the trials; one that is the same object as before has no news."""
        before, self._view = self._view.trials if self._view else (), view
        self._seen_at = time.monotonic()
        if any(trial.attempts for trial in view.trials):  # the last step of the preparation is over
            self._finish_step()
        if not self._console.is_terminal:
            for trial, earlier in zip_longest(view.trials, before[: len(view.trials)]):
                if trial is not earlier:
                    self._tell(view, trial)

    def _tell(self, view: ExperimentView, trial: TrialView) -> None:
        mark = (trial.state, len(trial.epochs), trial.attempts)
        if mark == self._told.get(trial.number) or trial.state == "waiting" or not trial.attempts:
            return
        self._told[trial.number] = mark
        latest = f"{trial.epochs[-1].metrics[view.metric]:.2f}" if trial.epochs else "-"
        text = f"trial {trial.number} {trial.state}: {values_text(trial.values)}; epoch {len(trial.epochs)}, "
        text += f"{view.metric} {latest}"
        self._console.print(text + (f", best so far {best_so_far(view)}" if view.best else ""), soft_wrap=True)

    def _draw(self) -> RenderableType:
        if self._view is None:
            return self._steps
        rows = LONGEST if self._over else max(self._console.height - AROUND, 1)
        table = trial_table(in_brief(self._view, rows))
        since = time.monotonic() - self._seen_at if self._view.state == "running" else 0.0
        footer = f"best so far: {best_so_far(self._view)}   {budget_line(self._view, since)}"
        return Group(self._steps, table, Text(footer, style="dim"))

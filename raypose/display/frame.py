"""One frame of `raypose watch`: the trials with their curves, the time, the machine. Runs in: command line."""

from rich.console import Group
from rich.table import Table

from raypose.display.budget import budget_line
from raypose.display.tables import best_so_far, in_brief, trial_table
from raypose.machine.usage import machine_line
from raypose.record.view import ExperimentView

AROUND = 8  # lines of a frame beside the rows of its table


def frame(view: ExperimentView, rows: int) -> Group:
    """How the experiment stands, in at most so many rows of its trials; of its final, once that has begun."""
    return Group(_table(view, rows), _facts(view))


def _table(view: ExperimentView, rows: int) -> Table:
    return trial_table(in_brief(view.final or view, max(rows, 1)), curves=True)


def _facts(view: ExperimentView) -> Table:
    ended = sum(t.state in ("complete", "pruned", "failed") for t in view.trials)
    begun = sum(t.state == "running" for t in view.trials)
    now = "running" if view.state == "running" else "begun"
    facts = Table.grid(padding=(0, 2))
    all_there_are = "" if view.different is None else ", all that the space holds"
    final = ", now its final" if view.final else ""
    facts.add_row("trials", f"{ended} of {view.total} ended, {begun} {now}{all_there_are}{final}")
    facts.add_row("best", best_so_far(view))
    facts.add_row("time", budget_line(view))
    if view.final:
        facts.add_row("of its final", budget_line(view.final))
    facts.add_row("this machine", machine_line())
    return facts

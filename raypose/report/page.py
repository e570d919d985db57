"""The report: one HTML page that needs nothing from elsewhere. Runs in: command line, driver."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
import plotly.io
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from raypose.record.files import read_json
from raypose.record.view import ExperimentView, TrialView
from raypose.report import curves, figures, tables
from raypose.report.figures import Explored
from raypose.report.style import Drawn
from raypose.report.tables import Table

DEFAULT_MLRUNS = Path("mlruns")
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtons": [["toImage", "resetScale2d"]],
    "toImageButtonOptions": {"format": "svg"},
}


@dataclass(frozen=True)
class Section:
    """A part of the page: what it shows in words, figures (or sentences in their place) and a table."""

    title: str
    lead: str
    drawn: Sequence[Drawn] = ()
    table: Table | str | None = None
    lines: Sequence[str] = ()
    columns: int = 1

    @property
    def anchor(self) -> str:
        """What links to the section name."""
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True)
class Chapter:
    """One experiment of the page."""

    view: ExperimentView
    saved: dict[str, Any]
    sections: Sequence[Section]

    @property
    def tiles(self) -> list[tuple[str, str]]:
        """The few figures that are read first."""
        view, found = self.view, tables.outcome(self.view)
        ended = [sum(t.state == state for t in view.trials) for state in ("complete", "pruned", "failed")]
        which = f", trial {found.winner.number}" if found.winner else ""
        return [
            (f"best {view.metric} of the search{which}", tables.figure(found.best)),
            ("the base config's", tables.figure(found.base)),
            ("gained", found.gained),
            ("trials", f"{len(view.trials)} of {view.total}"),
            ("complete, pruned, failed", ", ".join(map(str, ended))),
            ("epochs trained", str(found.epochs)),
        ]

    @property
    def facts(self) -> Table:
        """What was trained on what."""
        return tables.facts(self.view, self.saved)

    @property
    def winners(self) -> list[tuple[str, str]]:
        """Figures with values of the winner, or of all that are on the front of two metrics; what trains each again."""
        view, best = self.view, tables.winner(self.view)
        chosen = [view.trials[number] for number in view.front] or ([best] if best else [])
        return [(tables.in_words(view, trial), repeating(view, trial)) for trial in chosen]


def repeating(view: ExperimentView, trial: TrialView) -> str:
    """The command that trains a trial again."""
    mlruns = view.folder.parents[1]
    where = "" if mlruns == DEFAULT_MLRUNS.absolute() else f" --mlruns {shlex.quote(str(mlruns))}"
    trust = " --trust-config" if view.spec.get("trust_config") else ""
    return f"raypose train --trial {view.name}/{trial.number}{trust}{where}"


def render(views: Sequence[ExperimentView]) -> str:
    """The page of one experiment, or of several that are compared."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("raypose.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["plot"] = _plot
    chapters = [Chapter(view, read_json(view.folder / "spec.json"), sections(view)) for view in views]
    return environment.get_template("page.html").render(
        chapters=chapters,
        compared=compared(views) if len(views) > 1 else None,
        plotly=Markup(get_plotlyjs()),
        made=f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
    )


def write(views: Sequence[ExperimentView], file: Path) -> None:
    """Put the page in the place of `file`, whole or not at all."""
    staging = file.with_name(f".{file.name}.tmp")
    staging.write_text(render(views), encoding="utf-8")
    staging.replace(file)


def compared(views: Sequence[ExperimentView]) -> Section:
    """The experiments' winners, and their best curves over each other."""
    metrics = list(dict.fromkeys(view.metric for view in views))
    lead = "Each experiment's winner, and the best figure that was reached with what was trained."
    if len(metrics) > 1:
        differ = f"They are judged by different figures ({', '.join(metrics)}), so their curves are not comparable."
        return Section("Compared", lead, [differ], tables.winners(views))
    return Section("Compared", lead, _spent(views), tables.winners(views), columns=2)


def _spent(views: Sequence[ExperimentView]) -> list[Drawn]:
    by_epochs = curves.draw_best(views, "epochs")
    return [by_epochs] if isinstance(by_epochs, str) else [by_epochs, curves.draw_best(views, "seconds")]


def sections(view: ExperimentView) -> list[Section]:
    """All that is told of one experiment, in the order in which it is asked."""
    return [*_verdict(view), *_search(view), *_knobs(view), *_trained(view)]


def _verdict(view: ExperimentView) -> list[Section]:
    verdict = tables.verdict_of(view)
    if verdict is None:
        return []
    lead = "The best trials and the base config, trained again over seeds and tested anew."
    lines = tables.verdict_sentences(verdict)
    return [Section("Verdict", lead, table=tables.ranking(verdict), lines=lines)]


def _search(view: ExperimentView) -> list[Section]:
    return [
        Section(
            "Best curve", f"The best {view.metric} so far, over what all trials trained.", _spent([view]), columns=2
        ),
        Section(
            "Learning curves",
            f"{view.metric} after each epoch of every trial; crosses mark where one was pruned or failed.",
            [curves.draw_learning(view)],
        ),
    ]


def _knobs(view: ExperimentView) -> list[Section]:
    explored = Explored(view)
    among = f"Among the {len(explored.trials)} trials with a figure"
    pruned = "a pruned one counts with its best, which fewer epochs keep low."
    few = figures.conditional_lines(explored.conditional(), len(explored.trials))
    return [
        Section("Parallel coordinates", f"{among}; {pruned}", [figures.draw_parallel(explored)]),
        Section(
            "Importance",
            f"{among}: the share of the variance of {view.metric} that each knob explains by itself (fANOVA); {pruned}",
            [figures.draw_importances(explored)],
            lines=few,
        ),
        Section(
            "Interactions",
            f"{view.metric} over each two of the most important knobs: where the best of one depends on the other, "
            "the ridge is not parallel to an axis.",
            figures.draw_interactions(explored),
            columns=3,
        ),
        Section("Slices", f"{view.metric} over each knob, whatever the others were.", figures.draw_slices(explored)),
    ]


def _trained(view: ExperimentView) -> list[Section]:
    return [
        Section(
            "Joints", "At the best epoch, in percent; the difference to the base config's.", table=tables.joints(view)
        ),
        Section(
            "Accuracy and cost",
            f"{view.metric} against what the model costs; of the blue ones none is beaten in both.",
            figures.draw_fronts(view),
            columns=3,
        ),
        Section(
            "Where the time went",
            "Seconds of training in finished epochs, with their validation.",
            [curves.draw_seconds(view), curves.draw_shares(view)],
            columns=2,
        ),
        Section("Failures", "Trials that ended without a figure that counts.", table=tables.failures(view)),
        Section("Trials", "All of them, by number.", table=tables.trials(view)),
    ]


def _plot(figure: go.Figure) -> Markup:
    """Plotly escapes what could end the script that its figure's data stand in."""
    return Markup(plotly.io.to_html(figure, config=CONFIG, include_plotlyjs=False, full_html=False))

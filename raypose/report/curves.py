"""What was reached with what was spent: best curves, learning curves, seconds. Runs in: command line, driver."""

import html
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import plotly.graph_objects as go

from raypose.record.epochs import ended_at
from raypose.record.view import Epoch, ExperimentView, TrialView
from raypose.report.style import ACCENT, COLOURS, GREY, SEVERAL, Drawn, styled

Unit = Literal["epochs", "seconds"]
ENDS = {"pruned": "x", "failed": "circle-x"}


@dataclass(frozen=True)
class Reached:
    """The best figure so far, and its trial, once so much was trained in all trials together."""

    epochs: int
    seconds: float
    best: float
    trial: int


def best_so_far(view: ExperimentView) -> list[Reached]:
    """After each epoch, in the order in which they ended; trials that were taken over cost nothing here.

    A trial that failed in the end has spent what it has, but its figures do not count.
    """
    epochs, seconds, found = 0, 0.0, list[Reached]()
    for trial, epoch in _in_order(view):
        if trial.source is None:
            epochs, seconds = epochs + 1, seconds + epoch.seconds
        figure = epoch.metrics[view.metric]
        if trial.state != "failed" and (not found or figure > found[-1].best):
            found.append(Reached(epochs, seconds, figure, trial.number))
        elif found:
            found.append(Reached(epochs, seconds, found[-1].best, found[-1].trial))
    return found


def _in_order(view: ExperimentView) -> Iterator[tuple[TrialView, Epoch]]:
    every = [(trial, epoch) for trial in view.trials for epoch in trial.epochs]
    yield from sorted(every, key=lambda each: (each[0].source is None, ended_at(each[1])))


def draw_best(views: Sequence[ExperimentView], unit: Unit) -> Drawn:
    """The best figure over the training spent, one curve an experiment."""
    figure = go.Figure()
    for view, colour in zip(views, SEVERAL * (1 + len(views) // len(SEVERAL)), strict=False):
        reached, name = best_so_far(view), html.escape(view.name)
        figure.add_scatter(
            x=[getattr(point, unit) for point in reached],
            y=[point.best for point in reached],
            customdata=[point.trial for point in reached],
            hovertemplate=f"{name}: %{{y:.2f}} by trial %{{customdata}}<br>after %{{x:.0f}} {unit}<extra></extra>",
            name=name,
            mode="lines",
            line={"shape": "hv", "width": 2.5, "color": colour},
        )
    if not any(trace.x for trace in figure.data):
        return "No epoch has ended yet, so there is no figure to follow."
    figure.update_layout(showlegend=len(views) > 1)
    return styled(figure, x=f"{unit} trained, of all trials together", y=f"best {views[0].metric} so far")


def draw_learning(view: ExperimentView) -> Drawn:
    """Every trial's figure over its epochs, with a mark where one was pruned or failed."""
    figure, apart = go.Figure(), _told_apart(view)
    for state, colour in COLOURS.items():
        trials = [t for t in view.trials if t.state == state and t.epochs and t.number not in apart]
        if trials:
            _add_curves(figure, trials, view.metric, name=state, line={"color": colour, "width": 1.2}, opacity=0.65)
    for number, (trial, what, dash) in apart.items():
        name = f"trial {number}, {what}"
        _add_curves(figure, [trial], view.metric, name=name, line={"color": ACCENT, "width": 3, "dash": dash})
    if not figure.data:
        return "No epoch has ended yet, so there are no learning curves."
    for state, symbol in ENDS.items():
        _add_ends(figure, [t for t in view.trials if t.state == state and t.epochs], view.metric, state, symbol)
    figure.update_xaxes(dtick=1 if view.epochs <= 25 else None)
    return styled(figure, 480, "epoch", view.metric)


def _told_apart(view: ExperimentView) -> dict[int, tuple[TrialView, str, str]]:
    """The base config's trial and the best one, which may be the same, with a word and a dash for each."""
    chosen = {0: (view.trials[0], "the base config", "dash")} if view.trials and view.trials[0].epochs else {}
    if view.best:
        chosen[view.best.number] = view.best, "the best", "solid"
    return chosen


def _add_curves(figure: go.Figure, trials: Sequence[TrialView], metric: str, **look: object) -> None:
    """One trace for all of them, with gaps between: thousands of traces would choke a browser."""
    points = [
        point
        for trial in trials
        for point in [*((e.number, e.metrics[metric], trial.number) for e in trial.epochs), (None, None, None)]
    ]
    x, y, numbers = zip(*points, strict=True)
    hover = "trial %{customdata}, epoch %{x}: %{y:.2f}<extra></extra>"
    figure.add_scatter(x=x, y=y, customdata=numbers, mode="lines", hovertemplate=hover, **look)


def _add_ends(figure: go.Figure, trials: Sequence[TrialView], metric: str, state: str, symbol: str) -> None:
    if trials:
        figure.add_scatter(
            x=[trial.epochs[-1].number for trial in trials],
            y=[trial.epochs[-1].metrics[metric] for trial in trials],
            customdata=[trial.number for trial in trials],
            mode="markers",
            marker={"symbol": symbol, "size": 9, "color": COLOURS[state], "line": {"width": 1, "color": "white"}},
            name=f"{state} here",
            hovertemplate=f"trial %{{customdata}} {state} after epoch %{{x}}: %{{y:.2f}}<extra></extra>",
        )


def seconds_by_state(view: ExperimentView) -> dict[str, float]:
    """Seconds of training in the finished epochs of all trials that were trained here, by the trials' states."""
    spent = defaultdict[str, float](float)
    for trial in view.trials:
        if trial.source is None and trial.epochs:
            spent[trial.state] += trial.seconds
    return dict(spent)


def draw_seconds(view: ExperimentView) -> Drawn:
    """Seconds of each trial, in the colour of its state."""
    if not seconds_by_state(view):
        return "No epoch has ended yet, so no time was spent."
    figure = go.Figure()
    for state, colour in COLOURS.items():
        trials = [t for t in view.trials if t.state == state and t.source is None and t.epochs]
        if trials:
            figure.add_bar(
                x=[trial.number for trial in trials],
                y=[trial.seconds for trial in trials],
                customdata=[len(trial.epochs) for trial in trials],
                name=state,
                marker={"color": colour},
                hovertemplate="trial %{x}: %{y:.0f} s in %{customdata} epochs<extra></extra>",
            )
    return styled(figure, 340, "trial", "seconds of training")


def draw_shares(view: ExperimentView) -> Drawn:
    """How the seconds divide between trials that came to their end, were pruned, or failed."""
    spent = seconds_by_state(view)
    if not spent:
        return "Nothing was spent that could be shared out."
    figure = go.Figure()
    colours = [COLOURS.get(state, GREY) for state in spent]
    figure.add_pie(
        labels=list(spent),
        values=list(spent.values()),
        hole=0.55,
        sort=False,
        marker={"colors": colours},
        texttemplate="%{label}<br>%{percent:.0%}",
        insidetextorientation="horizontal",
        hovertemplate="%{label}: %{value:.0f} s<extra></extra>",
        showlegend=False,
    )
    return styled(figure, 340)

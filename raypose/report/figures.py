"""Optuna's own figures of a record: what mattered, and what accuracy costs. Runs in: command line, driver."""

import math
import warnings
from ast import literal_eval
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import optuna
import plotly.graph_objects as go
from optuna import visualization

from raypose.record.view import ExperimentView, TrialView
from raypose.report.study import best_figure, memory_study
from raypose.report.style import ACCENT, Drawn, styled

LEAST = 8  # trials with a figure: of fewer, a forest's importances are noise
MOST, MOST_IN_CONTOUR = 1000, 150  # trials, spread over the search, of which more would cost minutes or megabytes
ROW = 3  # slices beside each other
COSTS = {
    "gflops": ("GFLOPs (1e9 multiply-adds) an image", "min"),
    "latency_ms": ("latency of one image, ms", "min"),
    "parameters": ("parameters", "min"),
}
SCALE = "Viridis"


class Explored:
    """The trials of an experiment that have a figure, and the knobs in which they differ."""

    def __init__(self, view: ExperimentView) -> None:
        self.metric = view.metric
        self.trials = [trial for trial in view.trials if best_figure(trial)]
        self.study = memory_study(view)
        self.knobs = [name for name in view.varied if self._differs(name)]
        self.importances = self._importances(self.common)

    def _differs(self, name: str) -> bool:
        return len({trial.values[name] for trial in self.trials if name in trial.values}) > 1

    @property
    def common(self) -> list[str]:
        """The knobs that every one of these trials has."""
        return [name for name in self.knobs if all(name in trial.values for trial in self.trials)]

    @property
    def too_little(self) -> str | None:
        """Why nothing can be said about knobs; None if something can."""
        if len(self.trials) < 2:
            return f"{_count(len(self.trials))} with a figure: two are needed to compare anything."
        return None if self.knobs else "All trials with a figure have the same values, so there is nothing to compare."

    def _importances(self, knobs: list[str]) -> dict[str, float]:
        """Shares of the variance that each knob explains; empty where there is too little to tell."""
        trials = [trial for trial in self.trials if all(name in trial.values for name in knobs)]
        if not knobs or len(trials) < LEAST or len({trial.best for trial in trials}) < 2:
            return {}
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # here: a second for its forest

        return get_param_importances(self.thinned(MOST), evaluator=FanovaImportanceEvaluator(seed=0), params=knobs)

    def thinned(self, most: int) -> optuna.Study:
        """At most so many of the trials with a figure, evenly spread over the search."""
        study = optuna.create_study(direction="maximize")
        complete = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        study.add_trials(complete[:: math.ceil(len(complete) / most)])
        return study

    def conditional(self) -> dict[str, tuple[int, float | None]]:
        """Of each knob that only some trials have, how many do, and its importance among those."""
        found = {}
        for name in self.knobs:
            if name not in self.common:
                having = sum(name in trial.values for trial in self.trials)
                found[name] = having, self._importances([*self.common, name]).get(name)
        return found


def draw_parallel(explored: Explored) -> Drawn:
    """Each trial as a line through its values; a knob that it does not have is at None."""
    if explored.too_little:
        return explored.too_little
    drawn = _optuna(
        visualization.plot_parallel_coordinate, explored.study, params=explored.knobs, target_name=explored.metric
    )
    return styled(drawn, 440)


def draw_importances(explored: Explored) -> Drawn:
    """How much of the figure's variance each knob explains (fANOVA; Hutter, Hoos, Leyton-Brown 2014)."""
    if explored.too_little:
        return explored.too_little
    if len(explored.common) < 2:
        return "Fewer than two knobs vary in all trials, so there is nothing to weigh against each other."
    if not explored.importances:
        return f"{_count(len(explored.trials))} with a figure: importances of fewer than {LEAST} would be noise."
    names = list(reversed(explored.importances))
    figure = go.Figure(go.Bar(x=[explored.importances[n] for n in names], y=names, orientation="h"))
    figure.update_traces(marker={"color": ACCENT}, texttemplate="%{x:.0%}", hovertemplate="%{y}: %{x:.1%}")
    figure.update_xaxes(tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(automargin=True)
    return styled(figure, 140 + 44 * len(names), f"share of the variance of {explored.metric}")


def draw_interactions(explored: Explored) -> list[Drawn]:
    """The figure over each two of the three most important knobs."""
    if len(explored.common) < 2:
        return ["Fewer than two knobs vary in all trials, so none can depend on another."]
    if not explored.importances:
        return [f"{_count(len(explored.trials))} with a figure: too few to tell which knobs to set against each other."]
    pairs = combinations(list(explored.importances)[:3], 2)
    return [_contour(explored, pair) for pair in pairs]


def _contour(explored: Explored, pair: Sequence[str]) -> go.Figure:
    thinned = explored.thinned(MOST_IN_CONTOUR)
    drawn = _optuna(visualization.plot_contour, thinned, params=list(pair), target_name=explored.metric)
    drawn.update_traces(colorscale=SCALE, reversescale=False, selector={"type": "contour"})
    return styled(drawn, 420)


def draw_slices(explored: Explored) -> list[Drawn]:
    """The figure over each knob, whatever the others were; the colour is the trial's number."""
    if explored.too_little:
        return [explored.too_little]
    count = len(explored.knobs)
    beside = math.ceil(count / math.ceil(count / ROW))  # so that rows are alike
    rows = [explored.knobs[first : first + beside] for first in range(0, count, beside)]
    drawn = [_optuna(visualization.plot_slice, explored.study, params=row, target_name=explored.metric) for row in rows]
    return [styled(_unquoted(figure), 380) for figure in drawn]


def _unquoted(figure: go.Figure) -> go.Figure:
    """Optuna writes the values of a choice as Python does."""
    for trace in figure.select_traces():
        if any(isinstance(value, str) for value in trace.x):
            trace.x = [literal_eval(value) for value in trace.x]
    for axis in figure.select_xaxes():
        if axis.categoryarray is not None:
            axis.categoryarray = [literal_eval(value) for value in axis.categoryarray]
    return figure


def draw_fronts(view: ExperimentView) -> list[Drawn]:
    """The figure against each cost, with the trials that no other one beats in both."""
    known = [trial for trial in view.trials if best_figure(trial) and "gflops" in trial.at_best]
    if len(known) < 2:
        return [f"{_count(len(known))} with a figure and a measured cost: two are needed to compare them."]
    costs = COSTS | {name: (COSTS.get(name, (name, mode))[0], mode) for name, mode in view.objectives[1:]}
    varying = {name: cost for name, cost in costs.items() if len({t.at_best.get(name) for t in known}) > 1}
    same = [f"{label}: {_amount(known[0].at_best[name])}" for name, (label, _) in costs.items() if name not in varying]
    fronts: list[Drawn] = [_front(view, name, *cost) for name, cost in varying.items()]
    return [*fronts, *(["The same in all trials: " + "; ".join(same) + "."] if same else [])]


def _amount(cost: float) -> str:
    return f"{cost:,.0f}" if cost >= 1000 else f"{cost:.4g}"


def _front(view: ExperimentView, name: str, label: str, mode: str) -> go.Figure:
    def figures(trial: TrialView) -> list[float] | None:
        counts = best_figure(trial) and name in trial.at_best
        return [trial.at_best[name], trial.at_best[view.metric]] if counts else None

    study = memory_study(view, figures, (mode, "max"))
    drawn = _optuna(visualization.plot_pareto_front, study, target_names=[label, view.metric])
    best = sorted((trial.values[0], trial.values[1]) for trial in study.best_trials)
    rest, front = drawn.data
    rest.marker = {"color": "#c3cad2", "size": 8, "line": {"width": 0.5, "color": "white"}}
    front.marker = {"color": ACCENT, "size": 10, "line": {"width": 1, "color": "white"}}
    x, y = zip(*best, strict=True)
    drawn.add_scatter(x=x, y=y, mode="lines", line={"shape": "hv", "color": ACCENT, "width": 1.5}, hoverinfo="skip")
    drawn.update_traces(showlegend=False)
    return styled(drawn, 380)


def _optuna(draw: Callable[..., go.Figure], study: optuna.Study, **options: object) -> go.Figure:
    """A figure of Optuna's, which tells of what is experimental; its log axes get ticks that can be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        figure = draw(study, **options)
    for axis in (*figure.select_xaxes(selector={"type": "log"}), *figure.select_yaxes(selector={"type": "log"})):
        values = [trial.params[axis.title.text] for trial in study.trials if axis.title.text in trial.params]
        axis.update(dtick="D2" if max(values, default=1) < 100 * min(values, default=1) else 1, tickformat="~g")
    return figure


def conditional_lines(found: Mapping[str, tuple[int, float | None]], trials: int) -> list[str]:
    """A sentence for each knob that only some trials have."""
    lines = []
    for name, (having, importance) in found.items():
        told = "too few to tell its importance" if importance is None else f"its share among these is {importance:.0%}"
        lines.append(f"{name} exists in {having} of {trials} trials; {told}.")
    return lines


def _count(trials: int) -> str:
    return f"{trials} trial" if trials == 1 else f"{trials} trials"

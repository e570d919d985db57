"""An experiment in tables and words: its trials, its front, its winner. Runs in: command line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.table import Table
from rich.text import Text

from raypose.display.budget import budget_line
from raypose.record.distinct import no_more
from raypose.record.files import read_whole
from raypose.record.view import CACHE, ExperimentView, TrialView, failed_seeds
from raypose.space.knobs import Value, shown, values_text

BARS, CURVE = "▁▂▃▄▅▆▇█", 24  # of a curve, and how many at most
STYLES = {"waiting": "dim", "running": "cyan", "complete": "green", "pruned": "yellow", "failed": "red"}


def trial_table(view: ExperimentView, curves: bool = False) -> Table:
    """One row a trial: number, state, the values that vary, epochs, last and best metric, seconds.

    A final's rows name the trial they repeat, their seed, and the figure of their weights tested anew. With `curves`
    each trial's metric is drawn over its epochs, all between the lowest and the highest figure of any.
    """
    knobs, others = list(view.varied), [name for name, _ in view.objectives[1:]]
    repeats = any(trial.repeats is not None for trial in view.trials)
    figures = ["last", "best", *(["re-tested"] if repeats else []), *others]
    names = ["of trial", "seed"] if repeats else ["trial"]
    table = Table(title=f"{view.name}  ({view.state}), {view.metric}", title_justify="left")
    for heading in (*names, "state", *(k.rsplit(".", 1)[-1] for k in knobs), "epoch", *figures, "seconds"):
        table.add_column(heading, justify="left" if heading == "state" else "right")
    if curves:
        table.add_column("by epoch")
    known = [epoch.metrics[view.metric] for trial in view.trials for epoch in trial.epochs]
    for trial in view.trials:
        table.add_row(
            *_name(view, trial),
            Text(trial.state, style=STYLES[trial.state]),
            *(_short(trial.values[k]) if k in trial.values else "" for k in knobs),
            f"{len(trial.epochs)}/{view.epochs}",
            _figure(trial.epochs[-1].metrics[view.metric] if trial.epochs else None),
            Text(_figure(trial.best), style="bold green" if _is_marked(view, trial) else ""),
            *([_figure(trial.retested)] if repeats else []),
            *(_short(trial.at_best[name]) if trial.at_best else "" for name in others),
            f"{trial.seconds:.0f}",
            *([sparkline([e.metrics[view.metric] for e in trial.epochs], known, view.epochs)] if curves else []),
        )
    return table


def sparkline(figures: Sequence[float], known: Sequence[float], epochs: int) -> str:
    """A curve as bars, between the lowest and highest of all `known` figures; of many epochs every few."""
    a_bar = math.ceil(epochs / CURVE)
    low, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0) or 1.0
    last = [figures[min(end, len(figures)) - 1] for end in range(a_bar, len(figures) + a_bar, a_bar)]
    return "".join(BARS[round((figure - low) / span * (len(BARS) - 1))] for figure in last)


def in_brief(view: ExperimentView, most: int) -> ExperimentView:
    """At most this many of the trials: the base config, the best one, and those that were begun last."""
    if len(view.trials) <= most:
        return view
    begun = [t for t in view.trials if t.state != "waiting"]
    wanted = [view.trials[0], *([view.best] if view.best else []), *reversed(begun[-most:])]
    kept = list(dict.fromkeys(trial.number for trial in wanted))[:most]
    return replace(view, trials=tuple(view.trials[number] for number in sorted(kept)))


def _name(view: ExperimentView, trial: TrialView) -> list[str]:
    if trial.repeats is not None:
        return [f"{trial.repeats}{' base' if trial.repeats == 0 else ''}", str(trial.seed)]
    is_base = trial.number == 0 and view.varied
    return [f"{trial.number}{' base' if is_base else f' ({trial.source})' if trial.source else ''}"]


def _is_marked(view: ExperimentView, trial: TrialView) -> bool:
    if view.front:
        return trial.number in view.front
    return view.best is not None and trial.number == view.best.number


def trial_lines(view: ExperimentView) -> str:
    """What the table has no room for: each trial's curve, attempts, cost, images, MLflow run and checkpoint."""
    lines = []
    for trial in view.trials:
        curve = " ".join(f"{epoch.metrics[view.metric]:.1f}" for epoch in trial.epochs) or "-"
        ended = "; ended by `raypose stop`" if trial.stopped else ""
        lines.append(f"trial {trial.number}: {view.metric} by epoch {curve}; attempts {trial.attempts}{ended}")
        if "gflops" in trial.at_best:
            lines.append(f"  cost: {_cost(trial)}")
        if cache := read_whole(trial.folder / CACHE):
            what = f"{cache['views']} views of each person" if "views" in cache else "images decoded before"
            lines.append(f"  {what}, {cache['bytes'] / 1e6:.0f} MB of them, in {cache['file']}")
        lines.append(f"  MLflow run {trial.run_id or '-'}, checkpoint {trial.checkpoint or '-'}")
    return "\n".join(lines)


def _cost(trial: TrialView) -> str:
    figures = trial.at_best
    return (
        f"{figures['parameters'] / 1e6:.2f} M parameters, {figures['gflops']:.3f} GFLOPs, "
        f"{figures['latency_ms']:.1f} ms an image, {figures['images_per_s']:.0f} images/s, "
        f"{trial.seconds / len(trial.epochs):.1f} s of training an epoch"
    )


def summary(view: ExperimentView) -> str:
    """The end of a run in words: the best trial beside the base config's own values, where its weights are."""
    best = view.best
    failed = [f"  trial {t.number} failed: {t.error}" for t in view.trials if t.state == "failed"]
    if best is None:
        none = f"{view.name}: no trial has come to a figure that counts; `raypose show {view.name}` tells why"
        return "\n".join([none, *([] if view.varied else failed)])
    lines = _trained(view, best) if not view.varied else _front(view) if view.front else _winner(view, best)
    lines += failed
    if view.spent.over:
        lines.append(f"  no more than {view.total} trials began: {budget_line(view)}")
    elif view.different is not None:
        lines.append(f"  {no_more(view.different, view.asked)}")
    if view.final and view.final.verdict:
        lines += verdict_lines(view.final.verdict)
    return "\n".join(lines)


def _winner(view: ExperimentView, best: TrialView) -> list[str]:
    base = view.trials[0]
    against = f" (the base config's own values: {_figure(base.best)})" if base.ranks else ""
    return [
        f"Best: trial {best.number}, {view.metric} {_figure(best.best)}{against}",
        f"  {values_text(best.values)}",
        f"  checkpoint: {best.checkpoint}",
    ]


def _trained(view: ExperimentView, only: TrialView) -> list[str]:
    """The end of a single training, and how it can be made longer."""
    last = only.epochs[-1]
    others = "".join(f", {name} {_short(only.at_best[name])}" for name, _ in view.objectives[1:])
    longer = f"  to train longer: raypose train --resume {last.folder} --epochs {2 * view.epochs}"
    return [
        f"{view.metric} {_figure(only.best)}{others}, in epoch {only.best_epoch} of {view.epochs}",
        f"  {values_text(only.values)}",
        *([f"  begun from {view.origin}"] if view.origin else []),
        f"  checkpoint: {only.checkpoint}",
        *([longer] if only.state == "complete" else []),
    ]


def _front(view: ExperimentView) -> list[str]:
    """The trials that no other one beats in both figures, the best of the first figure first."""
    front = sorted((view.trials[n] for n in view.front), key=lambda t: -(t.best or 0.0))
    goal = " and ".join(f"{'high' if mode == 'max' else 'low'} {name}" for name, mode in view.objectives)
    lines = [f"Pareto front of {goal}: {len(front)} of {len(view.trials)} trials"]
    for trial in front:
        figures = ", ".join(f"{name} {_short(trial.at_best[name])}" for name, _ in view.objectives)
        lines += [f"  trial {trial.number}: {figures}; {values_text(trial.values)}", f"    {trial.checkpoint}"]
    return lines


def verdict_lines(verdict: Mapping[str, Any]) -> list[str]:
    """What the repetitions over seeds showed: winner, mean, spread, intervals, and the figure on unseen data."""
    metric, seeds = verdict["metric"], len(verdict["figures"])
    lines = [
        f"Winner over {seeds} seed(s): trial {verdict['trial']}, re-tested {metric} {_over_seeds(verdict)}, "
        f"95 % interval over images {_interval(verdict['interval'])}",
        f"  {values_text(verdict['values'])}",
    ]
    if verdict["trial"] == 0:
        lines.append("  no trial does better than the base config's own values")
    if "gain" in verdict:
        lines.append(f"  gained over the base config: {verdict['gain']:+.2f} {_interval(verdict['gain_interval'])}")
    if test := verdict.get("test"):
        gain = f", gained {test['gain']:+.2f} {_interval(test['gain_interval'])}" if "gain" in test else ""
        figure = f"{test['figures'][metric]:.2f} {_interval(test['interval'])}"
        lines.append(f"  on test data that no trial saw: {metric} {figure}{gain}")
    behind = [*verdict["ranking"][1:], *verdict.get("unranked", [])]
    others = "; ".join(f"trial {ranked['trial']}: {_over_seeds(ranked)}" for ranked in behind)
    return [*lines, *([f"  after it: {others}"] if others else []), f"  checkpoint: {verdict['checkpoint']}"]


def _over_seeds(ranked: Mapping[str, Any]) -> str:
    """A trial's mean and spread, where there are any, and how many of its seeds failed."""
    parts = []
    if "mean" in ranked:
        spread = " (one seed)" if ranked["spread"] is None else f" ± {ranked['spread']:.2f}"
        parts.append(f"{ranked['mean']:.2f}{spread}")
    return ", ".join([*parts, *filter(None, [failed_seeds(ranked)])])


def _interval(ends: list[float]) -> str:
    return f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def best_so_far(view: ExperimentView) -> str:
    """The best figure and its trial, or a dash."""
    return f"{view.metric} {_figure(view.best.best)} (trial {view.best.number})" if view.best else "-"


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else shown(value)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

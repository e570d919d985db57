"""What a person sees while trials run, and of finished ones: rich tables. Runs in: command line."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from raypose.record.view import ExperimentView, TrialView
from raypose.space.knobs import Value, shown
from raypose.space.schema import Experiment

STYLES = {"waiting": "dim", "running": "cyan", "complete": "green", "pruned": "yellow", "failed": "red"}


class LiveScreen:
    """The steps of the preparation as they come, then one table of trials that stays in place.

    On a terminal the table is redrawn; elsewhere (a file, a job's log) every epoch prints one line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[counted]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._view: ExperimentView | None = None
        self._told: set[tuple[int, str, int, int]] = set()
        self._began = time.monotonic()
        self._live: Live | None = None

    @contextmanager
    def open(self) -> Iterator["LiveScreen"]:
        """Draw until the end of the block."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(get_renderable=self._draw, console=self._console, refresh_per_second=4) as self._live:
            yield self

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
        """Take over the newest state of the trials."""
        self._view = view
        if any(trial.attempts for trial in view.trials):  # the last step of the preparation is over
            self._finish_step()
        if not self._console.is_terminal:
            for trial in view.trials:
                self._tell(view, trial)

    def _tell(self, view: ExperimentView, trial: TrialView) -> None:
        mark = (trial.number, trial.state, len(trial.epochs), trial.attempts)
        if mark in self._told or trial.state == "waiting" or not trial.attempts:
            return
        self._told.add(mark)
        latest = f"{trial.epochs[-1].metrics[view.metric]:.2f}" if trial.epochs else "-"
        text = (
            f"trial {trial.number} {trial.state}: {_values(trial)}; epoch {len(trial.epochs)}, {view.metric} {latest}"
        )
        self._console.print(text + (f", best so far {_best(view)}" if view.best else ""), soft_wrap=True)

    def _draw(self) -> RenderableType:
        if self._view is None:
            return self._steps
        return Group(self._steps, trial_table(self._view), Text(self._footer(self._view), style="dim"))

    def _footer(self, view: ExperimentView) -> str:
        left = time_left(view, time.monotonic() - self._began)
        spent = _duration(time.monotonic() - self._began)
        return f"best so far: {_best(view)}   {spent} spent" + (f", about {_duration(left)} left" if left else "")


def time_left(view: ExperimentView, elapsed_s: float) -> float | None:
    """Seconds until the last trial, from the pace of the finished ones; None before one has finished."""
    total = view.total
    finished = sum(t.state in ("complete", "pruned", "failed") for t in view.trials)
    return elapsed_s / finished * (total - finished) if finished else None


def trial_table(view: ExperimentView) -> Table:
    """One row a trial: number, state, the values that vary, epochs, last and best metric, seconds."""
    knobs = list(view.varied)
    table = Table(title=f"{view.name}  ({view.state})", title_justify="left")
    for heading in ("trial", "state", *(k.rsplit(".", 1)[-1] for k in knobs), "epoch", view.metric, "best", "seconds"):
        table.add_column(heading, justify="left" if heading == "state" else "right")
    for trial in view.trials:
        last = trial.epochs[-1].metrics[view.metric] if trial.epochs else None
        marked = view.best is not None and trial.number == view.best.number
        table.add_row(
            f"{trial.number}{' base' if trial.number == 0 else ''}",
            Text(trial.state, style=STYLES[trial.state]),
            *(_short(trial.values[k]) if k in trial.values else "" for k in knobs),
            f"{len(trial.epochs)}/{view.epochs}",
            _figure(last),
            Text(_figure(trial.best), style="bold green" if marked else ""),
            f"{trial.seconds:.0f}",
        )
    return table


def trial_lines(view: ExperimentView) -> str:
    """What the table has no room for: each trial's curve, attempts, MLflow run and best checkpoint."""
    lines = []
    for trial in view.trials:
        curve = " ".join(f"{epoch.metrics[view.metric]:.1f}" for epoch in trial.epochs) or "-"
        lines.append(f"trial {trial.number}: {view.metric} by epoch {curve}; attempts {trial.attempts}")
        lines.append(f"  MLflow run {trial.run_id or '-'}, checkpoint {trial.checkpoint or '-'}")
    return "\n".join(lines)


def summary(view: ExperimentView) -> str:
    """The end of a run in words: the best trial beside the base config's own values, where its weights are."""
    best = view.best
    if best is None:
        return f"{view.name}: no trial has finished an epoch; `raypose show {view.name}` tells why"
    base = view.trials[0].best
    against = f" (the base config's own values: {_figure(base)})" if base is not None else ""
    lines = [
        f"Best: trial {best.number}, {view.metric} {_figure(best.best)}{against}",
        f"  {_values(best)}",
        f"  checkpoint: {best.checkpoint}",
    ]
    failed = [t for t in view.trials if t.state == "failed"]
    lines += [f"  trial {t.number} failed: {t.error}" for t in failed]
    return "\n".join(lines)


def _values(trial: TrialView) -> str:
    return _pairs(trial.values)


def _best(view: ExperimentView) -> str:
    return f"{view.metric} {_figure(view.best.best)} (trial {view.best.number})" if view.best else "-"


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else shown(value)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def plan_text(experiment: Experiment, planned: dict[str, Any]) -> str:
    """What `raypose plan` found out, for people."""
    data, wanted = planned["data"], experiment.resources
    trials, epochs = experiment.search.trials, experiment.train.epochs
    batch = f"{experiment.train.batch_size} x {wanted.workers} worker(s)"
    lines = [
        f"data       {data['folder']}: {data['train_people']} people to train on, {data['val_people']} to validate",
        f"model      {experiment.model}, weights {experiment.weights}",
        f"search     {trials} trials ({experiment.search.sampler}), pruner {experiment.prune.pruner}",
        f"training   at most {epochs} epochs a trial, effective batch {batch}; trials x epochs <= {trials * epochs}",
        f"resources  {wanted.workers} worker(s) x {wanted.cpus_per_worker} CPU, {wanted.gpus_per_worker} GPU a trial",
        f"base       {_pairs(planned['base_values'])}",
    ]
    for trial in planned["trials"]:
        frozen = trial["parameters"] - trial["trainable"]
        weights = {what: len(names) for what, names in trial["weights"].items()}
        lines += [
            f"\ntrial {trial['number']}: {_pairs(trial['values'])}",
            f"  parameters: {trial['parameters']:,} of which {frozen:,} frozen",
            f"  weights: {weights['loaded']} tensors loaded, {weights['other_size']} of another size left random, "
            f"{weights['unknown']} not in the model",
            *(f"  {key}: {old} -> {new}" for key, (old, new) in trial["differences"].items()),
        ]
    return "\n".join(lines)


def _pairs(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())

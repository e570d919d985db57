"""What MLflow shall hold of a study or a trial, computed from the record alone. Runs in: driver."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from raypose.record.files import read_whole
from raypose.record.view import RAN_WITH, Epoch, ExperimentView, TrialView, failed_seeds
from raypose.tracking.names import legal_metric, plain

_LONGEST_ERROR = 5000  # MLflow cuts a tag at 8000 bytes
ENDED = ("complete", "pruned", "failed")
_TRIAL_STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
_STUDY_STATUS = {"running": "RUNNING", "interrupted": "KILLED", "finished": "FINISHED"}


def study_status(view: ExperimentView) -> str:
    """MLflow's status of the parent run."""
    return _STUDY_STATUS[view.state]


def trial_status(view: ExperimentView, trial: TrialView) -> str:
    """MLflow's status of a trial's run: FINISHED also if pruned, KILLED if unfinished and nobody works on it."""
    return _TRIAL_STATUS.get(trial.state, "RUNNING" if view.state == "running" else "KILLED")


BUDGETS = ("search.trials", "search.hours", "search.gpu_hours")
"""What `raypose extend` changes: MLflow's params cannot change, tags can."""


def study_params(view: ExperimentView) -> dict[str, str]:
    """The specification without its budgets, with nested keys joined by dots and lists as JSON."""
    return {legal_metric(key): text for key, text in _flat(view.spec) if key not in BUDGETS}


def _flat(tree: dict[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else plain(value)


def trial_params(trial: TrialView) -> dict[str, str]:
    """The trial's knobs."""
    return {legal_metric(key): plain(value) for key, value in trial.values.items()}


def study_tags(view: ExperimentView) -> dict[str, str | None]:
    """The parent run's tags."""
    verdict = _verdict(view)
    budgets = {f"raypose.{key}": text for key, text in _flat(view.spec) if key in BUDGETS and text != plain(None)}
    return {
        **budgets,
        "raypose.origin": view.origin,
        "raypose.state": view.state,
        "raypose.best_trial": str(view.best.number) if view.best else None,
        "raypose.front": ", ".join(map(str, view.front)) or None,
        "raypose.winner": str(verdict["trial"]) if verdict else None,
        "raypose.winner_failed": failed_seeds(verdict) if verdict else None,
    }


def _verdict(view: ExperimentView) -> dict[str, Any] | None:
    return view.verdict or (view.final.verdict if view.final else None)


def trial_tags(trial: TrialView) -> dict[str, str | None]:
    """A trial's tags; None where the tag shall not be there."""
    how: dict[str, object] = read_whole(trial.folder / RAN_WITH) or {}
    return {
        **{f"raypose.{key}": plain(value) for key, value in how.items()},
        "raypose.state": trial.state,
        "raypose.attempts": str(trial.attempts),
        "raypose.seed": str(trial.seed),
        "raypose.cached_views": str(trial.cached_views) if trial.cached_views else None,
        "raypose.source": trial.source,
        "raypose.repeats": str(trial.repeats) if trial.repeats is not None else None,
        "raypose.checkpoint": str(trial.checkpoint) if trial.checkpoint else None,
        "raypose.stopped": "by raypose stop" if trial.stopped else None,
        "raypose.error": trial.error[:_LONGEST_ERROR] if trial.error else None,
    }


def epoch_points(epoch: Epoch) -> list[Metric]:
    """An epoch's finite metrics at the step of its number, with `epoch` itself, which marks the step as mirrored."""
    figures = {legal_metric(key): value for key, value in epoch.metrics.items() if math.isfinite(value)}
    figures |= {"epoch": epoch.number, "epoch_seconds": epoch.seconds}
    stamp = finished_at(epoch)
    return [Metric(key, float(value), stamp, epoch.number) for key, value in figures.items()]


def best_of_trial(view: ExperimentView, trial: TrialView) -> dict[str, float]:
    """The run-level figures that MLflow's comparison sorts and draws by; empty before the first finite one."""
    if trial.best is None or trial.best_epoch is None:
        return {}
    again = {} if trial.retested is None else {f"retested_{view.metric}": trial.retested}
    figures = {f"best_{view.metric}": trial.best, "best_epoch": float(trial.best_epoch), **again}
    return {legal_metric(name): figure for name, figure in figures.items()}


def best_of_study(view: ExperimentView) -> dict[str, float]:
    """The best trial's figures and its number; after a final the winner's, with what it gained and the interval."""
    best, verdict = view.best, _verdict(view)
    figures = {**best_of_trial(view, best), "best_trial": float(best.number)} if best else {}
    if best and verdict:
        figures |= {"winner": verdict["trial"], "winner_mean": verdict["mean"]}
        if verdict["spread"] is not None:
            figures["winner_spread"] = verdict["spread"]
        if "gain" in verdict:
            low, high = verdict["gain_interval"]
            figures |= {"gain": verdict["gain"], "gain_low": low, "gain_high": high}
    return {name: float(figure) for name, figure in figures.items()}


def best_points(best: dict[str, float], epochs: Sequence[Epoch], step: int) -> list[Metric]:
    """The figures `best` at `step`, with the time of the best of these `epochs`."""
    stamp = next(finished_at(epoch) for epoch in epochs if epoch.number == best["best_epoch"])
    return [Metric(key, value, stamp, step) for key, value in best.items()]


def finished_at(epoch: Epoch) -> int:
    """When the epoch was recorded, in milliseconds since 1970, so that a replay keeps the true times."""
    meta = epoch.folder / "meta.json"
    return round(1000 * (meta.stat().st_mtime if meta.exists() else time.time()))


def begun_at(epochs: Sequence[Epoch]) -> int:
    """When the first of `epochs` began, in milliseconds since 1970; now, if there is none."""
    return finished_at(epochs[0]) - round(1000 * epochs[0].seconds) if epochs else round(1000 * time.time())


def trial_files(trial: TrialView) -> list[tuple[Path, str]]:
    """The files of an ended trial that exist by now, each with its folder among the run's artifacts."""
    files = [(trial.folder / "config.py", "")]
    if trial.checkpoint:
        files += [(trial.checkpoint / name, "checkpoint") for name in ("weights.pth", "meta.json")]
    return [(path, folder) for path, folder in files if path.is_file()]


def files_mark(trial: TrialView, files: Sequence[tuple[Path, str]]) -> str:
    """The tag that says what was uploaded: the best epoch if that is all, else the names of the files."""
    return str(trial.best_epoch) if len(files) == 3 else ",".join(path.name for path, _ in files)

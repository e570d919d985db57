"""What an experiment has spent, of how much, and how long it will still take, in words. Runs in: command line."""

from collections.abc import Mapping
from typing import Any, cast

from raypose.record.spent import HOUR, duration
from raypose.record.view import ExperimentView, Spent, TrialView


def budget_line(view: ExperimentView, since_s: float = 0.0) -> str:
    """Time spent, beside the budgets that there are, and left; the `view` is `since_s` seconds old."""
    limits, now = _limits(view), _now(view.spent, since_s)
    parts = [duration(HOUR * now.hours) + _of(limits, "hours", "hours") + " spent"]
    if now.gpu_hours or limits["gpu_hours"]:
        parts.append(f"{now.gpu_hours:.2f}{_of(limits, 'gpu_hours', '')} GPU-hours")
    left = seconds_left(view, since_s)
    if view.state == "running" and left is not None and not view.final:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def _of(limits: Mapping[str, float | None], name: str, unit: str) -> str:
    limit = limits[name]
    return "" if limit is None else f" of {limit:g} {unit}".rstrip()


def _limits(view: ExperimentView) -> Mapping[str, float | None]:
    search = cast(dict[str, Any], view.spec.get("search", {}))
    return {name: search.get(name) for name in ("hours", "gpu_hours")}


def _now(spent: Spent, since_s: float) -> Spent:
    """What has been spent by now, on as many GPUs as before."""
    hours = spent.hours + since_s / HOUR
    return Spent(hours, spent.gpu_hours * hours / spent.hours if spent.hours else 0.0, spent.over)


def seconds_left(view: ExperimentView, since_s: float = 0.0) -> float | None:
    """Until the last trial, by the pace of those before, or until a budget is spent, whichever comes first.

    None before the first epoch, where no budget of time sets an end.
    """
    now, limits = _now(view.spent, since_s), _limits(view)
    done = [_share(trial, view.epochs) for trial in view.trials if trial.source is None]
    to_do = view.total - len(view.trials) + len(done) - sum(done)
    paces = [now.hours / sum(done) * to_do] if sum(done) and now.hours else []
    if limits["hours"] is not None:
        paces.append(limits["hours"] - now.hours)
    if limits["gpu_hours"] is not None and now.gpu_hours:
        paces.append((limits["gpu_hours"] / now.gpu_hours - 1) * now.hours)
    return HOUR * max(min(paces), 0.0) if paces else None


def _share(trial: TrialView, epochs: int) -> float:
    """How far the trial has come, 1 at its end, however soon it was pruned."""
    return len(trial.epochs) / epochs if trial.state in ("waiting", "running") else 1.0

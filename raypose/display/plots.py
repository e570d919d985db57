"""Pictures of schedules, range tests and searches. Runs in: command line."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from raypose.space.knobs import values_text  # noqa: E402

STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")
HEAD = ("head.final_layer", "head.mlp", "head.gau", "head.cls_x", "head.cls_y")
SPENT = [0.1 * 1.05**step for step in range(131)]  # trainings, up to 57


def draw_schedules(planned: Mapping[str, Any], file: Path) -> None:
    """Each planned trial's learning rates over all steps, one curve for each group of parameters that has its own."""
    trials = list(zip(planned["trials"], planned["schedules"], strict=True))
    figure, axes = pyplot.subplots(len(trials), squeeze=False, figsize=(9, 4.5 * len(trials)), layout="constrained")
    for (trial, schedule), axis in zip(trials, axes[:, 0], strict=True):
        axis.set_title(f"trial {trial['number']}: {values_text(trial['values'])}", fontsize=10, loc="left", wrap=True)
        _draw_schedule(axis, schedule)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _draw_schedule(axis: Axes, schedule: Mapping[str, Any]) -> None:
    for curve in schedule["curves"]:
        decays = " or ".join(f"{decay:.3g}" for decay in curve["decays"])
        label = f"{_parts(curve['parts'])}: {curve['parameters']:,} parameters, weight decay {decays}"
        axis.plot(schedule["steps"], curve["lr"], label=label, linewidth=1.8)
    for step, what in schedule["marks"].items():
        axis.axvline(int(step), color="grey", linewidth=0.8, linestyle=":")
        axis.annotate(what, (int(step), 1), xycoords=("data", "axes fraction"), rotation=90, va="top", fontsize=8)
    axis.set(xlabel="step", ylabel="learning rate", ylim=(0, None))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.16), frameon=False)


def _parts(names: list[str]) -> str:
    """The parts of the model that share a curve; whole ones by one name."""
    for whole, parts in {"backbone": STAGES, "head": HEAD}.items():
        if set(parts) <= set(names):
            names = [whole, *(name for name in names if name not in parts)]
    return ", ".join(names)


def draw_range(found: Mapping[str, Any], file: Path) -> None:
    """The smoothed loss over the growing learning rate, with the proposed bounds."""
    figure, axis = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    axis.plot(found["lrs"], found["losses"], linewidth=1.8)
    axis.axvspan(found["low"], found["high"], alpha=0.15, label=f"proposed: {found['low']:g} to {found['high']:g}")
    axis.set(xscale="log", xlabel="learning rate", ylabel="smoothed loss")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def draw_searches(replays: Any, file: Path) -> None:
    """The best figure so far over what was spent, of every search the median and the quartiles over its seeds."""
    panels = replays.searches.items()
    figure, axes = pyplot.subplots(1, len(panels), squeeze=False, sharey=True, figsize=(12, 5), layout="constrained")
    for (workers, found), axis in zip(panels, axes[0], strict=True):
        for way, searches in found.items():
            low, median, high = zip(*(_quartiles([s.best_at(spent) for s in searches]) for spent in SPENT), strict=True)
            (line,) = axis.plot(SPENT, median, label=way, linewidth=1.8)
            axis.fill_between(SPENT, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axis.axvline(replays.shortest, color="grey", linewidth=0.8, linestyle=":", label="an oracle is at the goal")
        axis.axhline(replays.goal, color="grey", linewidth=0.8, linestyle="--", label="the goal")
        axis.set(xlabel="trainings spent", ylabel="best PCK so far", xscale="log", title=f"{workers} at once")
        axis.grid(alpha=0.3)
    axes[0, -1].legend(fontsize=8, loc="lower right")
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _quartiles(figures: Sequence[float]) -> list[float]:
    return statistics.quantiles(figures, n=4, method="inclusive")

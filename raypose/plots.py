"""Pictures of schedules and range tests. Runs in: command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

from raypose.tables import values_text  # noqa: E402

STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")
HEAD = ("head.final_layer", "head.mlp", "head.gau", "head.cls_x", "head.cls_y")


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

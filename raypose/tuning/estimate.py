"""How long a search will take, and how many GPU-hours, before it begins. Runs in: driver.

From an epoch of the base config's own values, measured on this machine: a freeze set, another input size and what the
caches hold change it. So it is told as what it is, a figure to plan by.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raypose.record.spent import HOUR, duration
from raypose.space.schema import Experiment
from raypose.space.sections import Prune


@dataclass(frozen=True)
class Estimate:
    """Hours and GPU-hours of a search with `at_once` trials at a time, and of its final.

    `most_hours` is the search's without any pruning; `epoch_s` what was measured on `device`.
    """

    epoch_s: float
    device: str
    at_once: int
    epochs: float
    hours: float
    most_hours: float
    gpu_hours: float
    final_hours: float

    def text(self) -> str:
        """On one line."""
        said = f"about {duration(HOUR * self.hours)}, at most {duration(HOUR * self.most_hours)}"
        said += f", {self.gpu_hours:.2g} GPU-hours" if self.gpu_hours else ""
        said += f", its final {duration(HOUR * self.final_hours)} more" if self.final_hours else ""
        return f"{said} ({self.at_once} at once; {self.epoch_s:.1f} s an epoch on this machine's {self.device})"


def estimate(
    experiment: Experiment, trials: int, pace: Mapping[str, Any], full_epochs: int, at_once: int | None = None
) -> Estimate:
    """What a search of so many `trials` will take where an epoch takes as long as in `pace`.

    They run `at_once`, or as many as fit here.
    """
    train, final = experiment.train, experiment.final
    lanes = at_once or lanes_here(experiment, pace["gpus"])
    gpus = _gpus_a_worker(experiment, pace["gpus"]) * experiment.resources.workers
    epochs = train.epochs + (trials - 1) * expected_epochs(experiment.prune, train.epochs)
    hours, most = (n * pace["epoch_s"] / min(lanes, trials) / HOUR for n in (epochs, trials * train.epochs))
    whole = full_epochs if train.schedule == "full" else train.epochs
    again = (final.top + 1) * final.seeds if final else 0
    return Estimate(
        epoch_s=pace["epoch_s"],
        device=pace["device"],
        at_once=min(lanes, trials),
        epochs=epochs,
        hours=hours,
        most_hours=most,
        gpu_hours=hours * min(lanes, trials) * gpus,
        final_hours=again * whole * pace["epoch_s"] / lanes / HOUR,
    )


def expected_epochs(prune: Prune, epochs: int) -> float:
    """Epochs of a mean trial: of those at a rung one in `reduction` goes on; median stops about half at its first.

    Those that come to a rung first go on more often, so that a short search takes more.
    """
    first = min(prune.first(epochs), epochs)
    if prune.pruner == "none":
        return float(epochs)
    if prune.pruner == "median":
        return (first + epochs) / 2
    brackets = [_halved(first, prune.reduction, epochs)]
    if prune.pruner == "hyperband":  # bracket b begins at rung b
        while (first := first * prune.reduction) <= epochs:
            brackets.append(_halved(first, prune.reduction, epochs))
    return sum(brackets) / len(brackets)


def _halved(rung: int, reduction: int, epochs: int) -> float:
    """Epochs of a mean trial that is first compared at this rung."""
    done, at, share = 0.0, 0, 1.0
    while at < epochs:
        done += share * (min(rung, epochs) - at)
        at, rung, share = rung, rung * reduction, share / reduction
    return done


def lanes_here(experiment: Experiment, gpus: int) -> int:
    """How many trials a Ray that is started here would run at once, by processors or GPUs."""
    wanted = experiment.resources
    if wanted.concurrent_trials != "auto":
        return wanted.concurrent_trials
    each = _gpus_a_worker(experiment, gpus)
    room = gpus / (each * wanted.workers) if each else (os.cpu_count() or 1) / (wanted.workers * wanted.cpus_per_worker)
    return max(1, int(room))


def _gpus_a_worker(experiment: Experiment, gpus: int) -> float:
    wanted = experiment.resources.gpus_per_worker
    return float(gpus > 0) if wanted == "auto" else wanted

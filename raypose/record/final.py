"""The honest winner: the best trials repeated over seeds, compared image by image. Runs in: driver.

The search has chosen its best trial by the figure it reports, so that figure is too good. A final trains the best
trials and the base config again with other seeds, tests every repetition's weights anew, and resamples the images.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypose.errors import WorkError
from raypose.record.files import read_json, read_whole
from raypose.record.points import Point
from raypose.record.view import RETEST, ExperimentView, TrialView
from raypose.space.schema import Experiment
from raypose.space.sections import Prune

RESAMPLES = 2000
Hits = Mapping[str, Sequence[float]]
"""Joints `found` and joints `counted` of each image, in one order."""


def repeat(experiment: Experiment, view: ExperimentView, epochs: int) -> tuple[Experiment, list[Point]]:
    """What a final trains: the best trials of a search and its base config, over seeds the search has not used."""
    assert experiment.final
    ranked = sorted((t for t in view.trials if t.ranks), key=lambda t: (-(t.best or 0), t.number))
    distinct = [t for i, t in enumerate(ranked) if t.values not in [before.values for before in ranked[:i]]]
    chosen = distinct[: experiment.final.top]
    chosen += [t for t in view.trials[:1] if t not in chosen]
    seeds = range(experiment.search.seed + 1, experiment.search.seed + 1 + experiment.final.seeds)
    again: list[Point] = [{"given": t.values, "seed": s, "repeats": t.number} for s in seeds for t in chosen]
    unlimited = {"hours": None, "gpu_hours": None, "start": (), "sampler": "random"}
    search = experiment.search.model_copy(update={"trials": len(again), **unlimited})
    changes = {
        "search": search,
        "prune": Prune(pruner="none"),
        "train": experiment.train.model_copy(update={"epochs": epochs}),
        "final": None,
    }
    return experiment.model_copy(update=changes), again


def retested(trial: Path, metric: str) -> float | None:
    """The figure of a repetition's weights when they were tested anew; None where that was not asked for."""
    tested = read_whole(trial / RETEST)
    return float(tested["metrics"][metric]) if tested else None


def judge(final: ExperimentView) -> dict[str, Any]:
    """Rank the repeated trials, those that failed with the fewest seeds first, then by mean re-tested figure.

    Told of the winner: its interval, and its gain over trial 0. Of trials whose every seed failed: that, `unranked`.
    Intervals are 95 % percentile intervals of a paired bootstrap over images (Efron & Tibshirani 1993, chapter 13).
    Raises WorkError if no repetition of any trial has come to its end.
    """
    repeats = {n: [t for t in final.trials if t.repeats == n] for n in _repeated(final)}
    rows = [_over_seeds(n, trials) for n, trials in repeats.items()]
    ranking = sorted((row for row in rows if row["figures"]), key=lambda row: (row["failed"], -row["mean"]))
    if not ranking:
        raise WorkError(f"{final.name}: no repetition has come to its end; `raypose show {final.name}` tells why")
    winner = _hits(_stood(repeats[ranking[0]["trial"]]))
    base_is_beaten = any(ranked["trial"] == 0 for ranked in ranking[1:])
    against = compare(winner, _hits(_stood(repeats[0]))) if base_is_beaten else {}
    others = {"ranking": ranking, "unranked": [row for row in rows if not row["figures"]]}
    return {**ranking[0], "metric": final.metric, "interval": interval(winner), **against, **others}


def _repeated(final: ExperimentView) -> list[int]:
    return sorted({t.repeats for t in final.trials if t.repeats is not None})


def _stood(trials: Iterable[TrialView]) -> list[TrialView]:
    return [t for t in trials if t.ranks and t.retested is not None]


def _over_seeds(number: int, trials: list[TrialView]) -> dict[str, Any]:
    """How often a trial failed; mean and standard deviation of its re-tested figures, its best repetition's weights."""
    stood = _stood(trials)
    figures = [t.retested for t in stood if t.retested is not None]
    row = {"trial": number, "values": trials[0].values, "figures": figures, "failed": len(trials) - len(figures)}
    if not figures:
        return row
    spread = statistics.stdev(figures) if len(figures) > 1 else None
    best = stood[figures.index(max(figures))]
    return {**row, "mean": statistics.fmean(figures), "spread": spread, "checkpoint": str(best.checkpoint)}


def _hits(trials: Iterable[TrialView]) -> Hits:
    """Hits summed over the seeds, image by image.

    Each seed counts the same joints, so found / counted is the mean over the seeds, however many there are.
    """
    images = [read_json(trial.folder / RETEST)["images"] for trial in trials]
    return {key: np.sum([i[key] for i in images], axis=0).tolist() for key in ("found", "counted")}


def interval(*hits: Hits) -> list[float]:
    """95 % interval of 100 * found / counted over resampled images, in percent; of several hits, of their mean."""
    return _bootstrap([(1 / len(hits), each) for each in hits])


def compare(ours: Hits, base: Hits) -> dict[str, Any]:
    """What was gained over the base config on the same images, in points of percent, with its interval."""
    return {"gain": _figure(ours) - _figure(base), "gain_interval": _bootstrap([(1, ours), (-1, base)])}


def _figure(hits: Hits) -> float:
    return 100 * sum(hits["found"]) / sum(hits["counted"])


def _bootstrap(terms: Sequence[tuple[float, Hits]]) -> list[float]:
    """Of the sum of figures, each times its factor, over the same images."""
    from scipy.stats import bootstrap  # here, as it takes a second that every verb would wait for

    factors = [factor for factor, _ in terms]
    arrays = [np.asarray(hits[key]) for _, hits in terms for key in ("found", "counted")]

    def total(*drawn: NDArray[Any], axis: int) -> Any:
        sums = [values.sum(axis=axis) for values in drawn]
        with np.errstate(invalid="ignore"):  # where none of the drawn images counts, there is no figure
            figures = [100 * found / counted for found, counted in zip(sums[::2], sums[1::2], strict=True)]
        return sum(factor * figure for factor, figure in zip(factors, figures, strict=True))

    drawn = bootstrap(arrays, total, paired=True, vectorized=True, n_resamples=RESAMPLES, method="percentile", rng=0)
    return [float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)]

"""All that `raypose test` tells of weights on one data set: figures, a curve, intervals. Runs in: command line.

Without Ray: what a training validates with, once, on this machine.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from raypose.datasets.split import Part
from raypose.errors import WeightsError
from raypose.record.final import Hits as Ratio
from raypose.record.final import interval
from raypose.space.knobs import Value
from raypose.space.run import Run
from raypose.training.evaluate import ALL_COUNTED, COUNTED, MpiiHits, validation
from raypose.training.predictions import Hits, Predictions
from raypose.training.weights import Loaded

THRESHOLDS = np.arange(0, 0.5 + 0.01, 0.01)
"""In head sizes: those at which MpiiPCKAccuracy computes its curve, of which it tells 0.1 and 0.5."""
FINE, WIDE = THRESHOLDS[10], THRESHOLDS[50]
TOLD = THRESHOLDS[5::5]  # 0.05, 0.1 ... 0.5
MOST_LOADERS = 8

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Scores:
    """Figures in percent, with 95 % intervals over images; None where too few labels or images tell.

    `figures` are MpiiPCKAccuracy's and AUC, the share of the area under the curve from 0 to 0.5. `curve` is PCK over
    `thresholds`, in head sizes, and `hits` what PCK counts on each image. `resampled` are tensors of the weights that
    were made for another input size.
    """

    people: int
    input_size: str
    figures: dict[str, float | None]
    intervals: dict[str, list[float] | None]
    thresholds: list[float]
    curve: list[float]
    hits: Hits
    resampled: tuple[str, ...]


def to_test(weights: str, model: str, values: Mapping[str, Value], data: Path, held_out: float) -> Run:
    """What evaluates weights on this machine's first GPU, or on all CPUs; nothing of it is ever trained."""
    gpu, cpus = torch.cuda.is_available(), os.cpu_count() or 1
    return Run(
        model=model,
        weights=weights,
        values=dict(values),
        metric="PCK",
        epochs=1,
        batch_size=32,
        loader_workers=min(MOST_LOADERS, cpus if gpu else cpus - 1),
        amp=False,
        seed=0,
        workers=1,
        gpu=gpu,
        data=data,
        train_people=1,
        folder=Path("test"),
        schedule="full",  # the config's own, whatever it is, as no step of it is made
        held_out=held_out,
        channels_last=not gpu,
    )


def scored(run: Run, part: Part, progress: Progress) -> tuple[Scores, Predictions]:
    """Evaluate `run.weights` on a part of its data.

    Raises WeightsError as `judged` does, and DataError for a part without images.
    """
    with validation(run, part) as (runner, loaded):
        metrics = judged(runner, run, loaded, progress)
        (evaluator,) = runner.val_loop.evaluator.metrics
        return scores_of(evaluator, metrics, runner, loaded)


def judged(runner: Runner, run: Run, loaded: Loaded, progress: Progress) -> dict[str, float]:
    """All figures of the runner's evaluator; `progress` is called with the people done and their number.

    Raises WeightsError unless the weights are a whole model's.
    """
    _require_whole(run, loaded)
    runner.register_hook(_ProgressHook(progress))
    metrics: dict[str, float] = runner.val()
    return metrics


def scores_of(
    evaluator: MpiiHits, metrics: Mapping[str, float], runner: Runner, loaded: Loaded
) -> tuple[Scores, Predictions]:
    """All that is told of what an evaluator has seen."""
    width, height = runner.cfg.model.head.input_size
    predictions: Predictions = evaluator.predictions
    ratios = _ratios(predictions)
    means = {name: _mean(sides) for name, sides in ratios.items()}
    scores = Scores(
        people=len(predictions.images),
        input_size=f"{width}x{height}",
        figures={name: mean if mean is None else float(metrics.get(name, mean)) for name, mean in means.items()},
        intervals={name: _interval(sides) for name, sides in ratios.items()},
        thresholds=[round(float(threshold), 2) for threshold in TOLD],
        curve=[_mean([_ratio(predictions, ALL_COUNTED, threshold)]) or 0.0 for threshold in TOLD],
        hits=evaluator.hits,
        resampled=loaded.resampled,
    )
    return scores, predictions


class _ProgressHook(Hook):
    def __init__(self, progress: Progress) -> None:
        self.progress, self.done = progress, 0

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """So many people are done."""
        self.done += len(outputs)
        self.progress(self.done, len(runner.val_dataloader.dataset))


def _require_whole(run: Run, loaded: Loaded) -> None:
    """Raise WeightsError if a part of the model would be random; BatchNorm only counts its batches."""
    missing = [name for name in loaded.missing if not name.endswith("batches_tracked")]
    if missing:
        raise WeightsError(
            f"weights: {run.weights}: {len(missing)} tensors of {run.model} are not in it ({missing[0]} ...); give the "
            "weights of a whole trained model, and with --model and --set what they are of"
        )


def _ratios(predictions: Predictions) -> dict[str, list[Ratio]]:
    """Each figure's ratios; of a pair of joints left and right, whose mean it is."""
    groups = {name: [_ratio(predictions, (joint,), WIDE) for joint in joints] for name, joints in COUNTED.items()}
    curve = [_ratio(predictions, ALL_COUNTED, threshold) for threshold in THRESHOLDS]
    area = np.trapezoid([ratio["found"] for ratio in curve], THRESHOLDS, axis=0) / (THRESHOLDS[-1] - THRESHOLDS[0])
    auc = {"found": area.tolist(), "counted": curve[0]["counted"]}
    fine, wide = (_ratio(predictions, ALL_COUNTED, threshold) for threshold in (FINE, WIDE))
    return {**groups, "PCK": [wide], "PCK@0.1": [fine], "AUC": [auc]}


def _ratio(predictions: Predictions, joints: Sequence[int], threshold: float) -> Ratio:
    hits = predictions.hits(joints, threshold)
    return {"found": hits.found, "counted": hits.counted}


def _mean(sides: Sequence[Ratio]) -> float | None:
    """In percent, as MMPose weighs left and right; None if one of them is on no image."""
    if not all(sum(side["counted"]) for side in sides):
        return None
    return sum(100 * sum(side["found"]) / sum(side["counted"]) for side in sides) / len(sides)


def _interval(sides: Sequence[Ratio]) -> list[float] | None:
    """None for a single image, and for joints on so few that some of the drawn sets show none."""
    if len(sides[0]["counted"]) < 2:
        return None
    ends = interval(*sides)
    return ends if all(map(math.isfinite, ends)) else None

"""Weights scored on data sets of several formats in one go, each by its own metric. Runs in: GPU worker.

The model finds MPII's 16 joints, whatever a set has: of the set's own joints those count that MPII has too, by their
names. Truth and predictions are brought to just these before AP is computed. Brought to all of the set's joints, as
MMPose's recipes do it for models that have them all, predictions would hold the others at (0, 0): there they count as
missed wherever they are labelled, and make any two predictions on an image look alike to its suppression of doubles.
"""

import contextlib
import dataclasses
import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmpose.datasets import CombinedDataset
from mmpose.datasets.datasets import AicDataset, CocoDataset, MpiiDataset
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import DATASETS

from raypose.datasets.formats import LAYOUTS, DataSet, Format, SetScore
from raypose.datasets.mpii import HEAD_BOXES, IMAGES, VAL
from raypose.datasets.mpii_faults import examine_image
from raypose.errors import DataError
from raypose.space.run import Run
from raypose.training.base import COLLECT, MPII_JOINTS
from raypose.training.config import build_config
from raypose.training.evaluate import ALL_COUNTED, MpiiHits, running
from raypose.training.hasten import hastened
from raypose.training.people import People
from raypose.training.predictions import Predictions
from raypose.training.scores import Progress, Scores, judged, scores_of

KINDS: Mapping[Format, type[BaseCocoStyleDataset]] = {"mpii": MpiiDataset, "coco": CocoDataset, "aic": AicDataset}
SAME_JOINT = {"neck": "upper_neck"}
"""AI Challenger's name and MPII's: MMPose's recipes for eight data sets (body8-halpe26) train them as one joint."""


@DATASETS.register_module()
class PeopleOfAll(CombinedDataset):
    """MMPose's CombinedDataset, which says which image cannot be used."""

    def prepare_data(self, idx: int) -> Any:
        """The sample. Raises DataError if its image cannot be decoded."""
        try:
            return super().prepare_data(idx)
        except Exception:  # of the file, of the decoder, or an assertion: what it was, the file itself tells
            path = Path(self.get_data_info(idx)["img_path"]).resolve()
            fault = examine_image(str(path.parent), path.name, deep=True).fault
            if fault is None:
                raise
        raise DataError(f"{path.parent}: an image that cannot be used: {fault}")


@dataclasses.dataclass(frozen=True)
class Together:
    """What weights reach on each set, in order, and all that `raypose test` tells of the one in MPII's format."""

    scores: list[SetScore]
    mpii: tuple[Scores, Predictions] | None


def score_sets(run: Run, sets: Sequence[DataSet], progress: Progress) -> Together:
    """Evaluate `run.weights` as they are on all sets, in one process; each set is of another format, and sound.

    `progress` is called with the people done and their number. Raises WeightsError unless the weights are a whole
    model's, and DataError for a set in which no person shows a joint that counts.
    """
    config = hastened(build_config(dataclasses.replace(run, held_out=0.0)), run)
    config.val_dataloader.dataset = people_of(sets, config.val_dataloader.dataset.pipeline)
    config.val_evaluator = evaluator_of(sets, run.metric)
    with contextlib.redirect_stdout(io.StringIO()), running(config, run) as (runner, loaded):  # as xtcocotools prints
        metrics = judged(runner, run, loaded, progress)
        people, judges = runner.val_dataloader.dataset.lens, runner.val_loop.evaluator.metrics
        told = [scores_of(judge, metrics, runner, loaded) for judge in judges if isinstance(judge, MpiiHits)]
    scores = [_score(*each, metrics) for each in zip(sets, people, judges, strict=True)]
    return Together(scores, told[0] if told else None)


def _score(data: DataSet, people: int, metric: Any, metrics: Mapping[str, Any]) -> SetScore:
    """The set's part of all figures."""
    names, start = _joint_names(data.format), f"{data.format}/"
    if data.format == "mpii":
        figures = {name: float(value) for name, value in metrics.items() if "/" not in name}
        return SetScore(data, people, figures, *_split(names, ALL_COUNTED))
    figures = {name.removeprefix(start): float(value) for name, value in metrics.items() if name.startswith(start)}
    if figures["AP"] < 0:  # which means that there is nothing to find
        raise DataError(f"{data}: no person shows a joint that MPII's people have too")
    figures = {name: value for name, value in figures.items() if value >= 0}
    people = sum(not person["ignore"] for person in metric.coco.anns.values())  # as xtcocotools has marked them
    return SetScore(data, people, figures, *_split(names, [theirs for theirs, _ in shared_joints(data.format)]))


def _split(names: Sequence[str], counted: Sequence[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    left_out = tuple(name for number, name in enumerate(names) if number not in counted)
    return tuple(names[number] for number in counted), left_out


@functools.cache
def _joint_names(kind: Format) -> tuple[str, ...]:
    """The names of a format's joints, in order."""
    return tuple(parse_pose_metainfo(KINDS[kind].METAINFO)["keypoint_id2name"].values())


def shared_joints(kind: Format) -> list[tuple[int, int]]:
    """The joints that a format shares with MPII, in its order: their numbers there and in MPII."""
    ours = {name: number for number, name in enumerate(_joint_names("mpii"))}
    names = [SAME_JOINT.get(name, name) for name in _joint_names(kind)]
    return [(theirs, ours[name]) for theirs, name in enumerate(names) if name in ours]


def people_of(sets: Sequence[DataSet], pipeline: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The config of a data set of all people, with MPII's joints, which also say what a mirrored model finds where."""
    return {
        "type": PeopleOfAll.__name__,
        "metainfo": MpiiDataset.METAINFO,
        "datasets": [_people(one) for one in sets],
        "pipeline": pipeline,
        "test_mode": True,
    }


def _people(data: DataSet) -> dict[str, Any]:
    common = {"data_root": str(data.folder), "data_mode": "topdown", "test_mode": True}
    if data.format == "mpii":
        kind, boxes = f"{People.__module__}.{People.__name__}", str(data.folder / HEAD_BOXES)
        return {**common, "type": kind, "ann_file": VAL, "data_prefix": {"img": f"{IMAGES}/"}, "headbox_file": boxes}
    layout = LAYOUTS[data.format]
    return {
        **common,
        "type": KINDS[data.format].__name__,
        "ann_file": layout.annotations,
        "data_prefix": {"img": f"{layout.images}/"},
        "pipeline": [_converter(MPII_JOINTS, shared_joints(data.format))],
    }


def evaluator_of(sets: Sequence[DataSet], figure: str) -> dict[str, Any]:
    """The config of MMPose's evaluator that gives each person to the metric of its set."""
    return {
        "type": "MultiDatasetEvaluator",
        "metrics": [_metric(one, figure) for one in sets],
        "datasets": [{"type": KINDS[one.format].__name__} for one in sets],
    }


def _metric(data: DataSet, figure: str) -> dict[str, Any]:
    if data.format == "mpii":
        return {"type": MpiiHits.__name__, "figure": figure}
    layout, shared = LAYOUTS[data.format], shared_joints(data.format)
    return {
        "type": "CocoMetric",
        "ann_file": str(data.folder / layout.annotations),
        "use_area": layout.area,
        "prefix": data.format,
        "collect_device": COLLECT,
        "gt_converter": _converter(len(shared), [(theirs, place) for place, (theirs, _) in enumerate(shared)]),
        "pred_converter": _converter(len(shared), [(ours, place) for place, (_, ours) in enumerate(shared)]),
    }


def _converter(joints: int, mapping: Sequence[tuple[int, int]]) -> dict[str, Any]:
    return {"type": "KeypointConverter", "num_keypoints": joints, "mapping": list(mapping)}

"""People as a training sees them, and those that weights fail on. Runs in: a child process of the command line."""

import copy
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.codecs import SimCCLabel
from mmpose.registry import DATASETS, KEYPOINT_CODECS

from raypose.datasets.browse import BrowsedPart, Guess, choose
from raypose.datasets.portrait import JOINTS, Portrait, Pose
from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.evaluate import ALL_COUNTED, validation
from raypose.training.hasten import hastened
from raypose.training.people import UNREADABLE, Unreadable
from raypose.training.predictions import HALF_A_HEAD, Predictions


def augmented(run: Run, part: BrowsedPart, count: int, seed: int, epoch: int) -> list[Portrait]:
    """Some people as they leave the trial's own pipeline in an epoch, from 1, before they are normalised.

    To train on, they are drawn as that epoch of the training draws them, and have the joints that their label says.
    """
    config = hastened(build_config(run), run)
    init_default_scope("mmpose")
    settings = copy.deepcopy((config.train_dataloader if part == "train" else config.val_dataloader).dataset)
    if part == "train":
        settings.pipeline = _pipeline(config, epoch)
    settings.pipeline[-1].pack_transformed = True
    people, codec = DATASETS.build(settings), KEYPOINT_CODECS.build(config.model.head.decoder)
    people.place = (run.seed, epoch - 1) if part == "train" else None
    with tempfile.TemporaryDirectory() as folder:
        if part == "train":  # another person stands in for one whose image cannot be read, as in a training
            people.unreadable = Unreadable(Path(folder) / UNREADABLE, math.inf)
        return [_portrait(people[index], codec) for index in choose(len(people), count, seed)]


def _pipeline(config: Config, epoch: int) -> list[dict[str, Any]]:
    """The training pipeline of an epoch, from 1: the recipe has a second, milder one for the last of them."""
    pipeline = config.train_dataloader.dataset.pipeline
    for hook in config.get("custom_hooks", []):
        if "switch_pipeline" in hook and epoch > hook.switch_epoch:
            pipeline = hook.switch_pipeline
    return list(pipeline)


def _portrait(packed: Mapping[str, Any], codec: SimCCLabel) -> Portrait:
    sample = packed["data_samples"]
    pixels = np.ascontiguousarray(packed["inputs"].permute(1, 2, 0).numpy()[..., ::-1])
    labels = sample.gt_instance_labels
    if "keypoint_x_labels" in labels:
        (joints,), _ = codec.decode(labels.keypoint_x_labels.numpy(), labels.keypoint_y_labels.numpy())
        counted = labels.keypoint_weights[0].numpy() > 0
    else:
        joints, counted = sample.gt_instances.transformed_keypoints[0], sample.gt_instances.keypoints_visible[0] > 0
    places = ((round(float(x), 2), round(float(y), 2)) for x, y in joints)
    known = tuple(place if counts else None for place, counts in zip(places, counted, strict=True))
    text = f"{sum(counted)} of {len(JOINTS)} joints in the label" + (", mirrored" if sample.get("flip") else "")
    name = Path(sample.img_path).name
    pose = Pose("label", known, tuple(bool(counts) for counts in counted))
    return Portrait(name, int(sample.id), pixels, (pose,), (text,), {"labelled": float(sum(counted))})


def hardest(run: Run, count: int) -> tuple[dict[str, float], list[Guess]]:
    """The figures of `run.weights` on the validation people, and those it fails on most, the worst of them first.

    They are ordered by the share of their joints that is missed at PCKh@0.5, then by the mean distance.
    """
    with validation(run, "val") as (runner, _):
        metrics = runner.val()
        (evaluator,) = runner.val_loop.evaluator.metrics
    guesses = sorted(_guesses(evaluator.predictions), key=lambda guess: (-guess.missed, -guess.error, guess.row))
    return {figure: float(value) for figure, value in metrics.items()}, guesses[:count]


def _guesses(people: Predictions) -> Iterator[Guess]:
    """Of those with a joint that counts."""
    near, labelled = people.found(HALF_A_HEAD), people.labelled
    for person, row in enumerate(people.rows):
        counted = [joint for joint in ALL_COUNTED if labelled[person, joint]]
        if counted:
            found = tuple(int(near[person, j]) if j in counted else -1 for j in range(len(JOINTS)))
            missed = sum(found[joint] == 0 for joint in counted) / len(counted)
            places = tuple((float(x), float(y)) for x, y in people.seen[person])
            yield Guess(row, missed, float(people.distances[person, counted].mean()), places, found)

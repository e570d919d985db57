"""A trial's config as it is run: faster, and meaning the same. Runs in: GPU worker.

Where it is certain that a transform of raypose does what MMPose's would, it takes its place; all else stays.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmpose.codecs import SimCCLabel
from mmpose.datasets.transforms import (
    Albumentation,
    GenerateTarget,
    GetBBoxCenterScale,
    LoadImage,
    PackPoseInputs,
    RandomBBoxTransform,
    RandomFlip,
    RandomHalfBody,
    TopdownAffine,
    YOLOXHSVRandomAug,
)
from mmpose.engine.hooks import ExpMomentumEMA
from mmpose.models import RTMCCHead
from mmpose.registry import TRANSFORMS

from raypose.space.run import Run
from raypose.training.ema import AverageAtOnce
from raypose.training.layout import take_whole
from raypose.training.small_map import SmallMapHead
from raypose.training.transforms import ACTS, ColourByTable, DegradeInPlace, PackInPlace, SimCCByTable
from raypose.training.views import let_in_maps
from raypose.training.warp import LoadLater, MirrorLater, PadBox, TurnBox, WarpOnce

SAME: Mapping[type, type] = {
    LoadImage: LoadLater,
    GetBBoxCenterScale: PadBox,
    RandomFlip: MirrorLater,
    RandomBBoxTransform: TurnBox,
    YOLOXHSVRandomAug: ColourByTable,
    Albumentation: DegradeInPlace,
    PackPoseInputs: PackInPlace,
}
FUSED = ("AdamW", "Adam", "SGD")
"""Optimizers of which PyTorch has a kernel that steps all parameters at once, on CPUs and GPUs alike."""
OPENING = (LoadImage, RandomFlip, TopdownAffine)
BLIND = (GetBBoxCenterScale, RandomFlip, RandomHalfBody, RandomBBoxTransform)
"""Transforms that need not see the image; what RandomFlip does to it can follow later."""


def hastened(config: Config, run: Run) -> Config:
    """A copy of a trial's config with what makes it faster; the config itself stays what plain MMPose can train."""
    config = copy.deepcopy(config)
    if run.fast_transforms:
        _replace_transforms(config)
    if run.fast_transforms or run.channels_last:
        take_whole(config, by_pixel=run.channels_last)
    if (run.channels_last or run.amp) and config.model.head.type == RTMCCHead.__name__:
        config.model.head.type = SmallMapHead.__name__
        if run.amp:
            config.optim_wrapper.dtype = half_numbers()
    if run.fused:
        _fuse(config)
    if run.cached_views:
        let_in_maps(config, by_pixel=run.channels_last)
    return config


def half_numbers() -> str:
    """Of mixed precision: bfloat16 where a GPU knows it, as its range is single precision's; float16 overflows."""
    known = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if known else "float16"


def _fuse(config: Config) -> None:
    """Have optimizer and moving average work on all parameters at once, where the config does not say otherwise."""
    optimizer = config.optim_wrapper.optimizer
    if optimizer.type in FUSED and not {"fused", "foreach"} & optimizer.keys():
        optimizer.fused = True
    for hook in config.get("custom_hooks", []):
        if hook.get("ema_type") == ExpMomentumEMA.__name__ and not hook.get("device"):
            hook.ema_type = AverageAtOnce.__name__


def _replace_transforms(config: Config) -> None:
    for dataset, training in ((config.train_dataloader.dataset, True), (config.val_dataloader.dataset, False)):
        dataset.pipeline = faster(dataset.pipeline, training)
    for hook in config.get("custom_hooks", []):
        if "switch_pipeline" in hook:
            hook.switch_pipeline = faster(hook.switch_pipeline, training=True)


def faster(pipeline: Sequence[dict[str, Any]], training: bool) -> list[dict[str, Any]]:
    """The pipeline with the transforms of this module in the place of MMPose's, where they do the same."""
    kinds = [TRANSFORMS.get(step["type"]) for step in pipeline]
    opening = _opening(pipeline, kinds)
    return [
        _faster(step, kind, training) if kind not in OPENING or index < opening else dict(step)
        for index, (step, kind) in enumerate(zip(pipeline, kinds, strict=True))
    ]


def _opening(pipeline: Sequence[dict[str, Any]], kinds: Sequence[type | None]) -> int:
    """How many steps lead from an image's file to its crop, if none in between needs its pixels; else 0."""
    if TopdownAffine not in kinds:
        return 0
    end = kinds.index(TopdownAffine)
    plain = kinds[0] is LoadImage and pipeline[0].keys() == {"type"} and all(kind in BLIND for kind in kinds[1:end])
    return (
        end + 1 if plain and all(step.get("direction", "horizontal") == "horizontal" for step in pipeline[:end]) else 0
    )


def _faster(step: dict[str, Any], kind: type | None, training: bool) -> dict[str, Any]:
    if kind is TopdownAffine:
        return {**step, "type": WarpOnce.__name__, "whole": not training}
    if kind is GenerateTarget:
        encoder = step.get("encoder")
        if not isinstance(encoder, dict) or encoder["type"] != SimCCLabel.__name__:
            return dict(step)
        return {**step, "encoder": {**encoder, "type": SimCCByTable.__name__}}
    same = SAME.get(kind) if kind else None
    if same is None or (kind is Albumentation and not _degrades(step)):
        return dict(step)
    return {**step, "type": same.__name__}


def _degrades(step: dict[str, Any]) -> bool:
    """Whether there is an act for each of its transforms, as they are set."""
    acts = {act.__name__ for act in ACTS}
    return step.keys() == {"type", "transforms"} and all(
        inner["type"] in acts and not {"fill", "fill_value"} & inner.keys() for inner in step["transforms"]
    )

"""Views of people through a frozen backbone: what it makes of each is computed once for all trainings on a machine.

Runs in: GPU worker, `raypose plan`. A view is an augmentation as an epoch draws it, so that as many views as there are
epochs are what is trained on without. Where the backbone learns, or it is not certain what a config does, there are
none.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine import dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmpose.codecs import SimCCLabel
from mmpose.datasets.transforms import GenerateTarget, GetBBoxCenterScale, LoadImage, PackPoseInputs, TopdownAffine
from mmpose.models import RTMCCHead, TopdownPoseEstimator
from mmpose.registry import KEYPOINT_CODECS, TRANSFORMS
from torch import nn

from raypose.datasets.made_once import made_once, size_of
from raypose.record.files import write_json
from raypose.record.view import CACHE
from raypose.space.run import Run
from raypose.training.cache import cache_folder
from raypose.training.freeze import fingerprint
from raypose.training.layout import makes_nothing_but_numbers, take_whole
from raypose.training.maps import MapsEstimator, collate_nothing
from raypose.training.schedule import unfreeze_epoch
from raypose.training.small_map import SmallMapHead
from raypose.training.view_maker import LABELLED, PACKED, Eyes, Stage, see_training, see_validation
from raypose.training.viewed import ViewedPeople

VERSION = 1
"""Of what tables hold; those of another one are not found, and forgotten in time."""
PLACES = ("data_root", "headbox_file", "pipeline")
"""Of a data set what does not decide what it holds, or is told apart by itself."""


def let_in_maps(config: Config, by_pixel: bool) -> None:
    """Have a config's model take maps beside images."""
    if config.model.type == TopdownPoseEstimator.__name__:
        take_whole(config, by_pixel)
        config.model.type = MapsEstimator.__name__


def add_views(config: Config, model: nn.Module, run: Run) -> int:
    """Have a training take all its people from tables, which are made if this machine has none yet.

    Returns how many views there are of each; none if images are trained on.
    """
    if not run.cached_views:
        return 0
    logger = MMLogger.get_current_instance()
    if reason := hindrance(config, model, run):
        logger.info(f"train.cached_views is not used: {reason}")
        return 0
    fault = None
    try:
        training, validation = tables = make_training(config, model, run), make_validation(config, model, run)
        if not all(table.exists() for table in tables):  # the second one took the room of the first
            raise OSError(f"{run.cache_bytes / 1e6:.0f} MB hold the training or the validation people, not both")
    except OSError as error:  # of a disk that is full or cannot be written to: images can be trained on as ever
        fault = str(error)
    if faults := [text for text in dist.all_gather_object(fault) if text]:  # all ranks or none
        logger.warning(f"train.cached_views is not used, and all people are augmented anew in every epoch: {faults[0]}")
        return 0
    take_training(config, run, training)
    _take(config.val_dataloader, validation, [(0, 1)], PACKED)
    size = size_of(training)
    logger.info(f"{run.cached_views} views a person, {size / 1e6:.0f} MB of the frozen backbone's maps in {training}")
    if dist.is_main_process():
        write_json(run.folder / CACHE, {"file": str(training), "bytes": size, "views": run.cached_views})
    return run.cached_views


def hindrance(config: Config, model: nn.Module, run: Run) -> str | None:
    """Why what the backbone makes of a view cannot be kept; None if it can."""
    if unfreeze_epoch(run.values, run.epochs) is not None:
        return "unfreeze.at lets learn what is frozen"
    if learning := _first_learning(model):
        return f"{learning} is not frozen; freeze the backbone"
    if not run.cache_bytes:
        return "train.cache_gb is 0"
    own = (TopdownPoseEstimator, MapsEstimator), (RTMCCHead, SmallMapHead)
    known = type(model) in own[0] and type(getattr(model, "head", None)) in own[1]
    if not known or not makes_nothing_but_numbers(config):
        return "it is for RTMPose as MMPose's own configs have it; this one has a model or preprocessor of another kind"
    if not all(_labels_last(stage.pipeline) for stage in _stages(config, run)):
        return "a training pipeline does not end with SimCC labels and PackPoseInputs"
    if not _never_draws(config.val_dataloader.dataset.pipeline):
        return "the validation pipeline may do more than load, crop and pack"
    return None


def _first_learning(model: nn.Module) -> str | None:
    """The first module before the head that changes while the head is trained, be it a parameter or its mode."""
    before = {n: m for n, m in model.named_modules() if n and n.split(".")[0] not in ("head", "data_preprocessor")}
    for name, module in before.items():
        learns = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        if learns or (module.training and not any(True for _ in module.children())):
            return str(name)
    return None


def _labels_last(pipeline: Sequence[Mapping[str, Any]]) -> bool:
    label, pack = pipeline[-LABELLED:]
    encoder = label.get("encoder")
    if TRANSFORMS.get(label["type"]) is not GenerateTarget or not isinstance(encoder, Mapping):
        return False
    is_simcc = issubclass(KEYPOINT_CODECS.get(encoder["type"]) or object, SimCCLabel)
    return is_simcc and issubclass(TRANSFORMS.get(pack["type"]) or object, PackPoseInputs)


def _never_draws(pipeline: Sequence[Mapping[str, Any]]) -> bool:
    *steps, pack = (TRANSFORMS.get(step["type"]) or object for step in pipeline)
    known = all(issubclass(step, LoadImage | GetBBoxCenterScale | TopdownAffine) for step in steps)
    return known and issubclass(pack, PackPoseInputs)


def _stages(config: Config, run: Run) -> list[Stage]:
    """The stages of the epochs that are trained."""
    switches = [hook for hook in config.get("custom_hooks", []) if "switch_pipeline" in hook]
    begun = [(0, config.train_dataloader.dataset.pipeline)]
    begun += sorted(((hook.switch_epoch, hook.switch_pipeline) for hook in switches), key=lambda pair: pair[0])
    ends = [min(first, run.epochs) for first, _ in begun[1:]] + [run.epochs]
    return [
        Stage(first, min(run.cached_views, end - first), pipeline)
        for (first, pipeline), end in zip(begun, ends, strict=True)
        if first < end
    ]


def make_training(config: Config, model: nn.Module, run: Run) -> Path:
    """The folder of the training people's views."""
    stages, dtype = _stages(config, run), getattr(torch, config.optim_wrapper.dtype) if run.amp else None
    drawn = [(stage.first, stage.views, stage.pipeline[:-LABELLED]) for stage in stages]
    folder = _folder(config, config.train_dataloader.dataset, model, run, run.seed, drawn, str(dtype))
    eyes = Eyes(model.to(get_device()), dtype)
    made_once(folder, run.cache_bytes, partial(see_training, eyes, config, run, stages))
    return folder


def make_validation(config: Config, model: nn.Module, run: Run) -> Path:
    """The folder of the validation people, as they are evaluated."""
    dataset, mirrored = config.val_dataloader.dataset, bool(config.model.test_cfg.get("flip_test"))
    folder = _folder(config, dataset, model, run, dataset.pipeline[:-PACKED], mirrored)
    made_once(folder, run.cache_bytes, partial(see_validation, Eyes(model.to(get_device())), config, run, mirrored))
    return folder


def _folder(config: Config, dataset: Mapping[str, Any], model: nn.Module, run: Run, *drawn: Any) -> Path:
    """Named by all that decides what is in it, to the last bit."""
    people = {key: value for key, value in dataset.items() if key not in PLACES}
    before = [config.model.get(part) for part in ("data_preprocessor", "backbone", "neck")]
    weights = [name for name in model.state_dict() if not name.startswith("head.")]
    numbers = fingerprint(model.state_dict(), weights), run.gpu, run.channels_last
    text = json.dumps([VERSION, run.data_digest, people, before, numbers, drawn])
    return cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()}.views"


def take_training(config: Config, run: Run, folder: Path) -> None:
    """Have a config's training loader hand out views in the place of images."""
    stages = [(stage.first, stage.views) for stage in _stages(config, run)]
    for hook in config.get("custom_hooks", []):
        if "switch_pipeline" in hook:
            hook.switch_pipeline = hook.switch_pipeline[-LABELLED:]
    _take(config.train_dataloader, folder, stages, LABELLED)


def _take(loader: Any, folder: Path, stages: Sequence[tuple[int, int]], steps: int) -> None:
    loader.dataset.pipeline = loader.dataset.pipeline[-steps:]
    loader.dataset.update(type=f"{ViewedPeople.__module__}.{ViewedPeople.__name__}", folder=str(folder), stages=stages)
    loader.collate_fn = {"type": collate_nothing.__name__}  # an update would leave the former's arguments
    loader.num_workers = 0  # as there is nothing to wait for

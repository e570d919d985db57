"""The part of each image that a training can look at, decoded once for all on this machine. Runs in: GPU worker."""

import copy
import functools
import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmpose.registry import TRANSFORMS

from raypose.datasets.crop_cache import Cut, build_cache
from raypose.datasets.mpii import IMAGES, TRAIN
from raypose.datasets.photo import Box
from raypose.record.files import write_json
from raypose.record.view import CACHE
from raypose.space.run import Run
from raypose.training.warp import LoadLater, PadBox, TurnBox, WarpOnce

VERSION = 2
"""Of what files hold; those of another one are not found, and forgotten in time."""
SCALE_PX = 200
"""MPII's `scale` is a person's height in these pixels."""


@dataclass(frozen=True)
class Reach:
    """How much around a person's box a pipeline may see, in shares of the box, and into how many pixels it makes it."""

    width: int
    height: int
    padding: float
    shift: float = 0.0
    scale: float = 1.0
    turned: bool = False

    def box(self, centre: tuple[float, float], side: float) -> Box:
        """The box (left, top, right, bottom) around a square one of `side` pixels."""
        width, height = self.crop(side)
        if self.turned:
            width = height = math.hypot(width, height)
        across, down = (self.scale * length / 2 + self.shift * self.padding * side for length in (width, height))
        return centre[0] - across, centre[1] - down, centre[0] + across, centre[1] + down

    def crop(self, side: float) -> tuple[float, float]:
        """Width and height of the crop around it, neither shifted nor scaled, in pixels of the image."""
        padded, aspect = self.padding * side, self.width / self.height
        return (padded, padded / aspect) if aspect < 1 else (padded * aspect, padded)


def add_cache(config: Config, run: Run) -> None:
    """Have the images of a hastened config's training come out of a file; build it if this machine has none yet."""
    switched = (hook.switch_pipeline for hook in config.get("custom_hooks", []) if "switch_pipeline" in hook)
    pipelines = [config.train_dataloader.dataset.pipeline, *switched]
    if not run.cache_bytes or any(pipeline[0]["type"] != LoadLater.__name__ for pipeline in pipelines):
        return
    cuts, digest = _cuts(run.data / TRAIN, run.data_digest, tuple(reach(pipeline) for pipeline in pipelines))
    file = cache_folder() / f"{digest}.arrow"
    try:
        build_cache(file, run.data / IMAGES, cuts, run.cache_bytes, run.loader_workers + 1)
    except OSError as fault:  # nothing depends on it: a disk that is full or cannot be written to costs time only
        MMLogger.get_current_instance().warning(f"all images are decoded anew in every epoch: {fault}")
        return
    if is_main_process():
        write_json(run.folder / CACHE, {"file": str(file), "bytes": file.stat().st_size})
    for pipeline in pipelines:
        pipeline[0].update(cache=str(file), folder=os.path.join(run.data, IMAGES))


@functools.cache
def _cuts(annotations: Path, digest: str, reaches: tuple[Reach, ...]) -> tuple[list[Cut], str]:
    """The cuts, and a digest of them and the data that they are of; for all trials of a lane at once."""
    cuts = cut_all(json.loads(annotations.read_text()), reaches)
    text = json.dumps([VERSION, digest, [astuple(cut) for cut in cuts]])
    return cuts, hashlib.sha256(text.encode()).hexdigest()


def cache_folder() -> Path:
    """Where this user's files are, on a disk of this machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raypose"


def reach(pipeline: Sequence[dict[str, Any]]) -> Reach:
    """How far a pipeline of known transforms reaches."""
    steps = {type(step): step for step in (TRANSFORMS.build(copy.deepcopy(step)) for step in pipeline)}
    width, height = steps[WarpOnce].input_size
    padding, turn = steps[PadBox].padding, steps.get(TurnBox)
    if turn is None:
        return Reach(width, height, padding)
    return Reach(width, height, padding, turn.shift_factor, max(1.0, turn.scale_factor[1]), turn.rotate_factor > 0)


def cut_all(people: Sequence[dict[str, Any]], reaches: Sequence[Reach]) -> list[Cut]:
    """For each image a box around all that is seen of its people, at the detail that the one cropped closest needs."""
    found: dict[str, list[tuple[Box, float]]] = {}
    for person in people:
        side = person["scale"] * SCALE_PX
        x, y = person["center"]
        centre = (x - 1, y + (0.075 * side if x != -1 else 0) - 1)  # as MMPose's MpiiDataset has it
        for far in reaches:
            found.setdefault(person["image"], []).append((far.box(centre, side), far.crop(side)[0] / far.width))
    return [Cut(image, _around([box for box, _ in seen]), min(d for _, d in seen)) for image, seen in found.items()]


def _around(boxes: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left) - 2, min(top) - 2, max(right) + 2, max(bottom) + 2

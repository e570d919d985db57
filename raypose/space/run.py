"""One trial's training as plain values: what crosses from the driver to a GPU worker. Runs in: driver, GPU worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from raypose.space.knobs import Value


@dataclass(frozen=True)
class Run:
    """All that decides a training.

    `batch_size` and `loader_workers` are one worker's; `train_people` is what the schedule's steps follow from;
    `folder` is the trial's, for its log, config and checkpoints. An optimizer step sees
    workers x batch_size x accumulation people, the effective batch. `bad_images` is the share of the training images
    that may be unreadable, and are left out. `fast_transforms`, `channels_last` and `fused` make it faster, not
    different. So do up to `cache_bytes` of decoded images, which the `data_digest` tells from those of other data. With
    `cached_views` a person comes in that many augmentations alone, where the backbone's output can be kept for them.
    """

    model: str
    weights: str
    values: Mapping[str, Value]
    metric: str
    epochs: int
    batch_size: int
    loader_workers: int
    amp: bool
    seed: int
    workers: int
    gpu: bool
    data: Path
    train_people: int
    folder: Path
    accumulation: int = 1
    lr_rule: Literal["none", "linear", "sqrt"] = "none"
    reference_batch: int | None = None
    schedule: Literal["compressed", "full"] = "compressed"
    held_out: float = 0.0
    retest: bool = False
    bad_images: float = 0.001
    fast_transforms: bool = True
    channels_last: bool = True
    fused: bool = True
    data_digest: str = ""
    cache_bytes: int = 0
    cached_views: int = 0

"""Batches as a model takes them: whole, and lying in memory as suits the device. Runs in: GPU worker.

MMPose hands each person of a batch from process to process and to the GPU by itself, and makes RGB of each one's image:
of a step of rtmpose-m with 64 people on an H200 that was 36 of 84 ms. Convolutions on CPUs read pixels whole
(channels_last): a step of rtmpose-n takes two thirds of its time.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS
from mmengine.structures import InstanceData
from mmpose.models import PoseDataPreprocessor, RTMCCHead
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor

from raypose.training.maps import Maps


def collate_whole(batch: Sequence[dict[str, Any]], by_pixel: bool, joined: bool) -> dict[str, Any]:
    """One tensor of all inputs, of shape (N, 3, H, W), pixel by pixel or not, and a list of the samples.

    The list has one sample if they are `joined`, with the labels of all: the loss takes of it what it would join.
    """
    samples = [sample["data_samples"] for sample in batch]
    inputs = _stacked([sample["inputs"] for sample in batch], by_pixel)
    return {"inputs": inputs, "data_samples": [_joined(samples)] if joined else samples}


def _stacked(images: Sequence[Tensor], by_pixel: bool) -> Tensor:
    if by_pixel:
        return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
    return torch.stack(list(images))


def _joined(samples: Sequence[PoseDataSample]) -> PoseDataSample:
    labels = [sample.gt_instance_labels for sample in samples]
    whole = PoseDataSample()
    whole.gt_instance_labels = InstanceData(
        **{name: torch.cat([one[name] for one in labels]) for name in labels[0].keys()}
    )
    return whole


FUNCTIONS.register_module(module=collate_whole)


@MODELS.register_module()
class WholePreprocessor(PoseDataPreprocessor):
    """PoseDataPreprocessor for whole batches, which stay as they lie."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """RGB of mean 0 and deviation 1, to the bit as PoseDataPreprocessor computes it; maps as they are."""
        data = self.cast_data(data)
        inputs = data["inputs"]
        if isinstance(inputs, Maps):
            return data
        shape = tuple(inputs.shape[-2:])
        for sample in data["data_samples"]:
            sample.set_metainfo({"batch_input_shape": shape, "pad_shape": shape})
        rgb = inputs.flip(1) if self._channel_conversion else inputs
        return {"inputs": (rgb.float() - self.mean) / self.std, "data_samples": data["data_samples"]}


def take_whole(config: Config, by_pixel: bool) -> None:
    """Have a config's loaders and model take batches so, where it is certain what is done to one."""
    if makes_nothing_but_numbers(config):
        config.model.data_preprocessor.type = WholePreprocessor.__name__
        collate = {"type": collate_whole.__name__, "by_pixel": by_pixel}
        known = config.model.head.type in (RTMCCHead.__name__, "SmallMapHead")
        config.train_dataloader.collate_fn = {**collate, "joined": known}
        config.val_dataloader.collate_fn = {**collate, "joined": False}


def makes_nothing_but_numbers(config: Config) -> bool:
    """Whether a config's preprocessor is known to do no more to a batch than WholePreprocessor does."""
    preprocessor = config.model.data_preprocessor
    known = preprocessor.keys() <= {"type", "mean", "std", "bgr_to_rgb"}
    return known and preprocessor.type in (PoseDataPreprocessor.__name__, WholePreprocessor.__name__)

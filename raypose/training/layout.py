"""How images lie in memory, pixel by pixel, and the model's weights like them. Runs in: GPU worker.

Convolutions on CPUs read pixels whole (channels_last): a step of rtmpose-n takes two thirds of its time. On GPUs it has
yet to be measured, CSPNeXt's depthwise convolutions being what may lose by it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS
from mmpose.models import PoseDataPreprocessor
from mmpose.registry import MODELS

from raypose.training.maps import Maps


def collate_pixels(batch: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One tensor of all inputs, of shape (N, 3, H, W), pixel by pixel, and a list of the samples."""
    pixels = torch.stack([sample["inputs"].permute(1, 2, 0) for sample in batch])
    return {"inputs": pixels.permute(0, 3, 1, 2), "data_samples": [sample["data_samples"] for sample in batch]}


FUNCTIONS.register_module(module=collate_pixels)


@MODELS.register_module()
class PixelPreprocessor(PoseDataPreprocessor):
    """PoseDataPreprocessor for whole batches that lie pixel by pixel, and stay so."""

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


def lay_out_by_pixel(config: Config) -> None:
    """Have a config's loaders and model keep batches so, where it is certain what is done to one."""
    if makes_nothing_but_numbers(config):
        config.model.data_preprocessor.type = PixelPreprocessor.__name__
        for loader in (config.train_dataloader, config.val_dataloader):
            loader.collate_fn = {"type": collate_pixels.__name__}


def makes_nothing_but_numbers(config: Config) -> bool:
    """Whether a config's preprocessor is known to do no more to a batch than PixelPreprocessor does."""
    preprocessor = config.model.data_preprocessor
    known = preprocessor.keys() <= {"type", "mean", "std", "bgr_to_rgb"}
    return known and preprocessor.type in (PoseDataPreprocessor.__name__, PixelPreprocessor.__name__)

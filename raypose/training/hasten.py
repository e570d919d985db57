"""A trial's config as it is run: faster, and meaning the same. Runs in: GPU worker."""

import copy

from mmengine.config import Config

from raypose.space.run import Run
from raypose.training.layout import lay_out_by_pixel
from raypose.training.transforms import faster


def hastened(config: Config, run: Run) -> Config:
    """A copy of a trial's config with what makes it faster; the config itself stays what plain MMPose can train."""
    config = copy.deepcopy(config)
    if run.fast_transforms:
        _replace_transforms(config)
    if run.channels_last:
        lay_out_by_pixel(config)
    return config


def _replace_transforms(config: Config) -> None:
    for dataset, training in ((config.train_dataloader.dataset, True), (config.val_dataloader.dataset, False)):
        dataset.pipeline = faster(dataset.pipeline, training)
    for hook in config.get("custom_hooks", []):
        if "switch_pipeline" in hook:
            hook.switch_pipeline = faster(hook.switch_pipeline, training=True)

"""A batch of what a backbone made of images, in the place of images, on its way through the model. Runs in: GPU worker.

It goes through MMEngine's loop like any other batch: the loader hands it out whole, the preprocessor leaves it as it
is, and the model begins with its head.
"""

from typing import Any, NamedTuple

from mmengine.registry import FUNCTIONS
from mmpose.models import TopdownPoseEstimator
from mmpose.registry import MODELS
from torch import Tensor


class Maps(NamedTuple):
    """Feature maps of shape (N, C, H, W) of a batch of images, and of their mirror images if those are looked at."""

    plain: Tensor
    mirrored: Tensor | None = None

    def flip(self, _axis: int) -> "Maps":
        """As of the mirrored images."""
        assert self.mirrored is not None
        return Maps(self.mirrored, self.plain)


@MODELS.register_module()
class MapsEstimator(TopdownPoseEstimator):
    """MMPose's TopdownPoseEstimator for images, and for what its backbone has already made of them."""

    def extract_feat(self, inputs: Any) -> tuple[Tensor, ...]:
        """The backbone's maps of images; those that a batch holds in their place."""
        feats: tuple[Tensor, ...] = (inputs.plain,) if isinstance(inputs, Maps) else super().extract_feat(inputs)
        return feats


def collate_nothing(batch: dict[str, Any]) -> dict[str, Any]:
    """A batch that the data set has made whole."""
    return batch


FUNCTIONS.register_module(module=collate_nothing)

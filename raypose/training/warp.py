"""The RTMPose recipe's geometry, faster: an image is decoded, cropped, turned, scaled and mirrored in one go.

Runs in: GPU worker, its loader processes. Each class does what the MMPose transform that it derives from does.
"""

import functools
from typing import Any

import cv2
import numpy as np
from mmpose.datasets.transforms import GetBBoxCenterScale, LoadImage, RandomBBoxTransform, RandomFlip, TopdownAffine
from mmpose.registry import TRANSFORMS
from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from raypose.datasets.crop_cache import CropCache
from raypose.datasets.photo import Box, Photo

Floats = NDArray[np.floating[Any]]
MIRRORED = "mirrored"
"""The key under which a sample says that its boxes and joints are mirrored, and its image is not yet."""


@TRANSFORMS.register_module()
class LoadLater(LoadImage):
    """Read an image's file, or find its pixels in the `cache` of a `folder`; its pixels follow with its warp."""

    def __init__(self, cache: str | None = None, folder: str = "") -> None:
        super().__init__()
        self.cache, self.folder = cache, folder

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """As LoadImage, but for the image."""
        path = results["img_path"]
        cut = _opened(self.cache, self.folder).get(path) if self.cache else None
        results["img"] = photo = cut or Photo(path)
        results["img_shape"] = results["ori_shape"] = photo.shape
        return results


_opened = functools.cache(CropCache)
"""Each process opens a file once, for both pipelines."""


@TRANSFORMS.register_module()
class PadBox(GetBBoxCenterScale):
    """Pad a person's box, without a warning, for each person, that the data set has given it."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """As GetBBoxCenterScale."""
        if not {"bbox_center", "bbox_scale"} <= results.keys():
            padded: dict[str, Any] = super().transform(results)
            return padded
        results["bbox_scale"] = results["bbox_scale"] * self.padding
        return results


@TRANSFORMS.register_module()
class MirrorLater(RandomFlip):
    """Mirror boxes and joints; the image follows with its warp."""

    def _choose_direction(self) -> str | None:
        """From the same draw, without NumPy's checks of what is drawn from: one direction or none."""
        return "horizontal" if np.random.random_sample() < self.prob else None

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """As RandomFlip, but for the image."""
        photo, results["img"] = results["img"], []
        results = super().transform(results)
        results["img"], results[MIRRORED] = photo, results["flip"]
        return results


@TRANSFORMS.register_module()
class TurnBox(RandomBBoxTransform):
    """RandomBBoxTransform without the 0.4 ms that scipy.stats takes to check its arguments."""

    @staticmethod
    def _truncnorm(low: float = -1.0, high: float = 1.0, size: tuple[int, ...] = ()) -> Floats:
        """Draws of a normal distribution cut at both ends, by inversion, as scipy.stats makes them."""
        uniform, below = np.random.uniform(size=size), ndtr((low, high))
        return np.asarray(ndtri(below[0] + uniform * (below[1] - below[0])), np.float32)


@TRANSFORMS.register_module()
class WarpOnce(TopdownAffine):
    """Decode, crop, turn, scale and mirror the image in one go.

    To be trained on, it is decoded no larger than the crop needs, which also leaves less of the noise that bilinear
    sampling makes of detail; to be evaluated on, it is decoded whole, as MMPose does it.
    """

    def __init__(self, input_size: tuple[int, int], use_udp: bool = False, whole: bool = True) -> None:
        super().__init__(input_size, use_udp)
        self.whole = whole

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """As TopdownAffine of the mirrored image."""
        photo, aspect = results["img"], self.input_size[0] / self.input_size[1]
        results["bbox_scale"] = self._fix_aspect_ratio(results["bbox_scale"], aspect_ratio=aspect)
        (centre,), (scale,) = results["bbox_center"], results["bbox_scale"]
        rotation = results["bbox_rotation"][0] if "bbox_rotation" in results else 0.0
        matrix = (get_udp_warp_matrix if self.use_udp else get_warp_matrix)(centre, scale, rotation, self.input_size)
        results["transformed_keypoints"] = results["keypoints"].copy()
        results["transformed_keypoints"][..., :2] = cv2.transform(results["keypoints"][..., :2], matrix)
        results.update(input_size=self.input_size, input_center=centre, input_scale=scale)
        if results.pop(MIRRORED, False):
            matrix = mirrored(matrix, photo.shape[1])
        density = 1.0 if self.whole else scale[0] / self.input_size[0]
        picture = photo.picture(density, seen(matrix, self.input_size))
        results["img"] = picture.warped(matrix, self.input_size)
        return results


def mirrored(matrix: Floats, width: int) -> Floats:
    """The warp of an image that does what `matrix`, 2x3, does to its mirror image, where x is width - 1 - x."""
    return matrix * (-1, 1, 1) + np.outer(matrix[:, 0], (0, 0, width - 1))


def seen(matrix: Floats, size: tuple[int, int]) -> Box:
    """The box of the image that a crop of `size` (W, H) takes its pixels from, with those between which it samples."""
    corners = [(x, y, 1) for x in (0, size[0]) for y in (0, size[1])]
    places = np.array(corners) @ cv2.invertAffineTransform(matrix).T
    left, top = places.min(0) - 1
    right, bottom = places.max(0) + 2
    return float(left), float(top), float(right), float(bottom)

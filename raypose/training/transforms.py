"""The RTMPose recipe's transforms, faster: the same random draws, one warp, tables instead of loops.

Runs in: GPU worker, its loader processes. Each class does what the MMPose transform that it derives from does; `faster`
puts them into a pipeline wherever that is sure, and leaves the rest of it alone.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import albumentations
import cv2
import numpy as np
import torch
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
from mmpose.registry import KEYPOINT_CODECS, TRANSFORMS
from mmpose.structures.bbox import get_udp_warp_matrix, get_warp_matrix
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from raypose.training.photo import Photo, Pixels

Floats = NDArray[np.floating[Any]]
MIRRORED = "mirrored"
"""The key under which a sample says that its boxes and joints are mirrored, and its image is not yet."""


@TRANSFORMS.register_module()
class LoadLater(LoadImage):
    """Read an image's size; its pixels follow with its warp."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """As LoadImage, but for the image."""
        results["img"] = photo = Photo(results["img_path"])
        results["img_shape"] = results["ori_shape"] = photo.shape
        return results


@TRANSFORMS.register_module()
class MirrorLater(RandomFlip):
    """Mirror boxes and joints; the image follows with its warp."""

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
        uniform = np.random.uniform(size=size)
        return np.asarray(ndtri(ndtr(low) + uniform * (ndtr(high) - ndtr(low))), np.float32)


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
        photo, results["img"] = results["img"], []
        results = super().transform(results)
        scale, rotation = results["input_scale"], results["bbox_rotation"][0] if "bbox_rotation" in results else 0.0
        make = get_udp_warp_matrix if self.use_udp else get_warp_matrix
        matrix = make(results["input_center"], scale, rotation, output_size=self.input_size)
        if results.pop(MIRRORED, False):
            matrix = mirrored(matrix, photo.shape[1])
        picture = photo.picture(1.0 if self.whole else scale[0] / self.input_size[0])
        results["img"] = picture.warped(matrix, self.input_size)
        return results


def mirrored(matrix: Floats, width: int) -> Floats:
    """The warp of an image that does what `matrix`, 2x3, does to its mirror image, where x is width - 1 - x."""
    return matrix * (-1, 1, 1) + np.outer(matrix[:, 0], (0, 0, width - 1))


@TRANSFORMS.register_module()
class ColourByTable(YOLOXHSVRandomAug):
    """Change hue, saturation and value by looking them up."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """As YOLOXHSVRandomAug, to the bit."""
        hue, saturation, value = self._get_hsv_gains()
        levels = np.arange(256)
        channels = ((levels + hue) % 180, np.clip(levels + saturation, 0, 255), np.clip(levels + value, 0, 255))
        table = np.stack(channels, axis=-1).astype(np.uint8)[None]
        image = cv2.LUT(cv2.cvtColor(results["img"], cv2.COLOR_BGR2HSV), table)
        results["img"] = cv2.cvtColor(image, cv2.COLOR_HSV2BGR)
        return results


Act = Callable[[Any, Pixels], Pixels]


def _blur(settings: Any, image: Pixels) -> Pixels:
    size = _odd(*settings.blur_limit)
    return np.asarray(cv2.blur(image, (size, size)), np.uint8)


def _median_blur(settings: Any, image: Pixels) -> Pixels:
    return np.asarray(cv2.medianBlur(image, _odd(*settings.blur_limit)), np.uint8)


def _odd(low: int, high: int) -> int:
    """An odd number between two odd bounds, both included, drawn."""
    return low + 2 * int(np.random.randint((high - low) // 2 + 1))


def _coarse_dropout(settings: Any, image: Pixels) -> Pixels:
    for _ in range(_between(settings.num_holes_range)):
        sides = (settings.hole_height_range, settings.hole_width_range)
        places = [_interval(side, length) for side, length in zip(sides, image.shape, strict=False)]
        image[tuple(places)] = settings.fill
    return image


def _interval(bounds: Sequence[float], length: int) -> slice:
    """A part of a side, drawn: as long as `bounds` say, in pixels if they are whole numbers, else as its share."""
    low, high = bounds
    whole = isinstance(low, int)
    size = _between((low, min(high, length))) if whole else int(length * np.random.uniform(low, high))
    start = np.random.randint(length - size + 1)
    return slice(start, start + size)


def _between(bounds: Sequence[float]) -> int:
    return int(np.random.randint(int(bounds[0]), int(bounds[1]) + 1))


ACTS: Mapping[type, Act] = {
    albumentations.Blur: _blur,
    albumentations.MedianBlur: _median_blur,
    albumentations.CoarseDropout: _coarse_dropout,
}


@TRANSFORMS.register_module()
class DegradeInPlace(Albumentation):
    """Blur, MedianBlur and CoarseDropout as Albumentations means them, drawn from NumPy's generator."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """The distribution of Albumentation, whose own generators cost more than what they draw."""
        for settings in self.aug.transforms:
            if np.random.rand() < settings.p:
                results["img"] = ACTS[type(settings)](settings, results["img"])
        return results


@KEYPOINT_CODECS.register_module()
class SimCCByTable(SimCCLabel):
    """SimCC labels cut out of one Gaussian, as all are the same but for their place."""

    def _generate_gaussian(self, keypoints: Floats, keypoints_visible: Floats) -> tuple[Floats, Floats, Floats]:
        """As SimCCLabel's, to the bit: labels of shape (N, K, W) and (N, K, H), and weights of shape (N, K)."""
        centres, weights = self._map_coordinates(keypoints, keypoints_visible)
        sides = np.around(np.array(self.input_size) * self.simcc_split_ratio).astype(int)
        radius = self.sigma * 3
        inside = ((centres - radius < sides) & (centres + radius + 1 >= 0)).all(-1)
        seen = keypoints_visible >= 0.5
        weights[seen & ~inside] = 0
        labels = [
            _gaussians(int(sides[axis]), float(self.sigma[axis]), self.normalize, centres[..., axis])
            * (seen & inside)[..., None]
            for axis in (0, 1)
        ]
        return labels[0], labels[1], weights


def _gaussians(side: int, sigma: float, normalized: bool, centres: NDArray[np.int64]) -> Floats:
    """For each centre a row of `side` bins; those of centres too far away to count are another's."""
    reach = side + int(3 * sigma) + 2  # no centre that counts is further from a bin
    windows = _windows(side, sigma, normalized, reach)
    return np.asarray(windows[np.clip(reach - centres, 0, len(windows) - 1)])


@functools.cache
def _windows(side: int, sigma: float, normalized: bool, reach: int) -> Floats:
    """All cuts of `side` bins out of a Gaussian of `reach` bins to either side of its middle."""
    distance = np.arange(-reach, reach + 1, dtype=np.float64)
    gaussian = np.exp(-(distance**2) / (2 * sigma**2)).astype(np.float32)
    if normalized:
        gaussian /= sigma * np.sqrt(np.pi * 2)
    return np.lib.stride_tricks.sliding_window_view(gaussian, side)


@TRANSFORMS.register_module()
class PackInPlace(PackPoseInputs):
    """PackPoseInputs without a copy of the image: it stays as OpenCV has it, pixel by pixel, which is channels_last."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """As PackPoseInputs, with inputs of shape (3, H, W)."""
        image, results["img"] = results["img"], np.zeros((1, 1, 3), np.uint8)
        packed: dict[str, Any] = super().transform(results)
        packed["inputs"] = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        return packed


SAME: Mapping[type, type] = {
    LoadImage: LoadLater,
    RandomFlip: MirrorLater,
    RandomBBoxTransform: TurnBox,
    YOLOXHSVRandomAug: ColourByTable,
    Albumentation: DegradeInPlace,
    PackPoseInputs: PackInPlace,
}
OPENING = (LoadImage, RandomFlip, TopdownAffine)
BLIND = (GetBBoxCenterScale, RandomFlip, RandomHalfBody, RandomBBoxTransform)
"""Transforms that need not see the image; what RandomFlip does to it can follow later."""


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

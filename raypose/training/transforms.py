"""The RTMPose recipe's colours, noise, labels and packing, faster: tables instead of loops.

Runs in: GPU worker, its loader processes. Each class does what the MMPose class that it derives from does.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import albumentations
import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData
from mmpose.codecs import SimCCLabel
from mmpose.datasets.transforms import Albumentation, PackPoseInputs, YOLOXHSVRandomAug
from mmpose.registry import KEYPOINT_CODECS, TRANSFORMS
from mmpose.structures import PoseDataSample
from numpy.typing import NDArray

from raypose.datasets.photo import Pixels

Floats = NDArray[np.floating[Any]]


RAMP = np.clip(np.arange(-256, 512), 0, 255).astype(np.uint8)
WHEEL = (np.arange(-256, 512) % 180).astype(np.uint8)
"""What becomes of a level, with a gain: OpenCV's hue goes round at 180."""


@TRANSFORMS.register_module()
class ColourByTable(YOLOXHSVRandomAug):
    """Change hue, saturation and value by looking them up."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """As YOLOXHSVRandomAug, to the bit."""
        table = np.empty((1, 256, 3), np.uint8)
        for channel, (levels, gain) in enumerate(zip((WHEEL, RAMP, RAMP), self._get_hsv_gains(), strict=True)):
            table[0, :, channel] = levels[256 + gain : 512 + gain]
        image = results["img"]  # a crop of its own, written over: less memory to fetch
        cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV, dst=image), table, dst=image)
        cv2.cvtColor(image, cv2.COLOR_HSV2BGR, dst=image)
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
        sides = [round(side * self.simcc_split_ratio) for side in self.input_size]
        radius = self.sigma * 3
        inside = ((centres - radius < sides) & (centres + radius + 1 >= 0)).all(-1)
        seen = keypoints_visible >= 0.5
        weights[seen & ~inside] = 0
        counts = seen & inside
        across, down = (
            _gaussians(side, float(sigma), self.normalize, centres[..., axis], counts)
            for axis, (side, sigma) in enumerate(zip(sides, self.sigma, strict=True))
        )
        return across, down, weights


def _gaussians(side: int, sigma: float, normalized: bool, centres: NDArray[np.int64], counts: NDArray[Any]) -> Floats:
    """For each centre a row of `side` bins, of zeros where it does not count."""
    reach = side + int(15 * sigma)  # so far from its middle a Gaussian is too small for a number
    windows = _windows(side, sigma, normalized, reach)
    return np.asarray(windows[np.where(counts, reach - centres, 0)])


@functools.cache
def _windows(side: int, sigma: float, normalized: bool, reach: int) -> Floats:
    """All cuts of `side` bins out of a Gaussian of `reach` bins to either side of its middle; the first is of zeros."""
    distance = np.arange(-reach, reach + 1, dtype=np.float64)
    gaussian = np.exp(-(distance**2) / (2 * sigma**2)).astype(np.float32)
    if normalized:
        gaussian /= sigma * np.sqrt(np.pi * 2)
    return np.lib.stride_tricks.sliding_window_view(gaussian, side)


@TRANSFORMS.register_module()
class PackInPlace(PackPoseInputs):
    """PackPoseInputs without copies: an image stays as OpenCV has it, pixel by pixel, which is channels_last."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """As PackPoseInputs, with inputs of shape (3, H, W)."""
        image, results["img"] = results["img"], np.zeros((1, 1, 3), np.uint8)
        if self.pack_transformed or not self.field_mapping_table.keys().isdisjoint(results):
            packed: dict[str, Any] = super().transform(results)
        else:
            packed = {"data_samples": self._sample(results)}
        packed["inputs"] = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        return packed

    def _sample(self, results: Mapping[str, Any]) -> PoseDataSample:
        """What PackPoseInputs makes of one without maps, but not one part of it after another, each with its checks."""
        given = _named(results, results.get("instance_mapping_table", self.instance_mapping_table))
        labels = _named(results, results.get("label_mapping_table", self.label_mapping_table))
        tensors = {name: torch.from_numpy(np.stack(v) if isinstance(v, list) else v) for name, v in labels.items()}
        sample = PoseDataSample()
        sample.gt_instances = _filled(InstanceData(), "_data_fields", given)
        sample.gt_instance_labels = _filled(InstanceData(), "_data_fields", tensors)
        meta = {key: results[key] for key in self.meta_keys if key in results}
        return _filled(sample, "_metainfo_fields", meta)


def _named(results: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: results[key] for key, name in names.items() if key in results}


def _filled(element: Any, fields: str, values: Mapping[str, Any]) -> Any:
    """An MMEngine data element with values, set as its own `__setattr__` sets them."""
    vars(element)[fields].update(values)
    vars(element).update(values)
    return element

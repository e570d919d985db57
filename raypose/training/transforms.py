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
from mmpose.codecs import SimCCLabel
from mmpose.datasets.transforms import Albumentation, PackPoseInputs, YOLOXHSVRandomAug
from mmpose.registry import KEYPOINT_CODECS, TRANSFORMS
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

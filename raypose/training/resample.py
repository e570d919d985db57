"""Fit a pose head of another input size to the model, instead of losing it. Runs in: GPU worker, `raypose plan`.

In RTMPose's head three matrices depend on the input size (mmpose/models/heads/coord_cls_heads/rtmcc_head.py): `mlp.1`
reads a joint's feature map, flattened row by row, and `cls_x`, `cls_y` write a score for every bin along the crop's
width and height. All are functions of the place in the crop, and can be sampled at other places. RTMW's head
(rtmw_head.py) has a second reader, `mlp2.1`, of a map twice as fine.
"""

import math
from collections.abc import Mapping

from torch import Tensor
from torch.nn.functional import interpolate

READERS = ("head.mlp.1.weight", "head.mlp2.1.weight")
CLS_X, CLS_Y = "head.cls_x.weight", "head.cls_y.weight"


def resample(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the file `state` that are made for another input size than the model's `own`, at the model's.

    What differs in more than the input size is left out.
    """
    fitted: dict[str, Tensor] = {}
    for name in READERS:
        old, new = _cells(state, name), _cells(own, name)
        if old and new and old != new and len(state[name]) == len(own[name]):
            fitted[name] = _read_elsewhere(state[name], old, new)
    for name in (CLS_X, CLS_Y):
        if name in state and name in own and _differ_in_bins(state[name], own[name]):
            fitted[name] = _stretch(state[name].T[:, None], (1, len(own[name])))[:, 0].T.contiguous()
    return fitted


def _cells(tensors: Mapping[str, Tensor], reader: str) -> tuple[int, int] | None:
    """(h, w) of the map that a reader of shape (hidden, h * w) is made for, None if the tensors do not tell.

    The bins of both axes are equally fine, so their numbers have the ratio of the map's sides.
    """
    if not all(
        name in tensors and tensors[name].ndim == 2 and tensors[name].numel() for name in (reader, CLS_X, CLS_Y)
    ):
        return None
    cells, across, down = tensors[reader].shape[1], len(tensors[CLS_X]), len(tensors[CLS_Y])
    width = max(1, round(math.sqrt(cells * across / down)))
    height = cells // width
    return (height, width) if height * width == cells and height * across == width * down else None


def _read_elsewhere(weight: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A reader of the map `old` = (h, w) made one of the map `new`.

    Before it, ScaleNorm (mmpose/models/utils/transformer.py) divides the map by |x| / sqrt(h * w): whatever the number
    of cells, each is 1 in the root mean square. So a sum over more cells grows as their number, and the weights shrink
    by it; the sum keeps its scale, which the residual connection of the attention unit behind it needs.
    """
    images = _stretch(weight.reshape(-1, *old), new)
    return images.flatten(1) * (math.prod(old) / math.prod(new))


def _differ_in_bins(one: Tensor, other: Tensor) -> bool:
    return one.shape[1:] == other.shape[1:] and 0 < len(one) != len(other)


def _stretch(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (n, h, w) at another size, bilinear; averaged where they shrink, so that nothing is stepped over."""
    return interpolate(images[None].float(), size, mode="bilinear", align_corners=False, antialias=True)[0]

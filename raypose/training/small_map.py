"""The head, where its convolution's kernel is larger than the map, and in mixed precision. Runs in: GPU worker.

RTMPose's head begins with one of 7x7 (mmpose/models/heads/coord_cls_heads/rtmcc_head.py), and of an image of 128x128
the map is 4x4. There most taps fall on padding, and on CPUs the gradient of the weights takes five times as long as the
convolution; on maps of 8x6 and more it takes as long.

In mixed precision the loss multiplies scores by 10, which float16 does not hold if they are above 6,550: weights that
run at half the size they were made at give such ones in their first step.
"""

from typing import Any

import torch
from mmpose.models import RTMCCHead
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input


@MODELS.register_module()
class SmallMapHead(RTMCCHead):
    """MMPose's RTMCCHead, whose first convolution learns faster on small maps, and whose scores are never halves."""

    final_layer: nn.Module

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        stock: Any = self.final_layer
        shape = stock.in_channels, stock.out_channels, stock.kernel_size
        # Skipped, as its random numbers would shift those of all that is initialised after it.
        self.final_layer = nn.utils.skip_init(SmallMapConv, *shape, padding=stock.padding)  # type: ignore[no-untyped-call]
        self.final_layer.load_state_dict(stock.state_dict())

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """RTMCCHead's; NumPy, by which MMPose counts the joints that are found, knows no bfloat16 either."""
        across, down = super().forward(feats)
        return across.float(), down.float()


class SmallMapConv(nn.Conv2d):
    """A Conv2d of stride 1 whose padding keeps the map's size, an odd kernel's half."""

    def forward(self, maps: Tensor) -> Tensor:
        """Conv2d's, to the bit; maps of shape (N, C, H, W)."""
        small = maps.shape[2] < self.kernel_size[0] and maps.shape[3] < self.kernel_size[1]
        if small and maps.device.type == "cpu" and maps.dtype == self.weight.dtype:
            convolved: Tensor = _Convolved.apply(maps, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return convolved
        return super().forward(maps)


class _Convolved(torch.autograd.Function):
    """The same convolution with a gradient of its own for the weights."""

    @staticmethod
    def forward(context: Any, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        context.save_for_backward(maps, weight)
        return conv2d(maps, weight, bias, padding=_half(weight))

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        maps, weight = context.saved_tensors
        of_maps, of_weight, of_bias = context.needs_input_grad
        input_gradient: Any = conv2d_input
        return (
            input_gradient(maps.shape, weight, gradient, padding=_half(weight)) if of_maps else None,
            weight_gradient(maps, gradient, weight.shape) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
        )


def _half(weight: Tensor) -> tuple[int, int]:
    return weight.shape[2] // 2, weight.shape[3] // 2


def weight_gradient(maps: Tensor, gradient: Tensor, shape: torch.Size) -> Tensor:
    """Of weights of `shape` (O, C, KH, KW), from maps (N, C, H, W) and the gradient of what comes out, (N, O, H, W).

    One product over the batch relates each pixel that comes out to each that went in; a tap's gradient is the sum over
    the pairs that lie as far apart as it does from the kernel's middle.
    """
    (_, channels, height, width), (outputs, _, tall, wide) = maps.shape, shape
    before, after = maps.permute(0, 2, 3, 1).flatten(1), gradient.permute(0, 2, 3, 1).flatten(1)
    pairs = (after.T @ before).view(height, width, outputs, height, width, channels)
    taps = maps.new_zeros(outputs, tall, wide, channels)
    for y in range(height):
        for x in range(width):
            top, left = tall // 2 - y, wide // 2 - x  # the tap on the first pixel, for H < KH may lie before the kernel
            rows, columns = _overlap(top, height, tall), _overlap(left, width, wide)
            taps[:, rows[0], columns[0]] += pairs[y, x][:, rows[1], columns[1]]
    return taps.permute(0, 3, 1, 2)


def _overlap(first: int, length: int, kernel: int) -> tuple[slice, slice]:
    """Of a kernel's taps and of a map's pixels those that meet, the first pixel lying at tap `first`."""
    begin, end = max(0, first), min(kernel, first + length)
    return slice(begin, end), slice(begin - first, end - first)

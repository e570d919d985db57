"""The head's convolution on small maps: MMPose's, with its gradients."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS
from torch import Tensor, nn

from raypose.space.run import Run
from raypose.training.base import base_config
from raypose.training.hasten import hastened
from raypose.training.small_map import SmallMapConv, SmallMapHead
from tests.training.conftest import MakeRun


def gradients(conv: nn.Conv2d, maps: Tensor, wanted: Tensor) -> list[Tensor]:
    """What comes out, and the gradients of weights, bias and maps of a sum of it that is not the same everywhere."""
    maps = maps.clone().requires_grad_()
    out = conv(maps)
    (out * wanted).sum().backward()
    assert conv.weight.grad is not None and conv.bias is not None and conv.bias.grad is not None
    assert maps.grad is not None
    return [out.detach(), conv.weight.grad, conv.bias.grad, maps.grad]


@pytest.mark.parametrize("height, width", [(1, 1), (3, 3), (4, 4), (6, 4), (4, 6), (8, 6), (12, 9)])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("by_pixel", [False, True])
def test_gradients_are_torchs(height: int, width: int, kernel: int, by_pixel: bool) -> None:
    torch.manual_seed(0)
    stock = nn.Conv2d(8, 5, kernel, padding=kernel // 2)
    own = SmallMapConv(8, 5, kernel, padding=kernel // 2)
    own.load_state_dict(stock.state_dict())
    layout = torch.channels_last if by_pixel else torch.contiguous_format
    maps = torch.randn(4, 8, height, width).contiguous(memory_format=layout)
    wanted = torch.randn(4, 5, height, width)
    (out, *found), (expected_out, *expected) = gradients(own, maps, wanted), gradients(stock, maps, wanted)
    assert torch.equal(out, expected_out)
    for own_gradient, gradient in zip(found, expected, strict=True):
        assert torch.allclose(own_gradient, gradient, rtol=1e-4, atol=1e-5)


def head_of(run: Run) -> tuple[nn.Module, float]:
    """The head of a run's model as it is initialised, and the random number after it."""
    init_default_scope("mmpose")
    config = hastened(base_config("rtmpose-n"), run)
    torch.manual_seed(0)
    head: nn.Module = MODELS.build(config.model.head)
    return head, float(torch.rand(1))


def test_a_head_begins_with_mmposes_weights(make_run: MakeRun) -> None:
    own, after = head_of(make_run(channels_last=True))
    stock, stock_after = head_of(make_run(channels_last=False))
    assert type(own) is SmallMapHead and type(stock) is not SmallMapHead and after == stock_after
    weights = own.state_dict()
    assert weights.keys() == stock.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in stock.state_dict().items())

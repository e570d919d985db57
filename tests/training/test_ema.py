"""The moving average of all tensors at once is the one that MMPose makes of one after another."""

import pytest
import torch
from mmpose.engine.hooks import ExpMomentumEMA
from torch import nn

from raypose.training.ema import AverageAtOnce


@pytest.mark.parametrize("buffers", [True, False])
def test_it_is_the_same_to_the_bit(buffers: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1).requires_grad_(False))
    settings = {"momentum": 0.01, "gamma": 5, "update_buffers": buffers}
    theirs, ours = ExpMomentumEMA(model, **settings), AverageAtOnce(model, **settings)
    frozen = ours.module[2].weight.clone()
    for average in (theirs, ours):
        del average.avg_parameters["2.weight"]  # as KeepFrozenHook does it
    for _ in range(20):
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.add_(1 if tensor.dtype == torch.long else torch.randn_like(tensor))
        for average in (theirs, ours):
            average.update_parameters(model)
    states = [average.state_dict() for average in (theirs, ours)]
    assert states[0].keys() == states[1].keys() and ours.steps == 20
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert torch.equal(ours.module[2].weight, frozen) and not torch.equal(ours.module[0].weight, model[0].weight)

"""The moving average of the weights, as long a share of the training as in the official recipe. Runs in: GPU worker.

ExpMomentumEMA (mmpose/engine/hooks/ema_hook.py) takes of each new value the share `m + (1 - m) exp(-(1 + n) / gamma)`
after n averages: a horizon of 1 / m averages, before which it is warmed up over `gamma`.
"""

import math
from typing import Any

import torch
from mmengine import hooks
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.engine.hooks import ExpMomentumEMA
from mmpose.registry import MODELS
from torch import nn

MOMENTUM, GAMMA = 0.0002, 2000  # ExpMomentumEMA's own
MAX_MOMENTUM = 0.5  # a horizon of two optimizer steps


def fit_average(config: Config, length: float, accumulation: int) -> None:
    """Keep horizon and warm-up of the recipe's moving average the same share of the optimizer steps.

    `length` is those steps as a share of the official recipe's; horizon and warm-up are never more than the config's.
    """
    share = min(1.0, length)
    for hook in config.get("custom_hooks", []):
        if hook.type == "EMAHook" and hook.get("ema_type") == "ExpMomentumEMA":
            own = hook.get("momentum", MOMENTUM)
            hook.momentum = max(own, min(MAX_MOMENTUM, own / share))
            hook.gamma = hook.get("gamma", GAMMA) * share
            if accumulation > 1:
                hook.type = f"{EMAHook.__module__}.{EMAHook.__name__}"


class EMAHook(hooks.EMAHook):
    """Average after each optimizer step, where MMEngine's averages after each of the batches that are accumulated.

    MMEngine's `interval` would not do: it counts from the first batch on, so that every average comes a batch late,
    the last optimizer step is never averaged, and `gamma` is counted in batches.
    """

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Only if this batch's optimizer step was made."""
        if runner.optim_wrapper.should_update():
            super().after_train_iter(runner, batch_idx, data_batch, outputs)


@MODELS.register_module()
class AverageAtOnce(ExpMomentumEMA):
    """ExpMomentumEMA, to the bit, of all tensors in one call instead of one after another."""

    def update_parameters(self, model: nn.Module) -> None:
        """As MMEngine's BaseAveragedModel does it; its first average, a copy, it still does itself."""
        if self.steps == 0 or self.steps % self.interval or not self.update_buffers:
            super().update_parameters(model)
            return
        source = model.state_dict()
        averaged = {name: tensor.data for name, tensor in self.avg_parameters.items() if tensor.is_floating_point()}
        share = (1 - self.momentum) * math.exp(-float(1 + self.steps) / self.gamma) + self.momentum
        torch._foreach_mul_(list(averaged.values()), 1 - share)
        torch._foreach_add_(list(averaged.values()), [source[name] for name in averaged], alpha=share)
        self.steps += 1

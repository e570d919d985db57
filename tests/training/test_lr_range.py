"""The LR range test: a real short training with a growing LR, and what is read from its loss."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from raypose.errors import WorkError
from raypose.space.run import Run
from raypose.training.base import base_config
from raypose.training.lr_range import lr_range, propose, smooth

MakeRun = Callable[..., Run]
LRS = [10 ** (-6 + 6 * i / 199) for i in range(200)]


def curve(begins: float, best: float, fall: float = 0.5, noise: float = 0.01) -> list[float]:
    """A noisy loss around 1 that falls from one LR to another, in the logarithm of the LR, and then rises."""
    draw = random.Random(0)
    losses = []
    for lr in LRS:
        learned = min(max(math.log(lr / begins) / math.log(best / begins), 0), 1)
        losses.append(1 - fall * learned + max(math.log10(lr / best), 0) + draw.gauss(0, noise))
    return losses


@pytest.mark.parametrize(
    ("begins", "best", "low", "high"),
    [
        (1e-5, 1e-2, 3e-5, 1e-2),  # a tenth of the way in the logarithm is 2e-5
        (1e-3, 3e-3, 4e-4, 4e-3),  # high / 10 at most
        (1e-5, 0.2, 2.3e-4, 0.23),  # high / 1000 at least
    ],
)
def test_the_range_is_where_the_loss_falls(begins: float, best: float, low: float, high: float) -> None:
    found = propose(LRS, curve(begins, best))
    assert found == pytest.approx((low, high), rel=0.5)  # the mean lags behind
    assert found == tuple(float(f"{bound:.1e}") for bound in found)
    assert 10 <= round(found[1] / found[0], 6) <= 1000


@pytest.mark.parametrize("fall", [0.0, 0.005, -0.5])
def test_a_loss_that_never_falls(fall: float) -> None:
    with pytest.raises(WorkError, match="the loss never falls by more than it varies by itself; take more steps"):
        propose(LRS, curve(1e-4, 1e-1, fall=fall))


@pytest.mark.parametrize("count", [0, 1, 7, 11])
def test_a_loss_that_explodes_at_once(count: int) -> None:
    with pytest.raises(WorkError, match="never falls"):
        propose(LRS[:count], [1.0] * count)


def test_the_first_batches_do_not_count() -> None:
    """The mean of a few batches may be anything."""
    assert propose(LRS, [0.2, *curve(1e-5, 1e-2)[1:]])[1] > 1e-3


class Spy(Hook):
    """Of each batch of the last training: whether stem and stage 1 are in training mode, the LR, and the loss."""

    priority = "VERY_HIGH"
    seen: list[tuple[bool, bool, float, float]] = []
    rounds = 0  # of the data that were begun anew, each after a pause of two seconds

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if batch_idx == 0:
            self.seen.clear()
        Spy.rounds = runner.train_loop.dataloader_iterator._epoch
        stem, stage1 = runner.model.backbone.stem[0].bn, runner.model.backbone.stage1[0].depthwise_conv.bn
        lr = max(group["lr"] for group in runner.optim_wrapper.optimizer.param_groups)
        self.seen.append((stem.training, stage1.training, lr, outputs["loss"].item()))


@pytest.fixture(scope="module")
def spied(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A config whose trainings are watched."""
    HOOKS.register_module(module=Spy, force=True)
    file = tmp_path_factory.mktemp("spied") / "own.py"
    config = base_config("rtmpose-n")
    config.default_hooks.spy = {"type": "Spy"}
    config.dump(file)
    return str(file)


@pytest.fixture(scope="module")
def watched(make_run: MakeRun, spied: str, start: Path) -> Run:
    """A run with a frozen stem, different rates for the parts, and a peak that is half the knob's value."""
    rule = {"lr_rule": "linear", "reference_batch": 16}
    return make_run({"freeze": "stem", "layer_decay": 0.5}, model=spied, weights=str(start), **rule)


def test_the_lr_grows_until_the_loss_explodes(watched: Run) -> None:
    found, steps = lr_range(watched, steps=100, low=1e-5), len(Spy.seen)
    assert 20 < steps < 100 and steps - 1 <= len(found.lrs) == len(found.losses)
    assert found.lrs == pytest.approx([1e-5 ** (1 - i / 99) for i in range(len(found.lrs))])
    assert found.lrs == pytest.approx([2 * lr for _, _, lr, _ in Spy.seen[: len(found.lrs)]])
    assert found.losses == tuple(smooth([loss for *_, loss in Spy.seen[: len(found.lrs)]]))
    assert max(found.losses[-1], Spy.seen[-1][-1]) > 4 * min(found.losses) or not math.isfinite(Spy.seen[-1][-1])
    assert 1e-5 <= found.low < found.high / 9.9 and found.high in [float(f"{lr:.1e}") for lr in found.lrs]
    assert {(stem, stage1) for stem, stage1, _, _ in Spy.seen} == {(False, True)}


def test_the_seed_decides(watched: Run) -> None:
    with pytest.raises(WorkError):
        lr_range(watched, steps=8, low=2e-5, high=2e-3)
    seen = list(Spy.seen)
    with pytest.raises(WorkError):
        lr_range(replace(watched, lr_rule="none", amp=not torch.cuda.is_available()), steps=8, low=1e-5, high=1e-3)
    assert Spy.seen == seen and [lr for _, _, lr, _ in seen] == pytest.approx([1e-5 * 100 ** (i / 7) for i in range(8)])


def test_a_step_takes_all_accumulated_batches(watched: Run) -> None:
    with pytest.raises(WorkError, match="never falls"):
        lr_range(replace(watched, batch_size=4, accumulation=3), steps=8, low=1e-9, high=1e-8)
    assert len(Spy.seen) == 24 and Spy.rounds == 0

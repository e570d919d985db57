"""Find a range for the knob lr: Smith's LR range test on a trial's own model and data. Runs in: GPU worker.

The LR grows exponentially from step to step while the model trains, and the loss tells where learning begins and where
it breaks down (L. Smith, Cyclical Learning Rates for Training Neural Networks, arXiv:1506.01186, section 3.3).
"""

import dataclasses
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, stdev
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from raypose.errors import WorkError
from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.hasten import hastened
from raypose.training.model import build_model
from raypose.training.runner import build_runner, registered

SMOOTHING = 0.9  # what the mean of the losses keeps at each batch: it looks back ten of them, LOOKBACK
LOOKBACK = round(1 / (1 - SMOOTHING))
SIGNIFICANT = 4  # standard deviations: by chance alone the lowest of some hundred smoothed losses is 2 to 3 below
DIVERGED = 4  # times the best loss, as in fastai's finder (fastai/callback/schedule.py)


@dataclass(frozen=True)
class LrRange:
    """LR and smoothed loss of every batch of the test, and the range proposed for the knob lr."""

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    low: float
    high: float


def lr_range(run: Run, steps: int = 200, low: float = 1e-6, high: float = 1.0) -> LrRange:
    """Train for `steps` optimizer steps with an LR from `low` to `high`, or until the loss has DIVERGED.

    All LRs are values of the knob: at the effective batch, and by the LR rule, of the run, which has one worker. It
    trains on a GPU if there is one, and without mixed precision if not. Raises WorkError if the loss never falls.
    """
    gpu = torch.cuda.is_available()
    one = dataclasses.replace(run, values={**run.values, "lr": low}, gpu=gpu, amp=run.amp and gpu)
    config = hastened(build_config(one), one)
    _prepare(config, high / low, steps * run.accumulation)
    with tempfile.TemporaryDirectory() as folder, registered(Path(folder) / "log", "range") as config.experiment_name:
        model, frozen, _ = build_model(config, one)
        probe = _ProbeHook(frozen)
        runner = build_runner(config, model, one, folder)
        runner.register_hook(probe)
        runner.train()
    first = config.optim_wrapper.optimizer.lr
    lrs = [low * rate / first for rate in probe.rates]
    return LrRange(tuple(lrs), tuple(smooth(probe.losses)), *propose(lrs, probe.losses))


def smooth(losses: Sequence[float]) -> list[float]:
    """Exponential means, without a bias towards 0 at the start (Adam's correction, arXiv:1412.6980, section 3)."""
    mean, means = 0.0, []
    for count, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        means.append(mean / (1 - SMOOTHING**count))
    return means


def propose(lrs: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    """The range of LR in which the smoothed loss falls, (low, high), to two digits.

    Smith takes the LR at which learning begins as the lower bound, and as the upper the one at which it becomes ragged
    or worse. Here high is the LR of the lowest loss, beyond which it rises, and low the LR from which on the loss has
    fallen by a tenth of its whole fall; high is at least 10 and at most 1000 times low, for less is no search and more
    no help. The fall is counted from the first quarter, where the LR is too small for any. Raises WorkError if it is
    less than SIGNIFICANT.
    """
    means = smooth(losses)[LOOKBACK:]
    quarter = max(len(losses) // 4, LOOKBACK)
    best = min(range(len(means)), key=means.__getitem__, default=0)
    if best:
        start = median(means[:quarter])
        deviation = stdev(losses[:quarter]) * math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING))  # of an exponential mean
        fall = start - means[best]
    if not best or fall <= SIGNIFICANT * deviation:
        raise WorkError(
            "lr range: the loss never falls by more than it varies by itself; take more steps or a larger batch; "
            "weights that have learned these data already have nothing to show"
        )
    begin = max(i for i in range(best) if means[i] > start - fall / 10) + 1
    high = _two_digits(lrs[LOOKBACK + best])
    return _two_digits(min(max(lrs[LOOKBACK + begin], high / 1000), high / 10)), high


def _two_digits(number: float) -> float:
    return float(f"{number:.1e}")


def _prepare(config: Config, growth: float, batches: int) -> None:
    """One schedule, which grows, and nothing but training."""
    config.train_cfg = {"type": "IterBasedTrainLoop", "max_iters": batches}
    config.train_dataloader.sampler.type = "InfiniteSampler"
    gamma = growth ** (1 / (batches - 1))
    config.param_scheduler = [{"type": "ExponentialLR", "gamma": gamma, "by_epoch": False, "end": batches}]
    for key in ("custom_hooks", "val_cfg", "val_dataloader", "val_evaluator"):  # neither average nor second pipeline
        config.pop(key, None)


@dataclass
class _ProbeHook(Hook):
    """Note LR and loss of every batch, and end the training when the loss has diverged."""

    frozen: list[nn.Module]
    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Back to eval mode, which this loop's `model.train()` leaves before every batch."""
        for module in self.frozen:
            module.eval()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """The LR is the one of this batch: the schedule's hook has a lower priority."""
        loss = outputs["loss"].item()
        if math.isfinite(loss):
            rates = runner.optim_wrapper.get_lr()
            self.rates.append(rates.get("base_lr", rates["lr"])[0])
            self.losses.append(loss)
        means = smooth(self.losses)
        runner.train_loop.stop_training = not math.isfinite(loss) or means[-1] > DIVERGED * min(means)

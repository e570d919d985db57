"""Fit a config's whole schedule to a trial's length, and when its frozen part begins to learn.

Runs in: GPU worker, `raypose plan`. Source of the shares: MMPose's official RTMPose recipe for MPII.
"""

import math
from collections.abc import Mapping

from mmengine.config import Config, ConfigDict

from raypose.errors import SpecError
from raypose.space.knobs import Value
from raypose.space.run import Run
from raypose.training.base import base_config
from raypose.training.ema import fit_average

RECIPE_STEPS = 210 * 44  # of the official MPII recipe: 210 epochs of 44 steps (8 x 64 people)
WARMUP_SHARE = 1000 / RECIPE_STEPS
MIN_WARMUP = 2  # steps: MMEngine's warm-up of one step never reaches its end
WARM_UPS = ("LinearLR", "ConstantLR")
FITTING = (*WARM_UPS, "CosineAnnealingLR")
BATCH_SIZE = "train_dataloader.batch_size"


def fitted_config(run: Run) -> Config:
    """The base config fitted to batch and epochs, before any knob. Raises SpecError as `fit_schedule` does."""
    config = base_config(run.model)
    batch_size = int(run.values.get(BATCH_SIZE) or run.batch_size)
    config.train_dataloader.batch_size = batch_size
    config.val_dataloader.batch_size = batch_size  # where memory holds it for training, it does for validation
    config.optim_wrapper.accumulative_counts = run.accumulation
    fit_schedule(config, run, math.ceil(run.train_people / (batch_size * run.workers)))
    return config


def fit_schedule(config: Config, run: Run, steps_per_epoch: int) -> None:
    """Fit warm-up, cosine, second pipeline and moving average to the run, with a validation after every epoch.

    Compressed, all of it happens within `run.epochs`; full, it is the config's own, of which `run.epochs` are trained.
    All shares of the config's schedule are kept, but for the warm-up: its own optimizer steps or WARMUP_SHARE, the
    fewer. A step here is one batch; an optimizer step takes `run.accumulation` of them. Raises SpecError for more
    epochs than the full schedule has, and for a scheduler that cannot be brought to another length.
    """
    own = config.train_cfg.max_epochs
    if run.schedule == "full" and run.epochs > own:
        raise SpecError([f"train.epochs: {run.epochs} are more than the {own} of the full schedule; take compressed"])
    epochs = own if run.schedule == "full" else run.epochs
    steps = epochs * steps_per_epoch
    config.train_cfg.update(max_epochs=epochs, val_interval=1, val_begin=1)
    config.train_cfg.pop("dynamic_intervals", None)
    for scheduler in config.param_scheduler:
        if not _fits(scheduler):
            _keep(scheduler, stretched=epochs != own)
            continue
        _floor_as_share(scheduler, config.optim_wrapper.optimizer.lr)
        if not scheduler.get("by_epoch", True):
            _shorten(scheduler, scheduler.end * run.accumulation, steps)
        elif epochs != own:
            _stretch(scheduler, epochs, own)
    for hook in config.get("custom_hooks", []):
        if hook.type.endswith("PipelineSwitchHook"):
            hook.switch_epoch = round(hook.switch_epoch * epochs / own)
    updates = epochs * math.ceil(steps_per_epoch / run.accumulation)  # an epoch ends with one, whatever is accumulated
    fit_average(config, updates / RECIPE_STEPS, run.accumulation)


def unfreeze_epoch(values: Mapping[str, Value], epochs: int) -> int | None:
    """How many epochs the freeze set stays frozen: the share `unfreeze.at` of all, at least one on either side.

    None where nothing is frozen, or what is frozen stays so to the end.
    """
    share = values.get("unfreeze.at")
    if values.get("freeze", "none") == "none" or share is None or float(share) >= 1:
        return None
    return max(1, min(epochs - 1, round(float(share) * epochs)))


def _fits(scheduler: ConfigDict) -> bool:
    """Other kinds count epochs in arguments of their own, or have a floor that is no share of each group's LR.

    Of what counts iterations only a warm-up from the first one on is as long for any data.
    """
    if scheduler.get("by_epoch", True):
        return _kind(scheduler) in FITTING
    return _kind(scheduler) in WARM_UPS and not scheduler.get("begin")


def _keep(scheduler: ConfigDict, stretched: bool) -> None:
    """As the config has it, which suits its own epochs if no floor is above a small LR.

    What counts the iterations of a whole training, as a cosine does, counts those of the config's own data and batch.
    """
    counts_iterations = not scheduler.get("by_epoch", True) and _kind(scheduler) not in WARM_UPS
    if stretched or counts_iterations or scheduler.get("eta_min"):
        known = ", ".join(FITTING)
        raise SpecError(
            [
                f"model: {scheduler.type} in param_scheduler cannot follow a trial's epochs and LR; {known} can, "
                "with by_epoch=True or as a warm-up from the first iteration on"
            ]
        )


def _kind(scheduler: ConfigDict) -> str:
    return str(scheduler.type).split(".")[-1]


def _floor_as_share(scheduler: ConfigDict, lr: float) -> None:
    """The floor stays the same share of the peak (official: 0.05), so that no smaller LR ever climbs to it."""
    if "eta_min" in scheduler:
        scheduler.eta_min_ratio = scheduler.pop("eta_min") / lr


def _shorten(scheduler: ConfigDict, own: int, steps: int) -> None:
    scheduler.end = max(MIN_WARMUP, min(own, round(WARMUP_SHARE * steps)))


def _stretch(scheduler: ConfigDict, epochs: int, own: int) -> None:
    """Bounds may be fractions of an epoch: MMEngine turns them into steps, and without T_max spans them."""
    scheduler.begin = scheduler.get("begin", 0) * epochs / own
    scheduler.end = scheduler.get("end", own) * epochs / own
    scheduler.convert_to_iter_based = True
    scheduler.pop("T_max", None)

"""What a trial's values do to the config: one function a knob. Runs in: GPU worker, `raypose plan`.

Sources of the rules: MMPose's official RTMPose configs, whose relations between the numbers are kept when one changes.
"""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from raypose.training.input_size import set_input_size
from raypose.training.keys import get_key, set_key

WARMUP_SHARE = 1000 / (210 * 44)  # of all steps, as in the official MPII recipe: 210 epochs of 44 steps (8 x 64 people)
MIN_WARMUP = 2  # steps: MMEngine's warm-up of one step never reaches its end
SPECIAL = ("lr", "freeze", "input_size")


def apply_knobs(config: Config, values: Mapping[str, Any]) -> None:
    """Change the config to a trial's values; `freeze` acts on the model instead (raypose.training.freeze).

    Raises SpecError for a key that the config does not have, or that raypose writes itself.
    """
    for key, value in values.items():
        if key not in SPECIAL:
            set_key(config, key, value)
    set_lr(config, float(values.get("lr", config.optim_wrapper.optimizer.lr)))
    if "input_size" in values:
        set_input_size(config, str(values["input_size"]))


def base_value(config: Config, knob: str) -> Any:
    """The base config's own value of a knob. Raises SpecError for a key that cannot vary."""
    if knob == "lr":
        return float(config.optim_wrapper.optimizer.lr)
    if knob == "input_size":
        width, height = config.model.head.input_size
        return f"{width}x{height}"
    if knob == "freeze":
        return "none"
    return get_key(config, knob)


def set_lr(config: Config, lr: float) -> None:
    """One peak learning rate; the cosine's floor stays the same share of it (official: 0.05)."""
    base = config.optim_wrapper.optimizer.lr
    config.optim_wrapper.optimizer.lr = lr
    for scheduler in config.param_scheduler:
        floor = scheduler.pop("eta_min", None)
        if floor is not None:
            scheduler.eta_min_ratio = floor / base


def set_epochs(config: Config, epochs: int, steps_per_epoch: int) -> None:
    """Fit the whole schedule into `epochs`: warm-up, cosine, second pipeline, and a validation after every epoch.

    All shares of the base config's schedule are kept, but for the warm-up: its own steps or WARMUP_SHARE, the fewer.
    """
    old = config.train_cfg.max_epochs
    config.train_cfg.update(max_epochs=epochs, val_interval=1, val_begin=1)
    config.train_cfg.pop("dynamic_intervals", None)
    for scheduler in config.param_scheduler:
        if scheduler.get("by_epoch", True):
            _rescale(scheduler, epochs, old)
        else:
            share = round(WARMUP_SHARE * epochs * steps_per_epoch)
            scheduler.end = max(MIN_WARMUP, min(scheduler.end, share))
    for hook in config.get("custom_hooks", []):
        if hook.type.endswith("PipelineSwitchHook"):
            hook.switch_epoch = round(hook.switch_epoch * epochs / old)


def _rescale(scheduler: ConfigDict, epochs: int, old: int) -> None:
    """Bounds may be fractions of an epoch: MMEngine turns them into steps, and without T_max spans them."""
    scheduler.begin = scheduler.get("begin", 0) * epochs / old
    scheduler.end = scheduler.end * epochs / old
    scheduler.convert_to_iter_based = True
    scheduler.pop("T_max", None)

"""What a trial's values do to the config, whose schedule is fitted already. Runs in: GPU worker, `raypose plan`.

Other modules see to the knobs that act on the model: freeze and unfreeze.at (raypose.training.freeze), lr_mult.* and
layer_decay (raypose.training.layer_rates).
"""

import math
from typing import Any

from mmengine.config import Config

from raypose.errors import SpecError
from raypose.space.run import Run
from raypose.training.input_size import set_input_size
from raypose.training.keys import get_key, set_key
from raypose.training.layer_rates import LR_MULT
from raypose.training.schedule import fitted_config

NAMED = ("lr", "freeze", "input_size", "layer_decay", "unfreeze.at")


def apply_knobs(config: Config, run: Run) -> None:
    """Change the fitted config to the run's values; a dotted key's value is taken as it is.

    Raises SpecError for a key that the config does not have, or that raypose writes itself.
    """
    for knob, value in run.values.items():
        if _is_key(knob):
            set_key(config, knob, value)
    optimizer = config.optim_wrapper.optimizer
    lr = float(run.values.get("lr") or optimizer.lr)
    optimizer.lr = peak_lr(run, lr, config.train_dataloader.batch_size)
    if "input_size" in run.values:
        set_input_size(config, str(run.values["input_size"]))


def base_value(run: Run, knob: str) -> Any:
    """The value with which a knob changes nothing of the fitted config. Raises SpecError for a key that cannot vary."""
    config = fitted_config(run)
    if _is_key(knob):
        return get_key(config, knob)
    if knob == "lr":
        return float(config.optim_wrapper.optimizer.lr)
    if knob == "input_size":
        width, height = config.model.head.input_size
        return f"{width}x{height}"
    return "none" if knob == "freeze" else 1.0


def peak_lr(run: Run, lr: float, batch_size: int) -> float:
    """The peak LR at the effective batch, for an `lr` that is meant for `run.reference_batch` people.

    Linear: Goyal et al., arXiv:1706.02677; sqrt, which suits Adam: Malladi et al., arXiv:2205.10343. Raises SpecError
    for a rule without its reference.
    """
    if run.lr_rule == "none":
        return lr
    if run.reference_batch is None:
        raise SpecError([f"lr_rule: {run.lr_rule} scales lr from a reference batch; give reference_batch"])
    ratio = run.workers * batch_size * run.accumulation / run.reference_batch
    return lr * (ratio if run.lr_rule == "linear" else math.sqrt(ratio))


def _is_key(knob: str) -> bool:
    return knob not in NAMED and not knob.startswith(LR_MULT)

"""All state of a running training, as tensors and JSON, saved and put back. Runs in: GPU worker.

`state.safetensors` and `state.json` are what a training goes on from; `weights.pth` is an export of the evaluated
weights (EMA's, where the recipe has one) that plain MMPose loads, and raypose never reads it back.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raypose.record.epochs import read_json, write_json

TENSORS, PLAIN, WEIGHTS = "state.safetensors", "state.json", "weights.pth"


def save_state(runner: Runner, folder: Path) -> None:
    """Write the state after a finished epoch into an empty folder."""
    optimizer = copy.deepcopy(runner.optim_wrapper.state_dict())
    optimizer["base_param_settings"].pop("params")  # a placeholder tensor, made anew with every wrapper
    moments = {f"{i}.{k}": v for i, slots in optimizer.pop("state").items() for k, v in slots.items()}
    ema = _ema(runner)
    tensors = {
        **_named("model", _bare(runner).state_dict()),
        **_named("optimizer", moments),
        **(_named("ema", ema.ema_model.state_dict()) if ema else {}),
    }
    save_file(tensors, folder / TENSORS)
    schedulers = [s.state_dict() for s in runner.param_schedulers]
    plain = {"epoch": runner.epoch, "iter": runner.iter, "optimizer": optimizer, "schedulers": schedulers}
    write_json(folder / PLAIN, plain)
    torch.save({"state_dict": evaluated_weights(runner), "meta": {"epoch": runner.epoch}}, folder / WEIGHTS)


def load_state(runner: Runner, folder: Path) -> None:
    """Put a saved state back into a runner that was built alike and has not trained yet."""
    tensors, plain = load_file(folder / TENSORS), read_json(folder / PLAIN)
    _bare(runner).load_state_dict(_part("model", tensors))
    if ema := _ema(runner):
        ema.ema_model.load_state_dict(_part("ema", tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part("optimizer", tensors).items():
        index, slot = name.split(".", 1)
        state.setdefault(int(index), {})[slot] = tensor
    plain["optimizer"]["base_param_settings"]["params"] = runner.optim_wrapper.base_param_settings["params"]
    runner.optim_wrapper.load_state_dict({**plain["optimizer"], "state": state})
    for scheduler, saved in zip(runner.param_schedulers, plain["schedulers"], strict=True):
        scheduler.load_state_dict(saved)
    runner.train_loop._epoch, runner.train_loop._iter = plain["epoch"], plain["iter"]
    runner.optim_wrapper.initialize_count_status(runner.model, runner.iter, runner.train_loop.max_iters)


def evaluated_weights(runner: Runner) -> dict[str, Tensor]:
    """The weights that validation used, on the CPU: the moving average's if the recipe has one."""
    ema = _ema(runner)
    model = ema.ema_model.module if ema else _bare(runner)
    return {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}


def _ema(runner: Runner) -> EMAHook | None:
    return next((hook for hook in runner.hooks if isinstance(hook, EMAHook)), None)


def _bare(runner: Runner) -> nn.Module:
    model: nn.Module = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return model


def _named(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _part(part: str, tensors: dict[str, Any]) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

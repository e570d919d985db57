"""All state of a running training, as tensors and JSON, saved and put back. Runs in: GPU worker.

`state.safetensors` and `state.json` are what a training goes on from; `weights.pth` is an export of the evaluated
weights (EMA's, where the recipe has one) that plain MMPose loads, and raypose never reads it back.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raypose.record.files import read_json, require_space, write_json

TENSORS, PLAIN, WEIGHTS = "state.safetensors", "state.json", "weights.pth"


def save_state(runner: Runner, folder: Path) -> None:
    """Write the state after a step, or after a finished epoch, into an empty folder."""
    optimizer, names, ema = runner.optim_wrapper.state_dict(), _optimized(runner), ema_hook(runner)
    moments = {f"{names[i]}.{slot}": v for i, slots in optimizer["state"].items() for slot, v in slots.items()}
    tensors = {
        **_named("model", bare_model(runner).state_dict()),
        **_named("optimizer", moments),
        **(_named("ema", ema.ema_model.state_dict()) if ema else {}),
    }
    # Besides these, the export of the evaluated weights, which are a third of them at most and half when all is frozen.
    require_space(folder, 3 * sum(tensor.nbytes for tensor in tensors.values()) // 2)
    save_file(tensors, folder / TENSORS)
    plain = {
        "epoch": runner.epoch,
        "iter": runner.iter,
        "parameters": names,
        "groups": [{k: v for k, v in group.items() if k != "params"} for group in runner.optim_wrapper.param_groups],
        "schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],
        "scaler": {k: v for k, v in optimizer.items() if k == "loss_scaler"},
    }
    write_json(folder / PLAIN, plain)


def export_weights(runner: Runner, folder: Path) -> None:
    """Write what plain MMPose loads beside the state of a finished epoch."""
    torch.save({"state_dict": evaluated_weights(runner), "meta": {"epoch": runner.epoch}}, folder / WEIGHTS)


def load_state(runner: Runner, folder: Path, step: int = 0) -> None:
    """Put a saved state back into a runner that has not trained since; it was saved after `step` steps of an epoch.

    Moments go by the parameters' names; parameters that were frozen until now begin without any.
    """
    tensors, plain = load_file(folder / TENSORS), read_json(folder / PLAIN)
    bare_model(runner).load_state_dict(_part("model", tensors))
    if ema := ema_hook(runner):
        ema.ema_model.load_state_dict(_part("ema", tensors))
    wrapper, loop, names = runner.optim_wrapper, runner.train_loop, _optimized(runner)
    loop._epoch, loop._iter = plain["epoch"], plain["epoch"] * len(runner.train_dataloader) + step
    spans = [[scheduler.begin, scheduler.end] for scheduler in runner.param_schedulers]
    saved_spans = [[saved["begin"], saved["end"]] for saved in plain["schedulers"]]
    if (plain["parameters"], plain["iter"], saved_spans) == (names, runner.iter, spans):
        for scheduler, saved in zip(runner.param_schedulers, plain["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        for group, saved in zip(wrapper.param_groups, plain["groups"], strict=True):
            group.update(saved)
    else:
        _schedule_anew(runner)
    parameters = dict(bare_model(runner).named_parameters())
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _part("optimizer", tensors).items():
        name, slot = key.rsplit(".", 1)
        state.setdefault(names.index(name), {})[slot] = _laid_out(tensor, parameters[name])
    wrapper.load_state_dict({**wrapper.state_dict(), **plain["scaler"], "state": state})


def _laid_out(moment: Tensor, parameter: Tensor) -> Tensor:
    """A moment in its parameter's memory format, without which a step would take longer."""
    return torch.empty_like(parameter).copy_(moment) if moment.shape == parameter.shape else moment


def _schedule_anew(runner: Runner) -> None:
    """Run new schedulers through all steps up to here.

    Other parameters learn than did, an epoch has other steps, or the training is to be longer than it was.
    """
    in_turn = sorted(runner.param_schedulers, key=lambda scheduler: bool(scheduler.by_epoch))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer itself has not stepped
        for step in range(1, runner.iter + 1):
            for scheduler in in_turn:
                if not scheduler.by_epoch or step % len(runner.train_dataloader) == 0:
                    scheduler.step()


def evaluated_weights(runner: Runner) -> dict[str, Tensor]:
    """The weights that validation used, on the CPU: the moving average's if the recipe has one."""
    ema = ema_hook(runner)
    model = ema.ema_model.module if ema else bare_model(runner)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def buffers(runner: Runner) -> dict[str, Tensor]:
    """What is not learned but counted, by each rank for itself unless it is synchronised: BatchNorm's statistics.

    Those of the model and of the moving average, as they are, not copied.
    """
    ema = ema_hook(runner)
    parts = {"model": bare_model(runner), **({"ema": ema.ema_model} if ema else {})}
    return {f"{part}.{name}": buffer for part, module in parts.items() for name, buffer in module.named_buffers()}


def ema_hook(runner: Runner) -> EMAHook | None:
    """The hook that holds the moving average, if the recipe has one."""
    return next((hook for hook in runner.hooks if isinstance(hook, EMAHook)), None)


def bare_model(runner: Runner) -> nn.Module:
    """The runner's model without the wrapper that synchronises several workers."""
    model: nn.Module = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return model


def _optimized(runner: Runner) -> list[str]:
    """The names of the optimizer's parameters, in its order."""
    names = {id(parameter): name for name, parameter in bare_model(runner).named_parameters()}
    return [names[id(p)] for group in runner.optim_wrapper.optimizer.param_groups for p in group["params"]]


def _named(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _part(part: str, tensors: dict[str, Any]) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

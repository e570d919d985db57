"""The learning rates of a trial at every step, from MMEngine's own schedulers, without training.

Runs in: a child process of the command line.
"""

import dataclasses
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import ParamSchedulerHook
from mmengine.runner import Runner
from torch import nn

from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.freeze import STAGES, frozen_modules
from raypose.training.model import build_model
from raypose.training.runner import build_runner, registered
from raypose.training.schedule import unfreeze_epoch

POINTS = 2000  # of a curve, to be drawn


@dataclass
class _Parts:
    """What shares one curve: numbers of parameters by part of the model, and their weight decays."""

    begin: int
    parameters: Counter[str] = field(default_factory=Counter)
    decays: set[float] = field(default_factory=set)


def lr_curves(run: Run) -> dict[str, Any]:
    """The LR of every parameter that learns, as the Runner would train it; the data must be there.

    `curves`, the highest first, hold the LR at each of `steps` (one step is one batch; the first, the last, the peaks
    and at most POINTS between), None before they begin to learn, and whose it is: `parts`, their `parameters` in all
    and their weight `decays`. `marks` name the steps where something changes. Raises SpecError as `build_config` does.
    """
    whole = dataclasses.replace(run, weights="none", values={**run.values, "freeze": "none"}, amp=False)
    config = build_config(whole)
    # One process, with or without a GPU, steps through what the batches of all workers make up.
    config.launcher, config.train_dataloader.batch_size = "none", config.train_dataloader.batch_size * run.workers
    with tempfile.TemporaryDirectory() as folder, registered(Path(folder) / "log", "curve") as config.experiment_name:
        model, *_ = build_model(config, whole)
        runner = build_runner(config, model, whole, folder)
        length = len(runner.train_dataloader)
        parts = _parts(runner, _begins(model, run, length))
        rates = _rates(runner, config, run.epochs)
    count = run.epochs * length
    marks = _marks(max(rates.values(), key=max), config, run, length)
    kept = {curve.index(max(curve)) for curve in rates.values()} | {0, count - 1, *marks}
    steps = sorted(kept | {*range(0, count, -(-count // POINTS))})
    ordered = sorted(parts.items(), key=lambda item: (-item[0][0], item[0][1]))
    curves = [_curve(rates[lr], steps, each) for (lr, _), each in ordered]
    return {"steps": steps, "steps_per_epoch": length, "marks": marks, "curves": curves}


def _begins(model: nn.Module, run: Run, length: int) -> dict[nn.Parameter, int | None]:
    """The first step at which each parameter of the freeze set learns."""
    epoch = unfreeze_epoch(run.values, run.epochs)
    modules = frozen_modules(model, str(run.values.get("freeze", "none")))
    return {p: None if epoch is None else epoch * length for module in modules for p in module.parameters()}


def _parts(runner: Runner, begins: dict[nn.Parameter, int | None]) -> dict[tuple[float, int], _Parts]:
    """What learns, by its LR before any schedule and its first step; only one group of each LR stays to be stepped."""
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    names = {parameter: name for name, parameter in runner.model.named_parameters()}
    optimizer = runner.optim_wrapper.optimizer
    parts: dict[tuple[float, int], _Parts] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            begin = begins.get(parameter, 0)
            if begin is not None:
                each = parts.setdefault((group["lr"], begin), _Parts(begin))
                each.parameters[_part(names[parameter])] += parameter.numel()
                each.decays.add(group["weight_decay"])
    optimizer.param_groups = list({group["lr"]: group for group in optimizer.param_groups}.values())
    return parts


def _part(name: str) -> str:
    first, second = name.split(".")[:2]
    return second if first == "backbone" and second in STAGES else f"{first}.{second}"


def _rates(runner: Runner, config: Config, epochs: int) -> dict[float, list[float]]:
    """The LR at every step, by the LR before any schedule; stepped by the hook that a training has."""
    groups, hook = runner.optim_wrapper.optimizer.param_groups, ParamSchedulerHook()
    rates: dict[float, list[float]] = {group["lr"]: [] for group in groups}
    runner.param_schedulers = runner.build_param_scheduler(config.param_scheduler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer itself has not stepped
        for _ in range(epochs):
            for step in range(len(runner.train_dataloader)):
                for group, curve in zip(groups, rates.values(), strict=True):
                    curve.append(float(group["lr"]))
                hook.after_train_iter(runner, step)
            hook.after_train_epoch(runner)
    return rates


def _marks(highest: list[float], config: Config, run: Run, length: int) -> dict[int, str]:
    """What changes from which step on."""
    hooks = config.get("custom_hooks", [])
    events = [(hook.switch_epoch * length, "second pipeline") for hook in hooks if "switch_epoch" in hook]
    if peak := highest.index(max(highest)):
        events.append((peak + 1, "warm-up ended"))
    if epoch := unfreeze_epoch(run.values, run.epochs):
        events.append((epoch * length, f"{run.values['freeze']} begins to learn"))
    marks: dict[int, str] = {}
    for step, what in sorted(events):
        if 0 < step < len(highest):
            marks[step] = f"{marks[step]}, {what}" if step in marks else what
    return marks


def _curve(rates: list[float], steps: list[int], parts: _Parts) -> dict[str, Any]:
    return {
        "parts": list(parts.parameters),
        "parameters": parts.parameters.total(),
        "decays": sorted(parts.decays, reverse=True),
        "lr": [rates[step] if step >= parts.begin else None for step in steps],
    }

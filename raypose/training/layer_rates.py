"""The knobs `lr_mult.<group>` and `layer_decay`: parts of the model learn at shares of the one LR.

Runs in: GPU worker, `raypose plan`. The shares are multiplied onto the groups that MMEngine's constructor has built:
through its `custom_keys` they would take the parameters out of all its other rules, such as no weight decay for
biases (mmengine#846).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn
from torch.optim import Optimizer

from raypose.errors import SpecError
from raypose.space.knobs import Value
from raypose.training.freeze import SETS, STAGES, frozen_modules

LR_MULT = "lr_mult."


def rate_factors(model: nn.Module, values: Mapping[str, Value]) -> dict[nn.Parameter, float]:
    """Each parameter's share of the LR: `lr_mult` of its group, the smallest that holds it, times `layer_decay`.

    `layer_decay` to the power of 5 for the stem, 4 to 1 for the stages, 0 for the rest, as in BEiT (arXiv:2106.08254)
    and ConvNeXt (arXiv:2201.03545). Raises SpecError for a group that holds no parameter.
    """
    decay = float(values.get("layer_decay") or 1)
    decayed = {parameter: decay ** _height(name) for name, parameter in model.named_parameters()}
    factors = dict(decayed)
    groups = [(_group(model, knob), float(value or 0)) for knob, value in values.items() if knob.startswith(LR_MULT)]
    for group, factor in sorted(groups, key=lambda pair: -sum(p.numel() for p in pair[0])):  # the smallest comes last
        factors.update({parameter: decayed[parameter] * factor for parameter in group})
    return factors


def scale_rates(optimizer: Optimizer, factors: Mapping[nn.Parameter, float]) -> None:
    """Multiply the factors onto the groups' LR; parameters with the same settings become one group.

    MMEngine's constructor makes a group of each parameter, and optimizers step group by group.
    """
    groups: dict[str, dict[str, Any]] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            settings = {**group, "params": [], "lr": group["lr"] * factors[parameter]}
            groups.setdefault(repr(settings), settings)["params"].append(parameter)
    optimizer.param_groups = []
    for settings in groups.values():
        optimizer.add_param_group(settings)


def check_groups(model: nn.Module, knobs: Iterable[str]) -> None:
    """Raises SpecError with all of the knobs whose group holds no parameter of the model."""
    problems = []
    for knob in knobs:
        try:
            if knob.startswith(LR_MULT):
                _group(model, knob)
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)


def _height(name: str) -> int:
    """How many parts lie above a parameter's."""
    first, _, rest = name.partition(".")
    part = rest.split(".")[0]
    return len(STAGES) - STAGES.index(part) if first == "backbone" and part in STAGES else 0


def _group(model: nn.Module, knob: str) -> list[nn.Parameter]:
    choice = knob.removeprefix(LR_MULT)
    try:
        modules = frozen_modules(model, choice)
    except SpecError as error:
        raise SpecError([problem.replace("freeze:", f"space.{knob}:", 1) for problem in error.problems]) from None
    group = list(dict.fromkeys(p for module in modules for p in module.parameters()))
    if not group:
        raise SpecError([f"space.{knob}: '{choice}' holds no parameter"])
    return group


def notices(model: nn.Module, config: Config) -> list[str]:
    """What a config's own `custom_keys` do and do not do to the model, in sentences; none for a config without them.

    What decides for a parameter is MMEngine's own constructor. A key that a Python file gives twice cannot be told:
    the later one has replaced the former.
    """
    rules = config.optim_wrapper.get("paramwise_cfg") or {}
    keys = rules.get("custom_keys") or {}
    if not keys:
        return []
    marked = {key: {**settings, "custom_key": key} for key, settings in keys.items()}
    groups = list(_groups(model, config, {**rules, "custom_keys": marked}))
    sentences = []
    for key, settings in keys.items():
        decided = [group["params"][0] for group in groups if group.get("custom_key") == key]
        if not decided:
            sentences.append(f"custom_keys: '{key}' {_why_unused(model, key)}")
        elif settings.get("lr_mult", 1) == 0:
            sentences.append(_no_rate(model, key, decided))
    return sentences + _decayed(model, config, rules, groups)


def _groups(model: nn.Module, config: Config, rules: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """MMEngine's group of each parameter that learns, with its `lr` and `weight_decay`."""
    constructor = DefaultOptimWrapperConstructor(config.optim_wrapper.to_dict(), dict(rules))
    groups: list[dict[str, Any]] = []
    constructor.add_params(groups, model)
    for group in groups:
        yield {"lr": constructor.base_lr, "weight_decay": constructor.base_wd or 0, **group}


def _why_unused(model: nn.Module, key: str) -> str:
    if any(key in name for name, _ in model.named_parameters()):
        return "decides nothing: longer keys match the same parameters, or they are frozen"
    above = key.rpartition(".")[0]
    parts = dict(model.named_modules()).get(above, model).named_children()
    return f"matches no parameter; {above or 'the model'} has {', '.join(name for name, _ in parts)}"


def _no_rate(model: nn.Module, key: str, parameters: list[nn.Parameter]) -> str:
    name = key.removeprefix("backbone.")
    choice = name if name in SETS else key if key in dict(model.named_modules()) else "<module>"
    return (
        f"custom_keys: '{key}' with lr_mult 0 holds {len(parameters)} tensors ({sum(p.numel() for p in parameters):,} "
        "parameters) at LR 0, and so without weight decay, which is a share of the LR; but their gradients and "
        "optimizer state are still computed, BatchNorm's statistics there still move, and the moving average still "
        f"takes them in; to freeze them set the knob freeze: {choice}"
    )


def _decayed(model: nn.Module, config: Config, rules: Mapping[str, Any], groups: list[dict[str, Any]]) -> list[str]:
    """Norm and bias tensors that have weight decay, where RTMPose's own rules give them none."""
    recipe = {**rules, "norm_decay_mult": 0, "bias_decay_mult": 0, "custom_keys": {}}
    spared = {group["params"][0] for group in _groups(model, config, recipe) if not group["weight_decay"]}
    now = [group for group in groups if group["params"][0] in spared and group["weight_decay"] and group["lr"]]
    matched = sum("custom_key" in group for group in now)
    sentences = []
    if matched:
        sentences.append(
            f"custom_keys: {matched} norm and bias tensors now have weight decay, for a matching key overrides "
            "norm_decay_mult and bias_decay_mult (mmengine#846); the knobs lr_mult.<group> and layer_decay keep them"
        )
    if len(now) > matched:
        sentences.append(
            f"paramwise_cfg: {len(now) - matched} norm and bias tensors have weight decay, which RTMPose's own config "
            "spares with norm_decay_mult=0 and bias_decay_mult=0"
        )
    return sentences

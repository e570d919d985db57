"""A trial's model: built, its weights loaded, its freeze set frozen. Runs in: GPU worker, `raypose plan`."""

from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmpose.registry import MODELS
from torch import nn

from raypose.errors import SpecError
from raypose.space.run import Run
from raypose.training.freeze import freeze, frozen_tensors
from raypose.training.weights import Loaded, load_weights


def build_model(config: Config, run: Run) -> tuple[nn.Module, list[nn.Module], Loaded]:
    """The trial's model, weights loaded, freeze set frozen, still on the CPU; with it what froze and what loaded."""
    init_default_scope("mmpose")
    source = config.model.backbone.pop("init_cfg", None)
    set_random_seed(run.seed)  # for all that the weights do not cover; MMEngine's Runner seeds only after this
    model: nn.Module = MODELS.build(config.model)
    model.init_weights()  # type: ignore[operator]  # mmengine's, which torch's stubs do not know
    loaded = load_weights(model, run.weights, source)
    choice = str(run.values.get("freeze", "none"))
    if run.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs know it with more only
    modules = freeze(model, choice)
    require_loaded(model, modules, choice, loaded, run.weights)
    return model, modules, loaded


def require_loaded(model: nn.Module, modules: Sequence[nn.Module], choice: str, loaded: Loaded, weights: str) -> None:
    """Raise SpecError if something in the modules to be frozen is random: the weights do not hold it."""
    # Without a count of batches BatchNorm is as good as with one: it only counts.
    random = [n for n in frozen_tensors(model, modules) if n in loaded.missing and not n.endswith("batches_tracked")]
    if random:
        lacks = f"weights '{weights}' have no {random[0]}"
        raise SpecError([f"freeze: '{choice}' would freeze random weights: {lacks}; give others, or freeze none"])

"""The knob `freeze`: named sets of modules that do not learn. Runs in: GPU worker, `raypose plan`.

Frozen means no gradient, BatchNorm in eval mode and no place in the optimizer, before DDP wraps the model.
"""

import difflib

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from raypose.errors import SpecError

# A backbone stage without its predecessors saves no computation, so stage N means: up to and with stage N.
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")
SETS: dict[str, tuple[str, ...]] = {
    "none": (),
    **{name: tuple(f"backbone.{s}" for s in STAGES[: n + 1]) for n, name in enumerate(STAGES)},
    "backbone": ("backbone",),
    "head.cls": ("head.cls_x", "head.cls_y"),
}


def frozen_modules(model: nn.Module, choice: str) -> list[nn.Module]:
    """The modules that a freeze set names. Raises SpecError for a name that matches nothing in the model."""
    if choice == "norms":
        return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    modules = dict(model.named_modules())
    names = SETS.get(choice, (choice,))
    missing = [name for name in names if name not in modules]
    if missing:
        near = difflib.get_close_matches(choice, [*SETS, "norms", *modules], n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise SpecError([f"freeze: '{choice}' names nothing in this model{hint}"])
    return [modules[name] for name in names]


def freeze(model: nn.Module, choice: str) -> list[nn.Module]:
    """Freeze a set in place and return its modules. Raises SpecError if nothing would be left to train."""
    modules = frozen_modules(model, choice)
    for module in modules:
        module.requires_grad_(False).eval()
    if not any(p.requires_grad for p in model.parameters()):
        raise SpecError([f"freeze: '{choice}' leaves no parameter to train"])
    return modules


class KeepFrozenHook(Hook):
    """Put frozen modules back into eval mode, which `model.train()` takes them out of at every epoch."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self.modules = modules

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Only the first step of an epoch finds them in training mode."""
        if batch_idx == 0:
            for module in self.modules:
                module.eval()

"""The knob `freeze`: named sets of modules that do not learn, and the proof that they did not.

Runs in: GPU worker, `raypose plan`. Frozen means: no gradient, so no part in DDP's reducer and no place in the
optimizer, which then decays nothing; eval mode, so BatchNorm's statistics stand and dropout is off; and no averaging.
"""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from raypose.errors import SpecError, WorkError
from raypose.record.files import write_json
from raypose.training.checkpoint import bare_model, ema_hook

VERDICT = "frozen.json"
# A backbone stage without its predecessors saves no computation, so stage N means: up to and with stage N.
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")
SETS: dict[str, tuple[str, ...]] = {
    "none": (),
    **{name: tuple(f"backbone.{s}" for s in STAGES[: n + 1]) for n, name in enumerate(STAGES)},
    "backbone": ("backbone",),
    "head": ("head",),
    "head.cls": ("head.cls_x", "head.cls_y"),
}


def frozen_modules(model: nn.Module, choice: str) -> list[nn.Module]:
    """The modules that a choice names: freeze sets or dotted modules, several joined by `+`.

    Raises SpecError with every name that matches nothing in the model.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    norms = tuple(name for name, module in modules.items() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    sets = {**SETS, "norms": norms}
    found: dict[str, nn.Module] = {}
    problems = []
    for part in choice.split("+"):
        names = sets.get(part, (part,))
        found.update({name: modules[name] for name in names if name in modules})
        if not modules.keys() >= set(names):
            near = difflib.get_close_matches(part, [*sets, *modules], n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            problems.append(f"freeze: '{part}' names nothing in this model{hint}")
    if problems:
        raise SpecError(problems)
    return list(found.values())


def freeze(model: nn.Module, choice: str) -> list[nn.Module]:
    """Freeze a choice in place and return its modules. Raises SpecError if nothing would be left to train."""
    modules = frozen_modules(model, choice)
    for module in modules:
        module.requires_grad_(False).eval()
    if not any(p.requires_grad for p in model.parameters()):
        raise SpecError([f"freeze: '{choice}' leaves no parameter to train"])
    return modules


def frozen_tensors(model: nn.Module, modules: Sequence[nn.Module]) -> list[str]:
    """The names, as in the model's state, of all parameters and buffers inside the modules."""
    inside = {id(tensor) for module in modules for tensor in (*module.parameters(), *module.buffers())}
    return [name for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in inside]


def fingerprints(state: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each named tensor's type and bytes, in hex."""
    return {name: _fingerprint(state[name].detach().cpu().contiguous()) for name in names}


def fingerprint(state: Mapping[str, Tensor], names: Sequence[str]) -> str:
    """One SHA-256, in hex, of all the named tensors and their names."""
    lines = "".join(f"{name} {sha}\n" for name, sha in fingerprints(state, names).items())
    return hashlib.sha256(lines.encode()).hexdigest()


def _fingerprint(tensor: Tensor) -> str:
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class KeepFrozenHook(Hook):
    """Keep frozen modules as they were loaded, and prove it when the training ends.

    Made when the weights are loaded and frozen, before anything is resumed, so that the proof spans all attempts.
    """

    def __init__(self, model: nn.Module, modules: Sequence[nn.Module], choice: str, folder: Path) -> None:
        self.modules, self.choice, self.folder = modules, choice, folder
        self.loaded = fingerprints(model.state_dict(), frozen_tensors(model, modules))

    def before_train(self, runner: Runner) -> None:
        """Take what is frozen out of the moving average: (1 - m) x + m x rounds, and so it would drift."""
        if ema := ema_hook(runner):
            for name in self.loaded:
                ema.ema_model.avg_parameters.pop(name, None)  # without update_buffers it holds no buffers

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Back to eval mode, which `model.train()` leaves at every epoch: only its first step finds it left."""
        if batch_idx == 0:
            for module in self.modules:
                module.eval()

    def after_train(self, runner: Runner) -> None:
        """Raise WorkError, on all ranks, if a frozen tensor of any rank's model or moving average has moved."""
        moved = sorted({name for names in dist.all_gather_object(self._moved(runner)) for name in names})
        if moved:
            first = ", ".join(moved[:3])
            raise WorkError(
                f"freeze: {len(moved)} of {len(self.loaded)} frozen tensors are not as they were loaded: {first}; "
                "either the file of the weights changed since the training began, or a hook of the config changes them"
            )
        if self.loaded and dist.is_main_process():
            lines = "".join(f"{name} {sha}\n" for name, sha in self.loaded.items())
            digest = hashlib.sha256(lines.encode()).hexdigest()
            verdict = {"choice": self.choice, "tensors": len(self.loaded), "sha256": digest, "unchanged": True}
            write_json(self.folder / VERDICT, verdict)
            runner.logger.info(f"{len(self.loaded)} frozen tensors unchanged, sha256 {digest}")

    def _moved(self, runner: Runner) -> set[str]:
        ema = ema_hook(runner)
        models = (bare_model(runner), *([ema.ema_model.module] if ema else []))
        now = (fingerprints(model.state_dict(), list(self.loaded)) for model in models)
        return {name for state in now for name, sha in state.items() if sha != self.loaded[name]}

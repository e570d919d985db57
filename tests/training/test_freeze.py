"""The knob `freeze`: what is frozen is bit for bit what was loaded, after a real epoch of training."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, init_default_scope
from mmengine.runner import Runner
from mmpose.registry import MODELS
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from raypose.errors import SpecError, WorkError
from raypose.record.epochs import read_epochs, read_json
from raypose.space.knobs import FREEZE_SETS
from raypose.space.run import Run
from raypose.training.base import OFFICIAL, SIZE_CONFIGS, base_config
from raypose.training.checkpoint import TENSORS
from raypose.training.config import build_config
from raypose.training.freeze import VERDICT, freeze, frozen_modules, frozen_tensors
from raypose.training.model import build_model
from raypose.training.train import train

MakeRun = Callable[..., Run]
BACKBONE = ("stem", "stage1", "stage2", "stage3", "stage4")
# What each set must freeze, as prefixes of the names of parameters and buffers.
EXPECTED = {
    **{name: tuple(f"backbone.{s}." for s in BACKBONE[: n + 1]) for n, name in enumerate(BACKBONE)},
    "backbone": ("backbone.",),
    "head": ("head.",),
    "head.final_layer": ("head.final_layer.",),
    "head.mlp": ("head.mlp.",),
    "head.gau": ("head.gau.",),
    "head.cls": ("head.cls_x.", "head.cls_y."),
}
OTHERS = {
    **{name: (f"{name}.",) for name in ("backbone.stage2.0", "backbone.stem.1.bn")},
    "head.cls+stem": ("head.cls_x.", "head.cls_y.", "backbone.stem."),
    "head.gau+norms": ("head.gau.",),  # and all norms
}
SIZES = ("rtmpose-t", "rtmpose-s", "rtmpose-m", "rtmpose-l", "rtmpose-x")


def frozen_names(model: nn.Module, choice: str) -> set[str]:
    prefixes = ({"norms": ()} | EXPECTED | OTHERS)[choice]
    if "norms" in choice:
        norms = (name for name, module in model.named_modules() if isinstance(module, _BatchNorm))
        prefixes += tuple(f"{name}." for name in norms)
    return {name for name in model.state_dict() if name.startswith(prefixes)}


def test_every_set_that_may_be_chosen_is_tested() -> None:
    assert set(FREEZE_SETS) == {"none", "norms", *EXPECTED}


@pytest.mark.parametrize("size", SIZES)
def test_every_set_in_every_size(make_run: MakeRun, size: str) -> None:
    config = build_config(make_run({"input_size": "256x256"}, model=size))
    config.model.backbone.pop("init_cfg")
    init_default_scope("mmpose")
    with torch.device("meta"):  # names alone
        model = MODELS.build(config.model)
    for choice in ("norms", *EXPECTED, *OTHERS):
        names = frozen_names(model, choice)
        assert len(names) > 0 and set(frozen_tensors(model, frozen_modules(model, choice))) == names, choice


@pytest.mark.parametrize("choice", ["norms", *EXPECTED, *OTHERS])
def test_frozen_is_no_gradient_no_optimizer_and_eval(make_run: MakeRun, start: Path, choice: str) -> None:
    run = make_run({"freeze": choice}, weights=str(start))
    config = build_config(run)
    model, modules, _ = build_model(config, run)
    names = frozen_names(model, choice)
    parameters = dict(model.named_parameters())
    assert len(names) > 0 and all(p.requires_grad == (name not in names) for name, p in parameters.items())
    assert not any(inner.training for module in modules for inner in module.modules())
    init_default_scope("mmpose")
    optimized = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    learning = {id(p) for name, p in parameters.items() if name not in names}
    assert {id(p) for group in optimized for p in group["params"]} == learning


def test_frozen_stays_out_of_the_optimizer_of_any_config(make_run: MakeRun, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        f"_base_ = '{OFFICIAL / SIZE_CONFIGS['rtmpose-t']}'\n"
        "optim_wrapper = dict(_delete_=True, optimizer=dict(type='SGD', lr=0.1))\n"  # no rules for parameters
    )
    run = make_run(model=str(file))
    config = build_config(run)
    model, _, _ = build_model(config, run)
    freeze(model, "stem")
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    stem = {id(p) for p in model.backbone.stem.parameters()}
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in model.parameters()} - stem


def keep_going(metrics: Mapping[str, float], folder: Path) -> bool:
    return False


def after_an_epoch(run: Run) -> dict[str, Tensor]:
    """All tensors of the state after the run's only epoch."""
    train(run, keep_going)
    return load_file(read_epochs(run.folder)[0].folder / TENSORS)


@pytest.mark.parametrize(
    ("choice", "changes"),
    [
        *((choice, {}) for choice in ("backbone", "head.cls+stem")),
        *((choice, {"gpu": True}) for choice in ("norms", "backbone.stem.1.bn")),  # the config's SyncBN is reverted
        ("stage2", {"values": {"custom_hooks.EMAHook.update_buffers": False}}),
    ],
)
def test_frozen_tensors_are_bit_equal_after_an_epoch(
    make_run: MakeRun, start: Path, choice: str, changes: dict[str, Any]
) -> None:
    loaded = load_file(start)
    # Twelve steps: fewer, and the moving average's rounding would not show.
    run = make_run({"freeze": choice, **changes.pop("values", {})}, weights=str(start), batch_size=2, **changes)
    state = after_an_epoch(run)
    model, _, _ = build_model(build_config(run), run)
    names = frozen_names(model, choice)
    moved = [name for name in names if not torch.equal(state[f"model.{name}"], loaded[name])]
    averaged = [name for name in names if not torch.equal(state[f"ema.module.{name}"], loaded[name])]
    optimized = [key for key in state if key.startswith(tuple(f"optimizer.{name}." for name in names))]
    assert (moved, averaged, optimized) == ([], [], [])
    others = [name for name in loaded if name not in names and loaded[name].is_floating_point()]
    for part in ("model", "ema.module"):
        assert [name for name in others if torch.equal(state[f"{part}.{name}"], loaded[name])] == []
    assert_verified(run, choice, len(names))


def assert_verified(run: Run, choice: str, tensors: int) -> None:
    """The verdict lies in the trial's folder and its log."""
    verdict = read_json(run.folder / VERDICT)
    sha, log = verdict.pop("sha256"), (run.folder / "train.log").read_text()
    assert verdict == {"choice": choice, "tensors": tensors, "unchanged": True}
    assert len(sha) == 64 and f"{tensors} frozen tensors unchanged, sha256 {sha}" in log


def test_without_freezing_everything_moves(make_run: MakeRun, start: Path) -> None:
    run = make_run({"freeze": "none"}, weights=str(start))
    loaded, state = load_file(start), after_an_epoch(run)
    assert [name for name in loaded if torch.equal(state[f"model.{name}"], loaded[name])] == []
    assert not (run.folder / VERDICT).exists()
    told = f"weights {start}: {len(loaded)} tensors loaded, 0 resampled, 0 skipped, 0 missing"
    assert told in (run.folder / "train.log").read_text()


def test_nothing_random_happens_in_frozen_modules(make_run: MakeRun, start: Path) -> None:
    rates = {f"model.head.gau_cfg.{name}": 0.5 for name in ("dropout_rate", "drop_path")}
    run = make_run({"freeze": "head.gau", **rates}, weights=str(start))
    seen: set[tuple[type, bool]] = set()

    def look(module: nn.Module, inputs: Any) -> None:
        if torch.is_grad_enabled() and isinstance(module, nn.Dropout | DropPath):
            seen.add((type(module), module.training))

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        train(run, keep_going)
    finally:
        handle.remove()
    assert seen == {(nn.Dropout, False), (DropPath, False)}


def test_the_verdict_spans_attempts_and_tells_of_the_bytes(make_run: MakeRun, start: Path, tmp_path: Path) -> None:
    choice = "backbone+head.final_layer+head.mlp+head.gau+head.cls_x"  # one single tensor is left to learn
    run = make_run({"freeze": choice}, weights=str(start), epochs=2)
    train(run, lambda metrics, folder: True)
    first = read_json(run.folder / VERDICT)
    (run.folder / VERDICT).unlink()
    train(run, keep_going)
    assert read_json(run.folder / VERDICT) == first

    tensors = load_file(start)
    tensors["backbone.stem.0.conv.weight"][0, 0, 0, 0] += 1e-6
    save_file(tensors, tmp_path / "other.safetensors")
    other = dataclasses.replace(run, weights=str(tmp_path / "other.safetensors"))
    with pytest.raises(WorkError, match=r"1 of 313 frozen tensors .* loaded: backbone.stem.0.conv.weight; .*file"):
        train(other, keep_going)  # it goes on with the tensor of the first file


@HOOKS.register_module()
class Drift(Hook):
    """What a config's own hook could do: change a frozen tensor of the model, or of the moving average alone."""

    def __init__(self, where: str, name: str) -> None:
        self.where, self.name = where, name

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        ema = next(hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook))
        model = ema if self.where == "average" else runner.model
        model.state_dict()[self.name].add_(1)


@pytest.mark.parametrize(
    ("where", "name"),
    [("model", "backbone.stem.1.bn.num_batches_tracked"), ("average", "backbone.stem.0.conv.weight")],
)
def test_a_frozen_tensor_that_moves_is_found(
    make_run: MakeRun, start: Path, tmp_path: Path, where: str, name: str
) -> None:
    config = base_config("rtmpose-n")
    config.custom_hooks.append({"type": "Drift", "where": where, "name": name})
    config.dump(tmp_path / "drift.py")
    run = make_run({"freeze": "stem"}, weights=str(start), model=str(tmp_path / "drift.py"))
    with pytest.raises(WorkError, match=f"freeze: 1 of 18 frozen tensors are not as they were loaded: {name};"):
        train(run, keep_going)
    assert not (run.folder / VERDICT).exists()


def test_a_frozen_prefix_costs_no_autograd(make_run: MakeRun, start: Path) -> None:
    run = make_run({"freeze": "stage2"}, weights=str(start))
    model, _, _ = build_model(build_config(run), run)
    picture = torch.zeros(1, 3, 64, 64)
    inside = model.backbone.stage2(model.backbone.stage1(model.backbone.stem(picture)))
    assert inside.grad_fn is None and model.backbone(picture)[-1].grad_fn is not None


@pytest.mark.parametrize(
    ("name", "hint"),
    [("stage9", "stage"), ("backbone.layer0", "backbone"), ("backbone.stage44", "backbone.st"), ("head.gua", "head.")],
)
def test_an_unknown_name_is_told_with_the_nearest(make_run: MakeRun, start: Path, name: str, hint: str) -> None:
    run = make_run({"freeze": name}, weights=str(start))
    with pytest.raises(SpecError, match=rf"'{name}' names nothing in this model; did you mean '{hint}"):
        train(run, keep_going)


def test_all_unknown_names_of_a_list_at_once(make_run: MakeRun, start: Path) -> None:
    run = make_run({"freeze": "stem+head.glu++norms+stage5"}, weights=str(start))
    with pytest.raises(SpecError) as caught:
        train(run, keep_going)
    assert [problem.split("'")[1] for problem in caught.value.problems] == ["head.glu", "", "stage5"]


def test_something_must_be_left_to_train() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    with pytest.raises(SpecError, match="'norms' leaves no parameter to train"):
        freeze(model, "norms")


@pytest.mark.parametrize("choice", ["stem", "norms", "head.gau+stem"])
def test_random_weights_are_not_frozen(make_run: MakeRun, choice: str) -> None:
    run = make_run({"freeze": choice})
    with pytest.raises(SpecError, match=f"'{re.escape(choice)}' would freeze random weights"):
        train(run, keep_going)
    assert read_epochs(run.folder) == ()


def test_weights_that_lack_what_shall_be_frozen(make_run: MakeRun, start: Path, tmp_path: Path) -> None:
    part = {name: t for name, t in load_file(start).items() if "head" not in name and "batches" not in name}
    save_file(part, tmp_path / "backbone.safetensors")
    run = make_run({"freeze": "backbone"}, weights=str(tmp_path / "backbone.safetensors"))
    build_model(build_config(run), run)
    run = make_run({"freeze": "backbone+head.mlp"}, weights=run.weights)
    with pytest.raises(SpecError, match=r"would freeze random weights: .*backbone.safetensors' have no head.mlp.0.g;"):
        build_model(build_config(run), run)


def test_none_freezes_nothing(make_run: MakeRun) -> None:
    run = make_run({"freeze": "none"})
    model, modules, _ = build_model(build_config(run), run)
    assert modules == frozen_modules(model, "none") == [] and all(p.requires_grad for p in model.parameters())

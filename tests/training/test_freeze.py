"""The knob `freeze`: what is frozen is bit for bit what was loaded, after a real epoch of training."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from raypose.errors import SpecError
from raypose.record.epochs import read_epochs
from raypose.space.knobs import FREEZE_SETS
from raypose.space.run import Run
from raypose.training.base import OFFICIAL, SIZE_CONFIGS
from raypose.training.checkpoint import TENSORS
from raypose.training.config import build_config
from raypose.training.freeze import freeze, frozen_modules
from raypose.training.train import build_model, train

MakeRun = Callable[..., Run]
BACKBONE = ("stem", "stage1", "stage2", "stage3", "stage4")
# What each set must freeze, as prefixes of the names of parameters and buffers.
EXPECTED = {
    **{name: tuple(f"backbone.{s}." for s in BACKBONE[: n + 1]) for n, name in enumerate(BACKBONE)},
    "backbone": ("backbone.",),
    "head.final_layer": ("head.final_layer.",),
    "head.mlp": ("head.mlp.",),
    "head.gau": ("head.gau.",),
    "head.cls": ("head.cls_x.", "head.cls_y."),
}
OWN_NAMES = {name: (f"{name}.",) for name in ("backbone.stage2.0", "backbone.stem.1.bn")}


def frozen_names(model: nn.Module, choice: str) -> set[str]:
    if choice != "norms":
        return {name for name in model.state_dict() if name.startswith((EXPECTED | OWN_NAMES)[choice])}
    norms = (name for name, module in model.named_modules() if isinstance(module, _BatchNorm))
    prefixes = tuple(f"{name}." for name in norms)
    return {name for name in model.state_dict() if name.startswith(prefixes)}


def test_every_set_that_may_be_chosen_is_tested() -> None:
    assert set(FREEZE_SETS) == {"none", "norms", *EXPECTED}


@pytest.mark.parametrize("choice", ["norms", *EXPECTED, *OWN_NAMES])
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


def after_an_epoch(run: Run) -> dict[str, Tensor]:
    """All tensors of the state after the run's first epoch."""

    def stop(metrics: Mapping[str, float], folder: Path) -> bool:
        return True

    train(run, stop)
    return load_file(read_epochs(run.folder)[0].folder / TENSORS)


@pytest.mark.parametrize(
    ("choice", "gpu"),
    [
        *((choice, False) for choice in ("norms", "stage2", "backbone", "head.gau", "head.cls")),
        *((choice, True) for choice in ("norms", "backbone.stem.1.bn")),  # where the base config's SyncBN is reverted
    ],
)
def test_frozen_tensors_are_bit_equal_after_an_epoch(make_run: MakeRun, start: Path, choice: str, gpu: bool) -> None:
    loaded = load_file(start)
    run = make_run({"freeze": choice}, weights=str(start), gpu=gpu)
    state = after_an_epoch(run)
    model, _, _ = build_model(build_config(run), run)
    names = frozen_names(model, choice)
    moved = [name for name in names if not torch.equal(state[f"model.{name}"], loaded[name])]
    averaged = [name for name in names if not torch.equal(state[f"ema.module.{name}"], loaded[name])]
    assert (moved, averaged) == ([], [])
    others = [name for name in loaded if name not in names and loaded[name].is_floating_point()]
    still = [name for name in others if torch.equal(state[f"model.{name}"], loaded[name])]
    assert still == []


def test_without_freezing_everything_moves(make_run: MakeRun, start: Path) -> None:
    loaded, state = load_file(start), after_an_epoch(make_run({"freeze": "none"}, weights=str(start)))
    assert [name for name in loaded if torch.equal(state[f"model.{name}"], loaded[name])] == []


def test_a_frozen_prefix_costs_no_autograd(make_run: MakeRun, start: Path) -> None:
    run = make_run({"freeze": "stage2"}, weights=str(start))
    model, _, _ = build_model(build_config(run), run)
    picture = torch.zeros(1, 3, 64, 64)
    inside = model.backbone.stage2(model.backbone.stage1(model.backbone.stem(picture)))
    assert not inside.requires_grad and model.backbone(picture)[-1].requires_grad


@pytest.mark.parametrize(
    ("name", "hint"),
    [("stage9", "stage"), ("backbone.layer0", "backbone"), ("backbone.stage44", "backbone.st"), ("head.gua", "head.")],
)
def test_an_unknown_name_is_told_with_the_nearest(make_run: MakeRun, start: Path, name: str, hint: str) -> None:
    run = make_run({"freeze": name}, weights=str(start))
    with pytest.raises(SpecError, match=rf"'{name}' names nothing in this model; did you mean '{hint}"):
        train(run, lambda metrics, folder: True)


def test_something_must_be_left_to_train() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    with pytest.raises(SpecError, match="'norms' leaves no parameter to train"):
        freeze(model, "norms")


@pytest.mark.parametrize("choice", ["stem", "norms", "head.gau"])
def test_random_weights_are_not_frozen(make_run: MakeRun, choice: str) -> None:
    run = make_run({"freeze": choice})
    with pytest.raises(SpecError, match=f"'{choice}' would freeze random weights"):
        train(run, lambda metrics, folder: True)
    assert read_epochs(run.folder) == ()


def test_none_freezes_nothing(make_run: MakeRun) -> None:
    run = make_run({"freeze": "none"})
    model, modules, _ = build_model(build_config(run), run)
    assert modules == frozen_modules(model, "none") == [] and all(p.requires_grad for p in model.parameters())

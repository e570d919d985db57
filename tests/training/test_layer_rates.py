"""Parts of the model at shares of the LR: on top of all other rules for parameters, and what custom_keys do instead."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

from raypose.errors import SpecError
from raypose.space.run import Run
from raypose.training.base import base_config
from raypose.training.config import build_config
from raypose.training.layer_rates import check_groups, notices, rate_factors, scale_rates
from raypose.training.model import build_model
from raypose.training.runner import build_runner, registered

MakeRun = Callable[..., Run]
Rates = dict[str, tuple[float, float]]
PEAK = 4e-3


@pytest.fixture(scope="module")
def model(make_run: MakeRun) -> nn.Module:
    run = make_run()
    return build_model(build_config(run), run)[0]


@contextmanager
def built(run: Run, folder: Path) -> Iterator[Runner]:
    """A Runner before it trains."""
    config = build_config(run)
    with registered(folder / "log", "rates") as config.experiment_name:
        yield build_runner(config, build_model(config, run)[0], run, str(folder))


def rates(runner: Runner, bare: nn.Module) -> Rates:
    """LR and weight decay of each parameter in the optimizer that the Runner builds."""
    names = {id(parameter): name for name, parameter in bare.named_parameters()}
    groups = runner.build_optim_wrapper(runner.cfg.optim_wrapper).optimizer.param_groups
    return {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


def rates_of(run: Run, folder: Path) -> Rates:
    with built(run, folder) as runner:
        return rates(runner, runner.model)


@pytest.fixture(scope="module")
def plain(make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Rates:
    """Without any knob for rates."""
    return rates_of(make_run(), tmp_path_factory.mktemp("plain"))


PARTS = {
    "backbone.stem.0.conv.weight": 5,
    "backbone.stage1.0.depthwise_conv.bn.bias": 4,
    "backbone.stage2.1.main_conv.bn.weight": 3,
    "backbone.stage3.0.depthwise_conv.conv.weight": 2,
    "backbone.stage4.0.depthwise_conv.conv.weight": 1,
    "head.final_layer.bias": 0,
    "head.gau.uv.weight": 0,
}


@pytest.mark.parametrize("decay", [1.0, 0.7, 0.5])
def test_layer_decay_is_by_depth(model: nn.Module, decay: float) -> None:
    factors = rate_factors(model, {"layer_decay": decay})
    names = dict(model.named_parameters())
    assert len(factors) == len(names)
    assert {name: factors[names[name]] for name in PARTS} == pytest.approx(
        {name: decay**height for name, height in PARTS.items()}
    )


@pytest.mark.parametrize("turned", [False, True])
def test_the_smallest_group_decides(model: nn.Module, turned: bool) -> None:
    mults = {"lr_mult.backbone": 0.5, "lr_mult.stage1": 0.25, "lr_mult.backbone.stage3": 0.0, "lr_mult.head.gau": 3.0}
    mults = dict(reversed(mults.items())) if turned else mults
    factors, names = rate_factors(model, {**mults, "layer_decay": 0.5}), dict(model.named_parameters())
    expected = dict(zip(PARTS, (0.25 / 32, 0.25 / 16, 0.5 / 8, 0.0, 0.5 / 2, 1.0, 3.0), strict=True))
    assert {name: factors[names[name]] for name in PARTS} == pytest.approx(expected)


def test_a_group_that_holds_nothing_is_told_with_the_nearest(model: nn.Module) -> None:
    knobs = ["lr_mult.backbone", "lr_mult.head.gua", "lr", "lr_mult.none", "lr_mult.backbone.stem.0.activate"]
    with pytest.raises(SpecError) as caught:
        check_groups(model, knobs)
    unknown, nothing, empty = caught.value.problems
    assert unknown == "space.lr_mult.head.gua: 'head.gua' names nothing in this model; did you mean 'head.gau'?"
    assert nothing == "space.lr_mult.none: 'none' holds no parameter"
    assert empty == "space.lr_mult.backbone.stem.0.activate: 'backbone.stem.0.activate' holds no parameter"
    with pytest.raises(SpecError, match="lr_mult.none"):
        rate_factors(model, {"lr_mult.none": 0.5})


RATED = {"lr_mult.stage2": 0.1, "lr_mult.head": 2.0, "layer_decay": 0.8}


def test_all_other_rules_stay(make_run: MakeRun, model: nn.Module, plain: Rates, tmp_path: Path) -> None:
    factors = rate_factors(model, RATED)
    expected = {name: factors[parameter] * PEAK for name, parameter in model.named_parameters()}
    found = rates_of(make_run(RATED), tmp_path)
    assert {name: lr for name, (lr, _) in found.items()} == pytest.approx(expected, rel=1e-12)
    assert {name: decay for name, (_, decay) in found.items()} == {name: decay for name, (_, decay) in plain.items()}
    assert {decay for _, decay in plain.values()} == {0, 0.05} and {lr for lr, _ in plain.values()} == {PEAK}


def test_a_frozen_group_may_have_a_rate(make_run: MakeRun, start: Path, tmp_path: Path) -> None:
    found = rates_of(
        make_run({"freeze": "stem", "lr_mult.stem": 0.1, "lr_mult.norms": 0.5}, weights=str(start)), tmp_path
    )
    assert not [name for name in found if ".stem." in name] and {lr for lr, _ in found.values()} == {PEAK, PEAK / 2}


def test_a_shared_parameter_keeps_its_one_place(make_run: MakeRun, tmp_path: Path) -> None:
    with built(make_run({"lr_mult.head.cls_y": 0.5}), tmp_path) as runner:
        head = runner.model.head
        head.cls_y.weight = head.cls_x.weight  # as `bypass_duplicate` of the recipe is for
        groups = runner.build_optim_wrapper(runner.cfg.optim_wrapper).optimizer.param_groups
    assert [group["lr"] for group in groups for p in group["params"] if p is head.cls_x.weight] == [PEAK / 2]
    assert sum(len(group["params"]) for group in groups) == len(list(runner.model.parameters()))


def test_a_wrapped_model_has_the_same_rates(make_run: MakeRun, tmp_path: Path) -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with built(make_run(RATED), tmp_path) as runner:
            bare = runner.model
            alone = rates(runner, bare)
            runner.model = MMDistributedDataParallel(bare, broadcast_buffers=False)
            assert rates(runner, bare) == alone and len({lr for lr, _ in alone.values()}) > 2
    finally:
        dist.destroy_process_group()


def test_a_group_of_several_parameters_is_split() -> None:
    first, second, third = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    optimizer = torch.optim.AdamW([{"params": [first, second, third], "lr": 1.0, "weight_decay": 0.5}], lr=9.0)
    scale_rates(optimizer, {first: 0.5, second: 2.0, third: 0.5})
    found = [(group["params"], group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    assert found == [([first, third], 0.5, 0.5), ([second], 2.0, 0.5)]


def test_parameters_with_the_same_settings_are_one_group(make_run: MakeRun, tmp_path: Path) -> None:
    with built(make_run(RATED), tmp_path) as runner:
        groups = runner.build_optim_wrapper(runner.cfg.optim_wrapper).optimizer.param_groups
    settings = [(group["lr"], group["weight_decay"]) for group in groups]
    assert len(settings) == len(set(settings)) and len(settings) < 20


def own_config(make_run: MakeRun, folder: Path, rules: dict[str, Any], **changes: Any) -> Run:
    """A run of a config that brings `paramwise_cfg` of its own."""
    config = base_config("rtmpose-n")
    config.optim_wrapper.paramwise_cfg = rules
    config.dump(folder / "own.py")
    return make_run(model=str(folder / "own.py"), **changes)


RULES = {"norm_decay_mult": 0, "bias_decay_mult": 0, "bypass_duplicate": True}


def test_a_configs_own_keys_stay_beside_the_knobs(make_run: MakeRun, tmp_path: Path) -> None:
    keys = {"stage1": {"lr_mult": 0.5, "decay_mult": 2.0}}
    run = own_config(make_run, tmp_path, {**RULES, "custom_keys": keys}, values={"lr_mult.backbone": 0.5})
    found = rates_of(run, tmp_path)
    assert found["backbone.stage1.0.depthwise_conv.conv.weight"] == pytest.approx((PEAK / 4, 0.1))
    assert found["backbone.stage2.0.depthwise_conv.conv.weight"] == pytest.approx((PEAK / 2, 0.05))
    assert found["backbone.stage2.0.depthwise_conv.bn.weight"] == pytest.approx((PEAK / 2, 0))


def told(run: Run, folder: Path) -> list[str]:
    config = build_config(run)
    with registered(folder / "log", "told"):
        return notices(build_model(config, run)[0], config)


def test_without_keys_nothing_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    assert told(make_run(), tmp_path) == []


def test_what_keys_do_and_do_not_do(make_run: MakeRun, tmp_path: Path, model: nn.Module) -> None:
    """The seed document's way to freeze, and an LR of their own for some."""
    keys = {
        "backbone.layer0": {"lr_mult": 0, "decay_mult": 0},
        "backbone.stage1": {"lr_mult": 0},
        "head.gau": {"lr_mult": 0},
        "backbone.stage2": {"lr_mult": 0.1},
        "e2": {"lr_mult": 0.1},
    }
    *by_key, decayed = told(own_config(make_run, tmp_path, {**RULES, "custom_keys": keys}), tmp_path)
    sentence = {text.split("'")[1]: text for text in by_key}
    assert sentence.keys() == keys.keys() - {"backbone.stage2"}
    assert sentence["backbone.layer0"] == (
        "custom_keys: 'backbone.layer0' matches no parameter; backbone has stem, stage1, stage2, stage3, stage4"
    )
    stage1 = list(model.backbone.stage1.parameters())
    held = f"holds {len(stage1)} tensors ({sum(p.numel() for p in stage1):,} parameters) at LR 0"
    assert held in sentence["backbone.stage1"] and "statistics there still move" in sentence["backbone.stage1"]
    assert sentence["backbone.stage1"].endswith("set the knob freeze: stage1")
    assert sentence["head.gau"].endswith("set the knob freeze: head.gau")
    assert sentence["e2"].startswith("custom_keys: 'e2' decides nothing: longer keys")
    spared = spared_in(model.backbone.stage2)
    assert decayed.startswith(f"custom_keys: {spared} norm and bias tensors now have weight decay")


def spared_in(module: nn.Module) -> int:
    """Norm and bias tensors, which RTMPose's rules spare weight decay."""
    norms = {id(p) for m in module.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    return len(norms | {id(p) for name, p in module.named_parameters() if name.endswith("bias")})


def test_rules_that_were_replaced_are_told(make_run: MakeRun, tmp_path: Path, model: nn.Module) -> None:
    (found,) = told(own_config(make_run, tmp_path, {"custom_keys": {"stem.0": {"decay_mult": 0.0}}}), tmp_path)
    expected = spared_in(model) - spared_in(model.backbone.stem[0])
    assert found.startswith(f"paramwise_cfg: {expected} norm and bias tensors have weight decay")

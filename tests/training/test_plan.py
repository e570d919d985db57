"""What trials would do, without training them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from raypose.errors import SpecError, WeightsError
from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.plan import examine, plan_freeze, plan_trials

MakeRun = Callable[..., Run]
DECAY, MOMENTUM = "optim_wrapper.optimizer.weight_decay", "custom_hooks.EMAHook.momentum"


def test_the_base_configs_own_values(make_run: MakeRun, start: Path) -> None:
    run = make_run(weights=str(start))
    knobs = ["lr", "freeze", "input_size", "lr_mult.head.gau", "layer_decay", "unfreeze.at", DECAY]
    found = examine(run, knobs, ["none", "stem"], ["PCK", "latency_ms"])
    assert found["values"] == {
        "lr": 4e-3,
        "freeze": "none",
        "input_size": "128x128",
        "lr_mult.head.gau": 1.0,
        "layer_decay": 1.0,
        "unfreeze.at": 1.0,
        DECAY: 0.05,
    }
    assert found["full_epochs"] == 210 and found["config"][DECAY] == "0.05"
    again = examine(make_run(weights=str(start)), [], [], ["PCK"])
    assert again["weights"] == found["weights"] != examine(make_run(), [], [], ["PCK"])["weights"]


def test_a_model_from_a_config_file(make_run: MakeRun) -> None:
    from raypose.training.base import OFFICIAL

    file = OFFICIAL / "coco" / "rtmpose-t_8xb256-420e_coco-256x192.py"
    found = examine(make_run(model=str(file)), ["lr", "input_size"], ["none"], ["PCK"])
    assert found["values"] == {"lr": 4e-3, "input_size": "192x256"} and found["full_epochs"] == 420


def test_all_unknown_knobs_at_once(make_run: MakeRun) -> None:
    with pytest.raises(SpecError) as caught:
        examine(
            make_run(), ["lr", "optimizer.lr", "custom_hooks.EMAHook.momentun", "model.head.input_size"], [], ["PCK"]
        )
    first, second, third = caught.value.problems
    assert first == "space.optimizer.lr: the base config has no such key; did you mean 'lr'?"
    assert f"did you mean '{MOMENTUM}'?" in second
    assert third == "space.model.head.input_size: raypose writes this key itself; set input_size instead"


def test_values_that_are_held_are_judged_at_their_place(make_run: MakeRun) -> None:
    with pytest.raises(SpecError) as unknown:
        examine(make_run({"optimizer.lr": 1, DECAY: 0.1, "a.b": 2}), ["lr"], [], ["PCK"])
    first, second = unknown.value.problems
    assert first == "fixed.optimizer.lr: the base config has no such key; did you mean 'lr'?"
    assert second.startswith("fixed.a.b: the base config has no such key")
    with pytest.raises(SpecError, match="fixed.lr_mult.backbone.stage9: 'backbone.stage9' names nothing"):
        examine(make_run({"lr_mult.backbone.stage9": 0.1}), ["lr"], [], ["PCK"])


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("optim_wrapper.optimizer.lr", "lr"),
        ("train_dataloader.num_workers", "train.loader_workers"),
        ("train_cfg.max_epochs", "train.epochs"),
        ("param_scheduler.CosineAnnealingLR.convert_to_iter_based", "train.epochs"),
        ("val_dataloader.dataset.headbox_file", "data"),
    ],
)
def test_keys_that_raypose_writes_itself_cannot_vary(make_run: MakeRun, key: str, instead: str) -> None:
    with pytest.raises(SpecError, match=f"raypose writes this key itself; set {instead} instead"):
        examine(make_run(), [key], [], ["PCK"])
    with pytest.raises(SpecError, match="raypose writes this key itself"):
        build_config(make_run({key: 1}))


def test_a_metric_that_is_not_reported_is_named_with_the_nearest(make_run: MakeRun) -> None:
    for metrics in (["PKC"], ["PCK", "PKC"]):
        with pytest.raises(SpecError, match="metric: nothing reports 'PKC'; did you mean 'PCK'?"):
            examine(make_run(), [], [], metrics)
    with pytest.raises(SpecError, match="metric: nothing reports 'gflops'"):  # epochs are not chosen by their cost
        examine(make_run(), [], [], ["gflops", "PCK"])


def test_all_wrong_freeze_sets_at_once(make_run: MakeRun, start: Path) -> None:
    with pytest.raises(SpecError) as caught:
        examine(make_run(weights=str(start)), [], ["none", "backbone.layer0", "stem+head.class"], ["PCK"])
    assert [problem.split("'")[1] for problem in caught.value.problems] == ["backbone.layer0", "head.class"]


def test_a_freeze_set_that_leaves_nothing_to_train(make_run: MakeRun, start: Path) -> None:
    with pytest.raises(SpecError) as caught:
        examine(make_run(weights=str(start)), [], ["none", "backbone+head", "backbone"], ["PCK"])
    assert caught.value.problems == ["freeze: 'backbone+head' leaves no parameter to train"]


def test_freezing_random_weights_is_a_problem_of_each_set(make_run: MakeRun, start: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        examine(make_run(), [], ["none", "stem", "norms"], ["PCK"])
    assert [problem.split("'")[1] for problem in caught.value.problems] == ["stem", "norms"]
    assert all("would freeze random weights" in problem for problem in caught.value.problems)
    backbone = {name: tensor for name, tensor in load_file(start).items() if name.startswith("backbone.")}
    save_file(backbone, tmp_path / "backbone.safetensors")
    with pytest.raises(SpecError) as caught:
        examine(make_run(weights=str(tmp_path / "backbone.safetensors")), [], ["backbone", "head.gau"], ["PCK"])
    assert [problem.split("'")[1] for problem in caught.value.problems] == ["head.gau"]


def test_layer_rates_of_groups_that_hold_nothing(make_run: MakeRun) -> None:
    with pytest.raises(SpecError, match="space.lr_mult.backbone.stage9: 'backbone.stage9' names nothing"):
        examine(make_run(), ["lr", "lr_mult.backbone.stage9"], [], ["PCK"])


def test_weights_that_do_not_fit(make_run: MakeRun, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="none of its 1 tensors fits"):
        examine(make_run(weights=str(tmp_path / "other.safetensors")), ["lr"], [], ["PCK"])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("rtmpose-q", "no such file; give a preset"),
        ("broken.py", "not an RTMPose config"),
        ("hrnet.py", "its head is HeatmapHead"),
    ],
)
def test_a_model_that_is_none(make_run: MakeRun, tmp_path: Path, model: str, words: str) -> None:
    (tmp_path / "broken.py").write_text("model = dict(\n")
    (tmp_path / "hrnet.py").write_text("model = dict(head=dict(type='HeatmapHead'))\noptim_wrapper = dict()\n")
    with pytest.raises(SpecError, match=words):
        examine(make_run(model=str(tmp_path / model)), ["lr"], [], ["PCK"])


def test_what_each_trial_would_do(make_run: MakeRun, start: Path) -> None:
    base = make_run(weights=str(start), epochs=8)
    same, lr, frozen, larger = (
        dataclasses.replace(base, values={**base.values, **values})
        for values in ({}, {"lr": 1e-3, DECAY: 0.1}, {"freeze": "stage1"}, {"input_size": "96x64"})
    )
    plans = plan_trials(base, [same, lr, frozen, larger])
    assert json.loads(json.dumps(plans)) is not None  # it goes through a pipe
    total = plans[0]["parameters"]
    assert plans[0]["differences"] == {} and plans[0]["frozen_parameters"] == plans[0]["frozen_buffers"] == 0
    assert total > 5e5 and plans[0]["notices"] == []
    assert not any(plans[0]["weights"][what] for what in ("resampled", "skipped", "missing"))

    assert plans[1]["differences"] == {
        "optim_wrapper.optimizer.lr": ["0.004", "0.001"],
        DECAY: ["0.05", "0.1"],
    }
    assert plans[2]["differences"] == {}
    assert plans[2]["parameters"] == total > plans[2]["frozen_parameters"] > 0 < plans[2]["frozen_buffers"]

    changed = plans[3]["differences"]
    assert changed["model.head.input_size"] == ["(64, 64)", "(96, 64)"]
    assert changed["model.head.in_featuremap_size"] == ["(2, 2)", "(3, 2)"]
    assert len(plans[3]["weights"]["resampled"]) == 2 and plans[3]["parameters"] > total


def test_a_peak_is_told_at_its_effective_batch(make_run: MakeRun) -> None:
    run = make_run({"lr": 1e-3}, workers=2, accumulation=4, lr_rule="linear", reference_batch=32)
    (planned,) = plan_trials(run, [run])
    assert (planned["effective_batch"], planned["peak_lr"]) == (64, pytest.approx(2e-3))


def test_each_freeze_set_with_what_it_saves(make_run: MakeRun, start: Path) -> None:
    plans = {p["choice"]: p for p in plan_freeze(make_run(weights=str(start)), ["none", "stem", "backbone", "norms"])}
    assert plans["none"]["flops_saved"] == 0 == plans["none"]["frozen_parameters"]
    assert 0 < plans["stem"]["flops_saved"] < plans["backbone"]["flops_saved"] < 2 / 3  # the forward pass stays
    assert 0 < plans["stem"]["frozen_parameters"] < plans["backbone"]["frozen_parameters"] < plans["none"]["parameters"]
    assert plans["norms"]["frozen_buffers"] == plans["norms"]["buffers"]  # all buffers are statistics


def test_a_trial_that_cannot_be(make_run: MakeRun) -> None:
    base = make_run()
    with pytest.raises(SpecError, match="no such key"):
        plan_trials(base, [dataclasses.replace(base, values={"optimizer.lr": 1})])
    with pytest.raises(SpecError, match="freeze random weights"):
        plan_trials(base, [dataclasses.replace(base, values={"freeze": "stem"})])

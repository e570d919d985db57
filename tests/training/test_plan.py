"""What trials would do, without training them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from raypose.errors import SpecError, WeightsError
from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.plan import examine, plan_trials

MakeRun = Callable[..., Run]
DECAY, MOMENTUM = "optim_wrapper.optimizer.weight_decay", "custom_hooks.EMAHook.momentum"


def test_the_base_configs_own_values(make_run: MakeRun, start: Path) -> None:
    run = make_run(weights=str(start))
    own = examine(run, ["lr", "freeze", "input_size", DECAY, MOMENTUM, "model.test_cfg.flip_test"], ["none", "stem"])
    assert own == {
        "lr": 4e-3,
        "freeze": "none",
        "input_size": "128x128",
        DECAY: 0.05,
        MOMENTUM: 2e-4,
        "model.test_cfg.flip_test": True,
    }


def test_a_model_from_a_config_file(make_run: MakeRun) -> None:
    from raypose.training.base import OFFICIAL

    file = OFFICIAL / "coco" / "rtmpose-t_8xb256-420e_coco-256x192.py"
    assert examine(make_run(model=str(file)), ["lr", "input_size"], ["none"]) == {"lr": 4e-3, "input_size": "192x256"}


def test_all_unknown_knobs_at_once(make_run: MakeRun) -> None:
    with pytest.raises(SpecError) as caught:
        examine(make_run(), ["lr", "optimizer.lr", "custom_hooks.EMAHook.momentun", "model.head.input_size"], [])
    first, second, third = caught.value.problems
    assert first == "space.optimizer.lr: the base config has no such key; did you mean 'lr'?"
    assert f"did you mean '{MOMENTUM}'?" in second
    assert third == "space.model.head.input_size: raypose writes this key itself; set input_size instead"


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("optim_wrapper.optimizer.lr", "lr"),
        ("train_dataloader.num_workers", "train.loader_workers"),
        ("train_cfg.max_epochs", "train.epochs"),
        ("param_scheduler.CosineAnnealingLR.T_max", "train.epochs"),
        ("val_dataloader.dataset.headbox_file", "data"),
    ],
)
def test_keys_that_raypose_writes_itself_cannot_vary(make_run: MakeRun, key: str, instead: str) -> None:
    with pytest.raises(SpecError, match=f"raypose writes this key itself; set {instead} instead"):
        examine(make_run(), [key], [])
    with pytest.raises(SpecError, match="raypose writes this key itself"):
        build_config(make_run({key: 1}))


def test_a_metric_that_is_not_reported_is_named_with_the_nearest(make_run: MakeRun) -> None:
    with pytest.raises(SpecError, match="metric: the evaluator reports no 'PKC'; did you mean 'PCK'?"):
        examine(make_run(metric="PKC"), [], [])


def test_all_wrong_freeze_sets_at_once(make_run: MakeRun, start: Path) -> None:
    with pytest.raises(SpecError) as caught:
        examine(make_run(weights=str(start)), [], ["none", "backbone.layer0", "stem", "head.class"])
    assert [problem.split("'")[1] for problem in caught.value.problems] == ["backbone.layer0", "head.class"]


def test_freezing_random_weights_is_a_problem_of_each_set(make_run: MakeRun) -> None:
    with pytest.raises(SpecError) as caught:
        examine(make_run(), [], ["none", "stem", "norms"])
    assert [problem.split("'")[1] for problem in caught.value.problems] == ["stem", "norms"]
    assert all("would freeze random weights" in problem for problem in caught.value.problems)


def test_weights_that_do_not_fit(make_run: MakeRun, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="none of its 1 tensors fits"):
        examine(make_run(weights=str(tmp_path / "other.safetensors")), ["lr"], [])


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
        examine(make_run(model=str(tmp_path / model)), ["lr"], [])


def test_what_each_trial_would_do(make_run: MakeRun, start: Path) -> None:
    base = make_run(weights=str(start), epochs=8)
    same, lr, frozen, larger = (
        dataclasses.replace(base, values={**base.values, **values})
        for values in ({}, {"lr": 1e-3, DECAY: 0.1}, {"freeze": "stage1"}, {"input_size": "96x64"})
    )
    plans = plan_trials(base, [same, lr, frozen, larger])
    assert json.loads(json.dumps(plans)) is not None  # it goes through a pipe
    total = plans[0]["parameters"]
    assert plans[0]["differences"] == {} and plans[0]["trainable"] == total > 5e5 and plans[0]["frozen_modules"] == 0
    assert plans[0]["weights"]["other_size"] == plans[0]["weights"]["unknown"] == ()

    assert plans[1]["differences"] == {
        "optim_wrapper.optimizer.lr": ["0.004", "0.001"],
        DECAY: ["0.05", "0.1"],
    }
    assert plans[2]["differences"] == {} and plans[2]["frozen_modules"] == 2
    assert plans[2]["parameters"] == total > plans[2]["trainable"] > 0

    changed = plans[3]["differences"]
    assert changed["model.head.input_size"] == ["(64, 64)", "(96, 64)"]
    assert changed["model.head.in_featuremap_size"] == ["(2, 2)", "(3, 2)"]
    assert plans[3]["weights"]["other_size"] and plans[3]["parameters"] > total


def test_a_trial_that_cannot_be(make_run: MakeRun) -> None:
    base = make_run()
    with pytest.raises(SpecError, match="no such key"):
        plan_trials(base, [dataclasses.replace(base, values={"optimizer.lr": 1})])
    with pytest.raises(SpecError, match="freeze random weights"):
        plan_trials(base, [dataclasses.replace(base, values={"freeze": "stem"})])

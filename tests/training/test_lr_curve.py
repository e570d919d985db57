"""The learning rates that are drawn are those of the training, and none ever climbs to another."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

from raypose.space.run import Run
from raypose.training.base import base_config
from raypose.training.config import build_config
from raypose.training.lr_curve import POINTS, lr_curves
from raypose.training.model import build_model
from raypose.training.runner import build_runner, registered

MakeRun = Callable[..., Run]
BACKBONE = ["stem", "stage1", "stage2", "stage3", "stage4"]
HEAD = ["head.final_layer", "head.mlp", "head.gau", "head.cls_x", "head.cls_y"]


class Rates(Hook):
    """The LR of all groups at each step of a training."""

    def __init__(self) -> None:
        self.seen: list[set[float]] = []

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.seen.append({group["lr"] for group in runner.optim_wrapper.optimizer.param_groups})


def test_it_is_the_learning_rate_of_the_training(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run({"lr": 1e-3, "layer_decay": 0.5, "lr_mult.head.gau": 3.0}, epochs=4)
    config, rates = build_config(run), Rates()
    for key in ("val_cfg", "val_dataloader", "val_evaluator"):
        config.pop(key)
    with registered(tmp_path / "log", "rates") as config.experiment_name:
        runner = build_runner(config, build_model(config, run)[0], run, str(tmp_path))
        runner.register_hook(rates)
        runner.train()
    drawn = lr_curves(run)
    assert drawn["steps"] == list(range(12)) and drawn["steps_per_epoch"] == 3
    assert [curve["parts"] for curve in drawn["curves"]] == [
        *(["head.gau"], [part for part in HEAD if part != "head.gau"]),
        *([part] for part in reversed(BACKBONE)),
    ]
    for step, seen in enumerate(rates.seen):
        assert {curve["lr"][step] for curve in drawn["curves"]} == seen
    assert len(rates.seen) == 12 and json.loads(json.dumps(drawn))["curves"] == drawn["curves"]


def own_config(folder: Path) -> str:
    """A config with groups that have an LR of their own, or none, by MMEngine's custom_keys."""
    config = base_config("rtmpose-n")
    config.optim_wrapper.paramwise_cfg.custom_keys = {"stage1": {"lr_mult": 0.0}, "stage2": {"lr_mult": 0.01}}
    config.dump(folder / "own.py")
    return str(folder / "own.py")


@pytest.mark.parametrize("schedule", ["compressed", "full"])
def test_no_rate_ever_climbs_to_another(make_run: MakeRun, tmp_path: Path, schedule: str) -> None:
    values = {"lr": 1e-5, "layer_decay": 0.5, "lr_mult.head.mlp": 0.01}
    drawn = lr_curves(make_run(values, model=own_config(tmp_path), epochs=210, schedule=schedule))
    top, *others = [curve["lr"] for curve in drawn["curves"]]
    assert max(top) == pytest.approx(1e-5)
    for rates in (top, *others):
        after = rates[rates.index(max(rates)) :]
        assert all(now <= before * (1 + 1e-9) for before, now in zip(after, after[1:], strict=False))
        assert [lr / high for lr, high in zip(rates, top, strict=True)] == pytest.approx([rates[0] / top[0]] * len(top))
    (still,) = (curve for curve in drawn["curves"] if curve["parts"] == ["stage1"])
    assert set(still["lr"]) == {0.0} and len(others) == 6


def test_the_frozen_begin_where_they_are_unfrozen_and_else_have_no_curve(make_run: MakeRun) -> None:
    values = {"freeze": "stage4", "lr_mult.stem": 0.5}
    drawn = lr_curves(make_run({**values, "unfreeze.at": 0.5}, epochs=8))
    head, backbone, stem = drawn["curves"]
    assert (head["parts"], backbone["parts"], stem["parts"]) == (HEAD, BACKBONE[1:], BACKBONE[:1])
    assert backbone["lr"] == [None] * 12 + head["lr"][12:] and None not in head["lr"]
    assert stem["lr"][12:] == pytest.approx([lr / 2 for lr in head["lr"][12:]]) and stem["lr"][:12] == [None] * 12
    (alone,) = lr_curves(make_run(values, epochs=8))["curves"]
    assert alone == head


def test_parts_are_counted_with_their_weight_decay(make_run: MakeRun) -> None:
    run = make_run({"lr_mult.norms": 0.5, "lr_mult.head.mlp.1": 0.1})
    model, _, _ = build_model(build_config(run), run)
    every, norms, mlp = lr_curves(run)["curves"]
    assert every["decays"] == [0.05, 0.0] and norms["decays"] == [0.0] and mlp["decays"] == [0.05]
    assert norms["parts"] == BACKBONE and mlp["parts"] == ["head.mlp"]
    assert mlp["parameters"] == model.head.mlp[1].weight.numel()
    total = sum(curve["parameters"] for curve in (every, norms, mlp))
    assert total == sum(p.numel() for p in model.parameters())


def test_what_changes_is_marked(make_run: MakeRun) -> None:
    run = make_run({"freeze": "stem", "unfreeze.at": 6 / 7}, epochs=21)
    assert lr_curves(run)["marks"] == {7: "warm-up ended", 54: "second pipeline, stem begins to learn"}
    whole = lr_curves(make_run(epochs=21, schedule="full"))
    assert whole["marks"] == {} and whole["steps"] == list(range(63))  # warm-up has 68 of 630
    once = lr_curves(make_run({"freeze": "stem", "unfreeze.at": 0.5}))  # with one epoch there is no half
    assert once["marks"] == {2: "warm-up ended"} and once["curves"][1]["lr"] == [None] * 3


def test_several_workers_take_fewer_steps(make_run: MakeRun) -> None:
    alone = lr_curves(make_run(batch_size=8, epochs=4))
    assert lr_curves(make_run(batch_size=4, workers=2, epochs=4)) == alone


def test_a_config_may_count_in_epochs(make_run: MakeRun, tmp_path: Path) -> None:
    config = base_config("rtmpose-n")
    config.param_scheduler = [{"type": "ConstantLR", "factor": 0.5, "begin": 0, "end": 2, "by_epoch": True}]
    config.dump(tmp_path / "own.py")
    (curve,) = lr_curves(make_run(model=str(tmp_path / "own.py"), epochs=3, schedule="full"))["curves"]
    assert curve["lr"] == [2e-3] * 3 + [4e-3] * 6


def test_mixed_precision_has_the_same_curve_where_there_is_no_gpu(make_run: MakeRun) -> None:
    assert lr_curves(make_run(amp=True)) == lr_curves(make_run())


def test_a_long_curve_is_thinned(make_run: MakeRun) -> None:
    drawn = lr_curves(make_run(epochs=1500))
    steps, (curve,) = drawn["steps"], drawn["curves"]
    assert 1000 < len(steps) <= POINTS + 5 and steps == sorted(set(steps)) and (steps[0], steps[-1]) == (0, 4499)
    assert set(drawn["marks"]) <= set(steps) and len(curve["lr"]) == len(steps)
    assert max(curve["lr"]) == curve["lr"][steps.index(next(iter(drawn["marks"])) - 1)] == pytest.approx(4e-3)

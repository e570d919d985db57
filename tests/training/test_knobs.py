"""What the knobs do to a config: one peak LR, dotted keys as they are given, and no stale size anywhere."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS

from raypose.errors import SpecError
from raypose.space.run import Run
from raypose.training.base import MPII_CONFIG, OFFICIAL, SIZE_CONFIGS, base_config
from raypose.training.config import build_config
from raypose.training.input_size import set_input_size
from raypose.training.keys import dotted
from raypose.training.knobs import base_value
from raypose.training.model import build_model

MakeRun = Callable[..., Run]
Walk = Callable[[Any], Iterator[tuple[str, Any]]]
PIPELINE = "train_dataloader.dataset.pipeline"


SIZES = {
    "96x96": ((96, 96), (3.46, 3.46), (3, 3)),
    "192x256": ((192, 256), (4.9, 5.66), (6, 8)),
    "384x288": ((384, 288), (6.93, 6.0), (12, 9)),
}
OWN = {"rtmpose-n": ((128, 128), (4.0, 4.0), (4, 4)), "rtmpose-m": ((256, 256), (5.66, 5.66), (8, 8))}


@pytest.mark.parametrize("model", OWN)
@pytest.mark.parametrize("size", SIZES)
def test_input_size_reaches_every_place(make_run: MakeRun, walk: Walk, model: str, size: str) -> None:
    run = make_run({"input_size": size}, model=model)
    config = build_config(run)
    pairs = {path: v for path, v in walk(config._cfg_dict) if isinstance(v, tuple) and len(v) == 2}
    ends = [path.rsplit(".", 1)[-1] for path in pairs]
    # codec in the head and in two pipelines; the head; the crop of three pipelines
    assert (ends.count("input_size"), ends.count("sigma"), ends.count("in_featuremap_size")) == (7, 3, 1)
    for path, pair in pairs.items():
        kind = path.rsplit(".", 1)[-1]
        if kind in ("input_size", "sigma", "in_featuremap_size"):
            assert pair == SIZES[size][("input_size", "sigma", "in_featuremap_size").index(kind)], path
        assert pair not in OWN[model], path
    built, _, _ = build_model(config, run)
    width, height = SIZES[size][0]
    assert (built.head.cls_x.out_features, built.head.cls_y.out_features) == (2 * width, 2 * height)
    sample = DATASETS.build(config.train_dataloader.dataset)[0]
    assert sample["inputs"].shape == (3, height, width)
    assert sample["data_samples"].gt_instance_labels.keypoint_x_labels.shape[-1] == 2 * width


@pytest.mark.parametrize("path", [MPII_CONFIG, *SIZE_CONFIGS.values()], ids=lambda path: Path(path).stem)
def test_a_configs_own_input_size_changes_nothing(walk: Walk, path: str | Path) -> None:
    config = Config.fromfile(OFFICIAL / path)
    before = list(walk(config._cfg_dict))
    set_input_size(config, "x".join(str(side) for side in config.codec.input_size))
    assert list(walk(config._cfg_dict)) == before


def test_one_step_and_one_prediction_at_a_size_that_is_not_square(make_run: MakeRun) -> None:
    run = make_run({"input_size": "192x256"})
    config = build_config(run)
    model, _, _ = build_model(config, run)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    losses = model.loss(**model.data_preprocessor(pseudo_collate([dataset[0], dataset[1]]), training=True))
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    val = DATASETS.build(config.val_dataloader.dataset)
    with torch.no_grad():
        found = model.eval().val_step(pseudo_collate([val[0], val[1]]))
    assert [sample.pred_instances.keypoints.shape for sample in found] == [(1, 16, 2)] * 2


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("optim_wrapper.optimizer.weight_decy", "optim_wrapper.optimizer.weight_decay"),
        ("optimizer.weight_decay", "optim_wrapper.optimizer.weight_decay"),
        ("custom_hooks.EMAHook.momentun", "custom_hooks.EMAHook.momentum"),
        (f"{PIPELINE}.RandomBboxTransform.rotate_factor", f"{PIPELINE}.RandomBBoxTransform.rotate_factor"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest(make_run: MakeRun, key: str, nearest: str) -> None:
    with pytest.raises(SpecError, match=f"did you mean '{nearest}'") as caught:
        build_config(make_run({key: 0.1}))
    assert key in str(caught.value)
    with pytest.raises(SpecError, match=nearest):
        base_value(make_run(), key)


@pytest.mark.parametrize("name", ["codec", "codec.sigma", "base_lr", "max_epochs", "train_pipeline", "data_root"])
def test_leftover_variables_of_config_files_cannot_be_tuned(make_run: MakeRun, name: str) -> None:
    assert not [key for key in dotted(base_config("rtmpose-m")) if key == name or key.startswith(f"{name}.")]
    with pytest.raises(SpecError, match="no such key"):
        build_config(make_run({name: 1}, model="rtmpose-m"))


def test_a_lists_dict_is_addressed_by_its_type(make_run: MakeRun) -> None:
    values = {
        "custom_hooks.EMAHook.momentum": 0.01,
        f"{PIPELINE}.RandomBBoxTransform.rotate_factor": 7,
        f"{PIPELINE}.Albumentation.transforms.CoarseDropout.p": 0.25,
        "optim_wrapper.optimizer.weight_decay": 0.5,
        "model.test_cfg.flip_test": False,
    }
    config = build_config(make_run(values))
    transforms = {t["type"]: t for t in config.train_dataloader.dataset.pipeline}
    assert config.custom_hooks[0].momentum == 0.01
    assert transforms["RandomBBoxTransform"].rotate_factor == 7
    assert [t.p for t in transforms["Albumentation"].transforms] == [0.1, 0.1, 0.25]
    assert config.optim_wrapper.optimizer.weight_decay == 0.5 and config.model.test_cfg.flip_test is False


EFFECTIVE = {"batch_size": 8, "workers": 2, "accumulation": 3}  # 48 people a step


@pytest.mark.parametrize(
    ("changes", "peak"),
    [
        ({}, 1e-3),
        ({"lr_rule": "none", "reference_batch": 12}, 1e-3),
        ({"lr_rule": "linear", "reference_batch": 12}, 4e-3),
        ({"lr_rule": "linear", "reference_batch": 96}, 5e-4),
        ({"lr_rule": "sqrt", "reference_batch": 12}, 2e-3),
        ({"lr_rule": "linear", "reference_batch": 48}, 1e-3),
    ],
)
def test_the_rule_makes_the_peak_of_lr(make_run: MakeRun, changes: dict[str, Any], peak: float) -> None:
    config = build_config(make_run({"lr": 1e-3}, **EFFECTIVE, **changes))
    assert config.optim_wrapper.optimizer.lr == pytest.approx(peak, rel=1e-12)
    assert config.optim_wrapper.accumulative_counts == 3


def test_the_rule_sees_a_batch_that_varies_and_the_configs_own_lr(make_run: MakeRun) -> None:
    values = {"train_dataloader.batch_size": 16}
    config = build_config(make_run(values, **EFFECTIVE, lr_rule="linear", reference_batch=48, train_people=960))
    assert config.optim_wrapper.optimizer.lr == pytest.approx(2 * 4e-3, rel=1e-12)
    assert config.param_scheduler[0].end == round(30 * 1000 / 9240)  # 30 steps of 2 x 16 people
    assert base_value(make_run(lr_rule="linear", reference_batch=1024), "lr") == 4e-3


def test_a_rule_without_its_reference(make_run: MakeRun) -> None:
    with pytest.raises(SpecError, match="lr_rule: linear scales lr from a reference batch"):
        build_config(make_run(lr_rule="linear"))


@pytest.mark.parametrize(
    "model", ["rtmpose-n", "rtmpose-m", str(MPII_CONFIG), str(OFFICIAL / SIZE_CONFIGS["rtmpose-t"])]
)
def test_nothing_else_scales_the_lr(make_run: MakeRun, model: str) -> None:
    config = build_config(make_run(model=model, accumulation=2))
    assert not [key for key in dotted(config) if "auto_scale_lr" in key]
    with pytest.raises(SpecError, match="raypose writes this key itself; set train.accumulation instead"):
        build_config(make_run({"optim_wrapper.accumulative_counts": 2}, model=model))


EMA, FLOOR = "custom_hooks.EMAHook.momentum", "param_scheduler.CosineAnnealingLR.eta_min_ratio"
WARMUP, SWITCH = "param_scheduler.LinearLR.end", "custom_hooks.PipelineSwitchHook.switch_epoch"


def test_a_dotted_key_is_taken_as_it_is(make_run: MakeRun) -> None:
    values = {"lr": 1e-4, EMA: 2e-4, FLOOR: 0.5, WARMUP: 7, SWITCH: 1}
    leaves = dotted(build_config(make_run(values, epochs=8, train_people=160)))
    assert {key: leaves[key] for key in values if key != "lr"} == {EMA: 2e-4, FLOOR: 0.5, WARMUP: 7, SWITCH: 1}


@pytest.mark.parametrize(
    "changes", [{"schedule": "full"}, {"accumulation": 2, "lr_rule": "sqrt", "reference_batch": 64}]
)
def test_base_values_change_nothing(make_run: MakeRun, changes: dict[str, Any]) -> None:
    run = make_run(epochs=8, train_people=160, **changes)
    special = ["lr", "freeze", "layer_decay", "lr_mult.backbone", "lr_mult.stage2", "unfreeze.at"]
    keys = [
        EMA,
        "custom_hooks.EMAHook.gamma",
        FLOOR,
        WARMUP,
        SWITCH,
        "train_dataloader.batch_size",
        "model.test_cfg.flip_test",
    ]
    own = {knob: base_value(run, knob) for knob in (*special, *keys)}
    assert {knob: own[knob] for knob in special} == {**dict.fromkeys(special, 1.0), "lr": 4e-3, "freeze": "none"}
    given = replace(run, values={**run.values, **own})
    assert build_config(given)._cfg_dict == build_config(run)._cfg_dict
    assert base_value(run, "input_size") == "128x128"

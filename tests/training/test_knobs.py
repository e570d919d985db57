"""What the knobs do to a config: schedules that MMEngine really runs, and no stale size anywhere."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS, PARAM_SCHEDULERS, init_default_scope

from raypose.errors import SpecError
from raypose.space.run import Run
from raypose.training.base import MPII_CONFIG, OFFICIAL, SIZE_CONFIGS, base_config
from raypose.training.config import build_config
from raypose.training.input_size import set_input_size
from raypose.training.keys import dotted
from raypose.training.knobs import apply_knobs, base_value
from raypose.training.train import build_model

MakeRun = Callable[..., Run]
MPII_PEOPLE = 22246
PIPELINE = "train_dataloader.dataset.pipeline"


def schedule(config: Config, steps: int) -> list[float]:
    """The learning rate of every step, from the schedulers as MMEngine builds and runs them."""
    init_default_scope("mmpose")
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=config.optim_wrapper.optimizer.lr)
    given = {"optimizer": OptimWrapper(optimizer), "epoch_length": steps}
    schedulers = [PARAM_SCHEDULERS.build(dict(s), default_args=dict(given)) for s in config.param_scheduler]
    rates = []
    for _ in range(config.train_cfg.max_epochs * steps):
        rates.append(optimizer.param_groups[0]["lr"])
        for scheduler in schedulers:
            scheduler.step()
    return rates


def cosine_end(peak: float, floor: float, steps: int) -> float:
    """The last of `steps` values of a cosine from peak to floor, which it would reach one step later."""
    return floor + (peak - floor) * (1 + math.cos(math.pi * (steps - 1) / steps)) / 2


@pytest.mark.parametrize("lr", [1e-4, 4e-3])
@pytest.mark.parametrize(("epochs", "people"), [(1, 24), (1, 800), (2, 24), (2, 800), (3, 800), (8, 800), (210, 800)])
def test_lr_is_the_peak_and_its_floor_a_share_of_it(make_run: MakeRun, lr: float, epochs: int, people: int) -> None:
    config = build_config(make_run({"lr": lr}, epochs=epochs, train_people=people))
    steps = people // 8
    total, rates = epochs * steps, schedule(config, steps)
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(lr, rel=1e-9)
    assert top <= max(1, 0.11 * total) and rates[: top + 1] == sorted(rates[: top + 1])
    assert all(now <= before * (1 + 1e-9) for before, now in zip(rates[top:], rates[top + 1 :], strict=False))
    assert rates[-1] == pytest.approx(cosine_end(lr, 0.05 * lr, total - total // 2), rel=1e-6)
    if total >= 800:
        assert rates[-1] == pytest.approx(0.05 * lr, rel=1e-3)


def test_without_lr_the_base_configs_own_holds(make_run: MakeRun) -> None:
    own, given = (build_config(make_run(values, epochs=8, train_people=160)) for values in ({}, {"lr": 4e-3}))
    assert schedule(own, 20) == pytest.approx(schedule(given, 20), rel=1e-12)


@pytest.mark.parametrize("workers", [8, 1])  # 8 x 64 people a step as in the config's name, and one GPU
def test_210_epochs_are_the_official_schedule(make_run: MakeRun, workers: int) -> None:
    steps = math.ceil(MPII_PEOPLE / (64 * workers))
    run = make_run(model="rtmpose-m", epochs=210, batch_size=64, workers=workers, train_people=MPII_PEOPLE)
    config, official = build_config(run), Config.fromfile(MPII_CONFIG)
    assert config.train_cfg.max_epochs == official.train_cfg.max_epochs == 210
    assert config.custom_hooks[1].switch_epoch == official.custom_hooks[1].switch_epoch == 180
    assert config.param_scheduler[0].end == official.param_scheduler[0].end == 1000
    assert schedule(config, steps) == pytest.approx(schedule(official, steps), rel=1e-9)


@pytest.mark.parametrize(("epochs", "switch"), [(1, 1), (2, 2), (8, 7), (21, 18), (210, 180)])
def test_epochs_move_all_parts_of_the_schedule(make_run: MakeRun, epochs: int, switch: int) -> None:
    config = build_config(make_run(epochs=epochs, train_people=800))
    warmup, cosine = config.param_scheduler
    assert config.train_cfg.max_epochs == epochs and config.train_cfg.val_interval == config.train_cfg.val_begin == 1
    assert (cosine.begin, cosine.end) == (epochs / 2, epochs)
    assert warmup.begin == 0 and warmup.end == min(1000, round(epochs * 100 * 1000 / 9240))
    assert config.custom_hooks[-1].switch_epoch == switch


def walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a config, with lists of numbers as one value."""
    if isinstance(node, dict):
        for key, child in node.items():
            yield from walk(child, f"{path}.{key}")
    elif isinstance(node, list | tuple) and not all(isinstance(item, int | float) for item in node):
        for number, child in enumerate(node):
            yield from walk(child, f"{path}.{number}")
    else:
        yield path, node


SIZES = {
    "96x96": ((96, 96), (3.46, 3.46), (3, 3)),
    "192x256": ((192, 256), (4.9, 5.66), (6, 8)),
    "384x288": ((384, 288), (6.93, 6.0), (12, 9)),
}
OWN = {"rtmpose-n": ((128, 128), (4.0, 4.0), (4, 4)), "rtmpose-m": ((256, 256), (5.66, 5.66), (8, 8))}


@pytest.mark.parametrize("model", OWN)
@pytest.mark.parametrize("size", SIZES)
def test_input_size_reaches_every_place(make_run: MakeRun, model: str, size: str) -> None:
    run = make_run({"input_size": size}, model=model)
    config = build_config(run)
    pairs = {path: tuple(v) for path, v in walk(config._cfg_dict) if isinstance(v, list | tuple) and len(v) == 2}
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
def test_a_configs_own_input_size_changes_nothing(path: str | Path) -> None:
    config = Config.fromfile(OFFICIAL / path)
    before = list(walk(config._cfg_dict))
    set_input_size(config, "x".join(str(side) for side in config.codec.input_size))
    assert [(p, tuple(v) if isinstance(v, list) else v) for p, v in walk(config._cfg_dict)] == [
        (p, tuple(v) if isinstance(v, list) else v) for p, v in before
    ]


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
        base_value(base_config("rtmpose-n"), key)


@pytest.mark.parametrize("name", ["codec", "codec.sigma", "base_lr", "max_epochs", "train_pipeline", "data_root"])
def test_leftover_variables_of_config_files_cannot_be_tuned(name: str) -> None:
    config = base_config("rtmpose-m")
    assert not [key for key in dotted(config) if key == name or key.startswith(f"{name}.")]
    with pytest.raises(SpecError, match="no such key"):
        apply_knobs(config, {name: 1})


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

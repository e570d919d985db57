"""The whole schedule follows the trial: as MMEngine really runs it, from one epoch to more than the official 210."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmengine.runner import Runner
from torch import Tensor

from raypose.errors import SpecError
from raypose.space.knobs import Value
from raypose.space.run import Run
from raypose.training.base import MPII_CONFIG, OFFICIAL, SIZE_CONFIGS
from raypose.training.checkpoint import ema_hook
from raypose.training.config import build_config
from raypose.training.model import build_model
from raypose.training.runner import build_runner, registered
from raypose.training.schedule import unfreeze_epoch

MakeRun = Callable[..., Run]
MPII_PEOPLE = 22246
COCO_T = OFFICIAL / SIZE_CONFIGS["rtmpose-t"]


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


@pytest.mark.parametrize("epochs", [3, 210])
def test_a_full_schedule_is_the_configs_own_however_much_of_it_is_trained(make_run: MakeRun, epochs: int) -> None:
    run = make_run(model="rtmpose-m", epochs=epochs, batch_size=512, train_people=MPII_PEOPLE, schedule="full")
    config, official = build_config(run), Config.fromfile(MPII_CONFIG)
    assert schedule(config, 44) == pytest.approx(schedule(official, 44), rel=1e-9)
    assert config.train_cfg.max_epochs == 210 and config.train_cfg.val_interval == config.train_cfg.val_begin == 1
    assert config.custom_hooks[1].switch_epoch == 180
    assert (config.custom_hooks[0].momentum, config.custom_hooks[0].gamma) == (2e-4, 2000)


def test_a_full_schedule_has_no_more_epochs_than_its_own(make_run: MakeRun) -> None:
    with pytest.raises(SpecError, match="train.epochs: 211 are more than the 210 of the full schedule"):
        build_config(make_run(epochs=211, schedule="full"))
    assert build_config(make_run(epochs=211)).train_cfg.max_epochs == 211


@pytest.mark.parametrize(("accumulation", "warmup"), [(1, 1000), (2, 2000), (20, 2273)])
def test_warm_up_is_as_many_optimizer_steps(make_run: MakeRun, accumulation: int, warmup: int) -> None:
    config = build_config(make_run(epochs=210, train_people=800, accumulation=accumulation))
    assert config.param_scheduler[0].end == warmup  # of 21,000 batches; 1000 / 9240 of them are 2,273


def of_ema(config: Config) -> tuple[float, float]:
    """Horizon and warm-up of the moving average, in optimizer steps."""
    (hook,) = (hook for hook in config.custom_hooks if hook.type.endswith("EMAHook"))
    return 1 / hook.momentum, hook.gamma


@pytest.mark.parametrize(
    ("epochs", "people", "accumulation", "share"),
    [
        (210, 44 * 8, 1, 1),  # as many steps as the official recipe
        (210, 22246, 1, 1),  # more: never longer than its own
        (105, 44 * 8, 1, 1 / 2),
        (6, 800, 1, 600 / 9240),
        (6, 800, 2, 300 / 9240),
        (6, 800, 3, 6 * 34 / 9240),  # an epoch ends with an optimizer step
    ],
)
def test_the_moving_average_keeps_its_share(
    make_run: MakeRun, epochs: int, people: int, accumulation: int, share: float
) -> None:
    config = build_config(make_run(epochs=epochs, train_people=people, accumulation=accumulation))
    assert of_ema(config) == pytest.approx((5000 * share, 2000 * share), rel=1e-9)


def test_the_moving_average_of_a_few_steps_still_averages(make_run: MakeRun) -> None:
    config = build_config(make_run(epochs=1, train_people=8))
    horizon, gamma = of_ema(config)
    assert horizon == 2 and gamma > 0


@pytest.mark.parametrize(
    "ema", [None, "type='EMAHook', momentum=0.01", "type='EMAHook', ema_type='StochasticWeightAverage'"]
)
def test_other_averages_stay_as_they_are(make_run: MakeRun, tmp_path: Path, ema: str | None) -> None:
    file, added = tmp_path / "own.py", f"[dict({ema})]" if ema else "[]"
    file.write_text(f"_base_ = '{COCO_T}'\ncustom_hooks = {added}\n")
    assert build_config(make_run(model=str(file))).custom_hooks == Config.fromfile(file).custom_hooks


def test_the_official_coco_recipe_without_an_average(make_run: MakeRun) -> None:
    config = build_config(make_run(model=str(COCO_T), epochs=42))
    assert [(hook.type, hook.switch_epoch) for hook in config.custom_hooks] == [("mmdet.PipelineSwitchHook", 39)]


class Watch(Hook):
    """A copy of one weight after each optimizer step."""

    priority = "VERY_HIGH"

    def __init__(self, parameter: Tensor) -> None:
        self.parameter, self.seen = parameter, [parameter.detach().clone()]

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if not torch.equal(self.parameter, self.seen[-1]):
            self.seen.append(self.parameter.detach().clone())


@pytest.mark.parametrize(("accumulation", "updates"), [(1, 6), (2, 3), (4, 2)])
def test_it_averages_once_for_each_optimizer_step(
    make_run: MakeRun, tmp_path: Path, accumulation: int, updates: int
) -> None:
    run = make_run(epochs=2, accumulation=accumulation)
    config = build_config(run)
    for key in ("val_cfg", "val_dataloader", "val_evaluator"):
        config.pop(key)
    with registered(tmp_path / "log", "ema") as config.experiment_name:
        model, _, _ = build_model(config, run)
        runner = build_runner(config, model, run, str(tmp_path))
        watch = Watch(model.head.mlp[1].weight)
        runner.register_hook(watch)
        runner.train()
        ema = ema_hook(runner).ema_model
    momentum, gamma = config.custom_hooks[0].momentum, config.custom_hooks[0].gamma
    _, average, *later = watch.seen
    for count, weight in enumerate(later, start=1):
        share = momentum + (1 - momentum) * math.exp(-(1 + count) / gamma)
        average = (1 - share) * average + share * weight
    assert len(watch.seen) == 1 + updates == 1 + ema.steps
    torch.testing.assert_close(ema.module.head.mlp[1].weight, average, rtol=1e-6, atol=1e-7)
    assert not torch.equal(average, watch.seen[-1]) or updates == 1


def test_only_an_accumulation_needs_another_hook_than_mmengines(make_run: MakeRun) -> None:
    once, twice = (build_config(make_run(accumulation=count)).custom_hooks[0] for count in (1, 2))
    assert once.type == "EMAHook" and twice.type == "raypose.training.ema.EMAHook"
    key = {"custom_hooks.EMAHook.momentum": 0.25}
    assert build_config(make_run(key, accumulation=2)).custom_hooks[0].momentum == 0.25


@pytest.mark.parametrize(
    ("share", "epochs", "epoch"),
    [(0.5, 8, 4), (0.3, 10, 3), (0.01, 8, 1), (0.99, 8, 7), (0.5, 2, 1), (0.9, 2, 1), (1.0, 8, None), (None, 8, None)],
)
def test_the_epoch_of_unfreezing(share: float | None, epochs: int, epoch: int | None) -> None:
    values: dict[str, Value] = {"freeze": "stage2", "unfreeze.at": share}
    assert unfreeze_epoch(values, epochs) == epoch
    assert unfreeze_epoch({**values, "freeze": "none"}, epochs) is None
    assert unfreeze_epoch({"freeze": "stage2"}, epochs) is None


STEPS = "dict(type='MultiStepLR', milestones=[170, 200], by_epoch=True, begin=0, end=420)"
POLY = "dict(type='PolyLR', eta_min=1e-4, begin=0, end=420, by_epoch=True)"
LATE = "dict(type='LinearLR', begin=500, end=1000, by_epoch=False)"
COSINE = "dict(type='CosineAnnealingLR', begin=0, end=100000, by_epoch=False)"
LATE_COSINE = "dict(type='CosineAnnealingLR', begin=1000, end=100000, by_epoch=False)"


@pytest.mark.parametrize("scheduler", [STEPS, POLY, LATE, COSINE, LATE_COSINE])
def test_a_scheduler_that_cannot_follow_is_refused(make_run: MakeRun, tmp_path: Path, scheduler: str) -> None:
    file = tmp_path / "own.py"
    file.write_text(f"_base_ = '{COCO_T}'\nparam_scheduler = [{scheduler}]\n")
    name = scheduler.split("'")[1]
    refused = pytest.raises(
        SpecError, match=f"{name} in param_scheduler cannot follow .*; LinearLR, ConstantLR, Cosine"
    )
    with refused:
        build_config(make_run(model=str(file)))
    whole = make_run(model=str(file), schedule="full")
    if scheduler in (POLY, COSINE, LATE_COSINE):
        with refused:
            build_config(whole)
    else:
        assert build_config(whole).param_scheduler == Config.fromfile(file).param_scheduler

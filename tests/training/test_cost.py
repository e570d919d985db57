"""What a model costs: MMPose's own figures, what freezing saves, and that measuring leaves no trace."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from raypose.space.run import Run
from raypose.training.base import OFFICIAL, SIZE_CONFIGS
from raypose.training.config import build_config
from raypose.training.cost import BATCH, COSTS, PASS, measure, training_flops, trial_costs
from raypose.training.freeze import freeze
from raypose.training.model import build_model

MakeRun = Callable[..., Run]
SIZE = (96, 64)


@pytest.fixture
def model(make_run: MakeRun) -> nn.Module:
    run = make_run({"input_size": "96x64"})
    built, _, _ = build_model(build_config(run), run)
    return built


def step(model: nn.Module, *choices: str) -> int:
    """FLOPs of a training step with some modules frozen."""
    for choice in choices:
        freeze(model, choice)
    flops = training_flops(model, SIZE)
    model.requires_grad_(True)
    return flops


def test_mmposes_table() -> None:
    init_default_scope("mmpose")
    config = Config.fromfile(OFFICIAL / SIZE_CONFIGS["rtmpose-t"])
    config.model.backbone.init_cfg = None
    figures = measure(MODELS.build(config.model), (192, 256))
    assert figures["gflops"] == pytest.approx(0.36, abs=0.01)  # 0.36 GFLOPs, 3.34 M parameters
    assert figures["parameters"] == pytest.approx(3.34e6, abs=1e4)


def test_all_costs_are_positive_numbers(model: nn.Module) -> None:
    figures = measure(model, SIZE)
    assert tuple(figures) == COSTS and all(type(value) is float and value > 0 for value in figures.values())
    assert figures["parameters"] == sum(p.numel() for p in model.parameters())


def test_times_are_of_one_image_and_of_many(model: nn.Module) -> None:
    shapes = []

    def slow(module: nn.Module, images: tuple[Any, ...]) -> None:
        shapes.append(tuple(images[0].shape))
        time.sleep(0.02)

    model.register_forward_pre_hook(slow)
    figures = measure(model, SIZE)
    many = max(count for count, *_ in shapes)
    assert set(shapes) == {(1, 3, 64, 96), (many, 3, 64, 96)}
    assert many == max(1, min(BATCH, int(1e3 * PASS / figures["latency_ms"]))), "however busy the machine is"
    assert figures["latency_ms"] >= 20 and many / figures["images_per_s"] >= 0.02


def test_models_of_one_kind_are_measured_once(model: nn.Module, tmp_path: Path) -> None:
    passes: list[None] = []
    model.register_forward_pre_hook(lambda *_: passes.append(None))
    folders = [tmp_path / name for name in ("first", "second", "other")]
    for folder in folders:
        folder.mkdir()
    first, counted = trial_costs(model, folders[0], "of this test"), len(passes)
    assert trial_costs(model, folders[1], "of this test") == first and len(passes) == counted > 0
    assert trial_costs(model, folders[0], "another") == first and len(passes) == counted, "written down for the trial"
    trial_costs(model, folders[2], "another")
    assert len(passes) > counted


class Narrow(nn.Conv2d):
    """A model of one layer, so fast that 32 images are tried, on a device that holds `room` of them."""

    def __init__(self, room: int) -> None:
        super().__init__(3, 4, 3)
        self.room = room
        self.batches: list[int] = []

    def forward(self, images: Tensor, samples: None, mode: str) -> Tensor:
        if images.is_cpu:
            self.batches.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(images)


@pytest.mark.parametrize(("room", "tried"), [(32, [1, 32]), (9, [1, 32, 16, 8]), (1, [1, 32, 16, 8, 4, 2])])
def test_the_throughput_is_of_as_many_images_as_memory_holds(room: int, tried: list[int]) -> None:
    model = Narrow(room)
    figures = measure(model, SIZE)
    assert list(dict.fromkeys(model.batches)) == tried and figures["images_per_s"] > 0
    if room == 1:
        assert figures["images_per_s"] == pytest.approx(1e3 / figures["latency_ms"])


def one_step(model: nn.Module) -> None:
    """A training step with dropout, whose mask shows whether random numbers were drawn before."""
    scores = model(torch.rand(2, 3, 64, 96), None, mode="tensor")
    sum(nn.functional.dropout(score).square().mean() for score in scores).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
                parameter.grad = None


@pytest.mark.parametrize("look", [measure, training_flops])
def test_a_measured_training_is_bit_equal(make_run: MakeRun, look: Callable[..., Any]) -> None:
    states = []
    for looks in (False, True):
        run = make_run({"input_size": "96x64"})
        model, _, _ = build_model(build_config(run), run)
        model.train()
        for module in freeze(model, "stage1"):
            module.eval()
        modes = [module.training for module in model.modules()]
        for _ in range(2):
            one_step(model)
            if looks:
                look(model, SIZE)
            assert [module.training for module in model.modules()] == modes and len(set(modes)) == 2
            assert all(p.grad is None and p.device.type == "cpu" for p in model.parameters())
        states.append((dict(model.state_dict()), torch.get_rng_state(), np.random.get_state()[1], random.getstate()))
    (one, *generators), (other, *same_generators) = states
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert all(np.array_equal(a, b) for a, b in zip(generators[:2], same_generators[:2], strict=True))
    assert generators[2] == same_generators[2]


def test_a_step_is_three_forward_passes_but_for_the_images_gradient(model: nn.Module) -> None:
    first = 2 * (48 * 32) * 8 * 3 * 9  # FLOPs of the first convolution: a 48x32 map, 8 channels from 3, a 3x3 kernel
    assert step(model) == round(6e9 * measure(model, SIZE)["gflops"]) - first


def test_a_training_model_is_counted_at_the_smallest_size(make_run: MakeRun) -> None:
    run = make_run({"input_size": "32x32"})  # one cell in the end, of which BatchNorm cannot learn
    model, _, _ = build_model(build_config(run), run)
    assert training_flops(model.train(), (32, 32)) > 1e6


def test_what_freezing_saves(model: nn.Module) -> None:
    whole, stem, stage4, backbone, norms = (
        step(model, choice) for choice in ("none", "stem", "stage4", "backbone", "norms")
    )
    assert whole == norms > stem > 0.8 * whole
    assert stage4 == backbone < whole - 3 * (whole - stem)


def test_a_middle_stage_saves_no_gradient_before_it(model: nn.Module) -> None:
    with FlopCounterMode(display=False) as counter:
        inside = model.backbone.stage1(model.backbone.stem(torch.zeros(1, 3, 64, 96)))
        before = counter.get_total_flops()
        model.backbone.stage2(inside)
    forward = counter.get_total_flops() - before
    assert step(model) - step(model, "backbone.stage2") == forward  # the gradients of its weights alone
    assert step(model, "stage1") - step(model, "stage2") > 1.5 * forward  # and those of what it reads

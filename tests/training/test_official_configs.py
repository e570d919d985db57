"""All of MMPose's RTMPose configs at another input size: nothing of the old one is left, and they train and predict."""

import functools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mmpose
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DATASETS, HOOKS, MODELS, init_default_scope
from torch import nn

from raypose.errors import SpecError
from raypose.space.knobs import name_problem, value_problem
from raypose.space.run import Run
from raypose.training.base import base_config
from raypose.training.compat import PipelineSwitchHook
from raypose.training.config import build_config
from raypose.training.freeze import frozen_modules

MakeRun = Callable[..., Run]
Walk = Callable[[Any], Iterator[tuple[str, Any]]]
CONFIGS = Path(mmpose.__file__).parent / ".mim" / "configs"
NAMED = [file.relative_to(CONFIGS) for file in CONFIGS.rglob("*.py") if "rtmpose" in str(file.relative_to(CONFIGS))]
DISTILLER = Path("wholebody_2d_keypoint/dwpose/ubody/s1_dis/rtmpose_x_dis_l_coco-ubody-384x288.py")
RTMW = Path("wholebody_2d_keypoint/rtmpose/cocktail14/rtmw-m_8xb1024-270e_cocktail14-256x192.py")
TUNABLE = sorted(set(NAMED) - {DISTILLER}, key=lambda path: path.name)  # by size, so that a model is built once
WIDTH, HEIGHT = 64, 32
CHANGED = {"head.out_channels", "norm_cfg.type", "loss.mask", "loss.mask_weight"}  # of a model, but for its size
SIZES = {"input_size": (WIDTH, HEIGHT), "sigma": (2.83, 2.0), "in_featuremap_size": (2, 1)}


def sizes_of(config: Config) -> set[tuple[Any, ...]]:
    """A config's input size, feature map and sigma, either way round."""
    width, height = config.model.head.input_size
    sigma = tuple(round(math.sqrt(side / 8), 2) for side in (width, height))
    return {way for pair in ((width, height), (width // 32, height // 32), sigma) for way in (pair, pair[::-1])}


@functools.lru_cache(maxsize=1)
def built(model: str) -> nn.Module:
    """The model of a config's `model`, given as JSON; most configs share theirs with the one before."""
    return MODELS.build(json.loads(model))


def train_step(model: nn.Module, dataset: Any) -> None:
    """Forward, loss and backward for two people."""
    batch = model.data_preprocessor(pseudo_collate([dataset[0], dataset[1]]), training=True)
    assert batch["inputs"].shape == (2, 3, HEIGHT, WIDTH)
    losses = model.train().loss(**batch)
    model.zero_grad()
    losses["loss_kpt"].backward()
    gradients = [p.grad for p in model.parameters()]
    assert all(gradient is not None for gradient in gradients)
    assert 0 < nn.utils.get_total_norm(gradients) < math.inf


def test_there_are_55() -> None:
    assert len(NAMED) == 55 and len(TUNABLE) == 54


@pytest.mark.parametrize("path", TUNABLE, ids=lambda path: path.stem)
def test_an_official_config_at_another_size(make_run: MakeRun, walk: Walk, path: Path) -> None:
    init_default_scope("mmpose")
    run = make_run({"input_size": f"{WIDTH}x{HEIGHT}"}, model=str(CONFIGS / path))
    config = build_config(run)

    official = Config.fromfile(run.model)
    assert config.optim_wrapper == {**official.optim_wrapper, "accumulative_counts": 1}
    changed = {".".join(key.split(".")[-2:]) for key, _ in set(walk(config.model)) ^ set(walk(official.model))}
    assert {key for key in changed if key.split(".")[-1] not in SIZES} <= CHANGED

    stale = sizes_of(base_config(run.model))
    values = list(walk(config._cfg_dict))
    assert "SyncBN" not in [value for _, value in values]  # MMEngine's Runner would put new modules in its place
    assert [(place, value) for place, value in values if isinstance(value, tuple) and value in stale] == []
    sized = [(place.split(".")[-1], value) for place, value in values if place.split(".")[-1] in SIZES]
    # the head and its codec, the crops of three pipelines, and the codecs of the two that make labels
    assert [name for name, _ in sized].count("input_size") == 7
    assert [name for name, _ in sized].count("sigma") == 3 and all(value == SIZES[name] for name, value in sized)

    config.model.backbone.pop("init_cfg", None)  # weights by URL
    model = built(json.dumps(config.model, sort_keys=True))
    plainly = {"serialize_data": False}  # else MMEngine collects the process's garbage for each data set
    train = DATASETS.build({**config.train_dataloader.dataset, **plainly})
    train_step(model, train)
    (switch,) = (hook for hook in map(HOOKS.build, config.custom_hooks) if isinstance(hook, PipelineSwitchHook))
    assert train.pipeline.transforms and switch.switch_pipeline != config.train_dataloader.dataset.pipeline
    train.pipeline = Compose(switch.switch_pipeline)
    train_step(model, train)

    val = DATASETS.build({**config.val_dataloader.dataset, **plainly})
    with torch.no_grad():
        found = model.eval().val_step(pseudo_collate([val[0], val[1]]))
    assert [sample.pred_instances.keypoints.shape for sample in found] == [(1, 16, 2)] * 2
    assert [sample.input_size for sample in found] == [(WIDTH, HEIGHT)] * 2


def test_the_neck_of_a_whole_body_config_is_a_part(make_run: MakeRun) -> None:
    init_default_scope("mmpose")
    config = build_config(make_run(model=str(CONFIGS / RTMW)))
    config.model.backbone.pop("init_cfg")
    with torch.device("meta"):
        model = MODELS.build(config.model)
    for part in ("neck", "neck.reduce_layers.0"):
        assert value_problem("freeze", f"stem+{part}") is None and name_problem(f"lr_mult.{part}") is None
        assert frozen_modules(model, part) == [model.get_submodule(part)]
    assert name_problem("lr_mult.neckline") is not None


def test_a_distiller_is_refused_with_its_students_config() -> None:
    with pytest.raises(SpecError, match="distils into configs/(.*); give that config") as caught:
        base_config(str(CONFIGS / DISTILLER))
    assert Path(str(caught.value).split("distils into configs/")[1].split(";")[0]) in TUNABLE

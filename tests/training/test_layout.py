"""Batches that are taken whole: the same inputs, and of the labels what the loss joins."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.runner import Runner

from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.hasten import hastened
from raypose.training.layout import collate_whole
from raypose.training.model import build_model
from raypose.training.small_map import SmallMapHead

MakeRun = Callable[..., Run]


def people(run: Run) -> list[dict[str, Any]]:
    config = hastened(build_config(run), run)
    data = Runner.build_dataloader(config.train_dataloader).dataset
    return [data[index] for index in range(4)]


@pytest.mark.parametrize("by_pixel", [False, True])
def test_inputs_and_labels_are_those_of_each_person(make_run: MakeRun, by_pixel: bool) -> None:
    run = make_run()
    build_model(build_config(run), run)
    batch = people(run)
    whole = collate_whole(batch, by_pixel=by_pixel, joined=True)
    assert torch.equal(whole["inputs"], torch.stack([person["inputs"] for person in batch]))
    layout = torch.channels_last if by_pixel else torch.contiguous_format
    assert whole["inputs"].is_contiguous(memory_format=layout)
    (joined,) = whole["data_samples"]
    for name in ("keypoint_x_labels", "keypoint_y_labels", "keypoint_weights"):
        each = [person["data_samples"].gt_instance_labels[name] for person in batch]
        assert torch.equal(joined.gt_instance_labels[name], torch.cat(each))
    assert len(collate_whole(batch, by_pixel=by_pixel, joined=False)["data_samples"]) == 4


def test_the_loss_is_that_of_mmposes_batches(make_run: MakeRun) -> None:
    losses = []
    for run in (make_run(channels_last=False), make_run(channels_last=False, fast_transforms=False)):
        config = hastened(build_config(run), run)
        model, *_ = build_model(config, run)
        batch = people(make_run())
        whole = collate_whole(batch, by_pixel=False, joined=True)
        apart = {name: [person[name] for person in batch] for name in batch[0]}
        taken: Any = model.data_preprocessor
        losses.append(model(**taken(whole if run.fast_transforms else apart, True), mode="loss")["loss_kpt"].item())
    assert losses[0] == losses[1]


def test_scores_of_mixed_precision_are_single(make_run: MakeRun) -> None:
    """Of 4,000 and more, which float16 does not hold ten times."""
    run = make_run(channels_last=True)
    model: Any = build_model(hastened(build_config(run), run), run)[0]
    assert type(model.head) is SmallMapHead
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = model(torch.zeros(2, 3, 64, 64), None, mode="tensor")
    assert [each.dtype for each in scores] == [torch.float32, torch.float32]

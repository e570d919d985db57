"""What trainings on one machine share: the same samples, from a file that holds all that they can look at."""

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS

from raypose.datasets import photo
from raypose.record.epochs import read_epochs
from raypose.record.files import read_json
from raypose.record.view import CACHE
from raypose.space.run import Run
from raypose.training.cache import add_cache, cache_folder, reach
from raypose.training.config import build_config
from raypose.training.hasten import hastened
from raypose.training.train import train

MakeRun = Callable[..., Run]


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What a run says so that images are kept, in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return {"data_digest": "of these data", "cache_bytes": 10**9}


def people(run: Run, cache: bool) -> Any:
    """The training's data set."""
    init_default_scope("mmpose")
    config = hastened(build_config(run), run)
    run.folder.mkdir(parents=True, exist_ok=True)
    if cache:
        add_cache(config, run)
    return DATASETS.build(copy.deepcopy(config.train_dataloader.dataset))


def test_samples_are_the_same_and_no_image_is_read(
    make_run: MakeRun, cached: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run({"input_size": "384x512"}, **cached)  # so large that nothing is shrunk
    without, with_cache = people(run, cache=False), people(run, cache=True)
    read: list[Any] = []
    for draw in range(4):
        for index in range(len(without)):
            samples = []
            for data in (without, with_cache):
                if data is with_cache:
                    monkeypatch.setattr(photo.Photo, "__init__", lambda self, path: read.append(path))
                np.random.seed(100 * draw + index)
                samples.append(data.pipeline(data.get_data_info(index)))
                monkeypatch.undo()
            assert np.array_equal(samples[0]["inputs"], samples[1]["inputs"])
    assert not read


def test_a_pipeline_reaches_no_further_than_is_kept(make_run: MakeRun, cached: dict[str, Any]) -> None:
    run = make_run({"input_size": "64x96"}, **cached)
    config = hastened(build_config(run), run)
    far = reach(config.train_dataloader.dataset.pipeline)
    (switch,) = (hook for hook in config.custom_hooks if "switch_pipeline" in hook)
    near = reach(switch.switch_pipeline)
    assert far.crop(100) == pytest.approx((125, 187.5)) and far.turned and near.shift < far.shift
    assert near.box((0, 0), 100)[2] <= far.box((0, 0), 100)[2] > 100
    assert reach(config.val_dataloader.dataset.pipeline).box((10, 20), 100) == pytest.approx(
        (-52.5, -73.75, 72.5, 113.75)
    )


def test_a_training_with_it(make_run: MakeRun, cached: dict[str, Any]) -> None:
    run = make_run(epochs=2, **cached)
    train(run, lambda metrics, folder: False)
    (file,) = cache_folder().glob("*.arrow")
    assert len(read_epochs(run.folder)) == 2
    assert read_json(run.folder / CACHE) == {"file": str(file), "bytes": file.stat().st_size}
    train(make_run({"lr": 1e-3}, **cached), lambda metrics, folder: False)
    train(make_run({"input_size": "32x32"}, **cached), lambda metrics, folder: False)
    train(make_run(**{**cached, "data_digest": "of others"}), lambda metrics, folder: False)
    assert file.exists() and len(list(cache_folder().glob("*.arrow"))) == 3


def test_without_it(make_run: MakeRun, cached: dict[str, Any]) -> None:
    run = make_run(**{**cached, "cache_bytes": 0})
    for changed in (run, dataclasses.replace(run, cache_bytes=1, fast_transforms=False)):
        config = hastened(build_config(changed), changed)
        add_cache(config, changed)
        assert "arrow" not in json.dumps(config.to_dict(), default=str)
    assert not cache_folder().exists()


def test_a_folder_that_cannot_be_written_costs_time_alone(
    make_run: MakeRun, cached: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    run = make_run(**cached)
    train(run, lambda metrics, folder: False)
    assert "all images are decoded anew in every epoch: " in (run.folder / "train.log").read_text()

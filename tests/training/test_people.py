"""Samples drawn by their place in the training, and images that cannot be read: left out, listed, and told plainly."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from raypose.errors import DataError
from raypose.record.epochs import read_epochs
from raypose.space.run import Run
from raypose.training.evaluate import evaluate
from raypose.training.loader_faults import told_plainly
from raypose.training.people import UNREADABLE, People, Unreadable
from raypose.training.train import train

MakeRun = Callable[..., Run]
FAULTS = {
    "00003.jpg": ("missing", "is not in images/"),
    "00007.jpg": ("empty", "is empty"),
    "00011.jpg": ("truncated", "is cut off"),
    "00012.jpg": ("garbage", "cannot be decoded"),
}


def spoil(image: Path, how: str) -> None:
    content = image.read_bytes()
    match how:
        case "missing":
            image.unlink()
        case "empty":
            image.write_bytes(b"")
        case "truncated":
            image.write_bytes(content[: len(content) // 2])
        case "garbage":  # between sound ends
            image.write_bytes(content[:8] + bytes(255 - byte for byte in content[8:-8]) + content[-8:])


@pytest.fixture
def spoiled(tiny_data: Path, tmp_path: Path) -> Path:
    """24 training people on as many images, four of which cannot be read."""
    folder = shutil.copytree(tiny_data, tmp_path / "data")
    for name, (how, _) in FAULTS.items():
        spoil(folder / "images" / name, how)
    return folder


def people(data: Path, *pipeline: Callable[[Any], Any]) -> People:
    files = {"ann_file": "annotations/mpii_train.json", "data_prefix": {"img": "images/"}}
    return People(data_root=str(data), data_mode="topdown", pipeline=list(pipeline), **files)


def test_left_out_counted_and_listed(make_run: MakeRun, spoiled: Path) -> None:
    figures = []
    for loaders in (0, 2):
        run = make_run(data=spoiled, bad_images=0.17, loader_workers=loaders)
        assert train(run, lambda metrics, folder: False)
        figures.append([{n: v for n, v in e.metrics.items() if n in ("PCK", "loss")} for e in read_epochs(run.folder)])
        lines = sorted((run.folder / UNREADABLE).read_text().splitlines())
        assert [line.split("\t")[0] for line in lines] == sorted(FAULTS)
        assert all(words in line for line, (_, words) in zip(lines, FAULTS.values(), strict=True))
        log = (run.folder / "train.log").read_text()
        assert log.count("4 of 24 training images cannot be used and are left out; unreadable.txt lists them") == 1
    assert figures[0] == figures[1]  # what stands in does not depend on who loads it


@pytest.mark.parametrize(("share", "count", "loaders"), [(0.1, 3, 1), (0.001, 1, 0)])
def test_more_than_the_limit(make_run: MakeRun, spoiled: Path, share: float, count: int, loaders: int) -> None:
    run = make_run(data=spoiled, bad_images=share, loader_workers=loaders)
    words = f"^{count} of 24 training images cannot be used, more than failure.bad_images lets a training leave out"
    with pytest.raises(DataError, match=words) as caught:
        train(run, lambda metrics, folder: False)
    told = str(caught.value)
    assert "\n" not in told and str(run.folder / UNREADABLE) in told and "data check --deep" in told
    assert len((run.folder / UNREADABLE).read_text().splitlines()) >= count  # a loader process loads ahead
    assert ("Original Traceback" in (run.folder / "train.log").read_text()) == bool(loaders)


@pytest.mark.parametrize("loaders", [0, 1])
def test_validation_never_leaves_one_out(make_run: MakeRun, tiny_data: Path, tmp_path: Path, loaders: int) -> None:
    data = shutil.copytree(tiny_data, tmp_path / "data")
    spoil(data / "images" / "00027.jpg", "truncated")
    words = "^/.*/images/00027.jpg: a validation image that cannot be used: .* is cut off"
    with pytest.raises(DataError, match=words) as caught:
        evaluate(make_run(data=data, bad_images=1.0, loader_workers=loaders))
    assert "\n" not in str(caught.value)


def test_without_a_list_none_is_left_out(spoiled: Path) -> None:
    from mmpose.datasets.transforms import LoadImage

    loaded = people(spoiled, LoadImage())
    assert loaded[0]["img"].ndim == 3 and loaded.images == 24
    with pytest.raises(DataError, match=r"00003.jpg: a training image that cannot be used"):
        loaded[2]


def test_other_faults_are_no_fault_of_the_image(tiny_data: Path, tmp_path: Path) -> None:
    def broken(sample: Any) -> Any:
        raise AssertionError("a fault of the code")

    data = people(tiny_data, broken)
    data.unreadable = Unreadable(tmp_path / UNREADABLE, 24)
    with pytest.raises(AssertionError, match="a fault of the code"):
        data[0]
    assert data.unreadable.count() == 0


def test_draws_follow_from_the_place(tiny_data: Path) -> None:
    def draw(sample: Any) -> Any:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    data = people(tiny_data, draw)
    seen = {}
    for place in ((0, 0), (0, 1), (1, 0), (2**40, 3)):
        data.place = place
        seen[place] = [data[i] for i in range(24)]
        data[5]
        assert seen[place] == [data[i] for i in range(24)] and seen[place][::-1] == [data[i] for i in range(23, -1, -1)]
    assert len({draws for samples in seen.values() for draws in samples}) == 4 * 24
    data.place = None
    assert data[0] != data[0]


class Failing(Dataset[int]):
    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise self.fault from LookupError("DataError: before")


class Two(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        (DataError("images: 3 are missing"), DataError, "images: 3 are missing"),
        (ValueError("first line\n  second: line"), ValueError, "first line\n  second: line"),
        (KeyError("img"), KeyError, "'img'"),
        (cv2.error("OpenCV: no"), cv2.error, "OpenCV: no"),
        (AssertionError(), AssertionError, ""),
        (Two(1, 2), RuntimeError, "Two: 1 and 2"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_faults_of_loader_processes_are_told_as_they_were(fault: Exception, kind: type, text: str) -> None:
    with pytest.raises(kind) as caught, told_plainly():
        list(DataLoader(Failing(fault), num_workers=1))
    assert type(caught.value) is kind and str(caught.value.args[0] if caught.value.args else "") == text
    with pytest.raises(type(fault)) as same, told_plainly():
        raise fault
    assert same.value is fault


def test_the_annotations_are_read_once_until_they_change(tiny_data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_data, tmp_path / "data")
    first, again = people(folder), people(folder)
    assert again.data_bytes is first.data_bytes and len(again) == 24 and again.images == first.images == 24
    file = folder / "annotations" / "mpii_train.json"
    file.write_text(json.dumps(json.loads(file.read_text())[:20]))
    assert (len(people(folder)), people(folder).images, len(again)) == (20, 20, 24)

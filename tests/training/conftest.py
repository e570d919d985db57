"""Runs that are as small as a real training can be: rtmpose-n, 64x64, 24 people, three steps an epoch."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from safetensors.torch import save_file

from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.model import build_model

MakeRun = Callable[..., Run]
SMALL = {"input_size": "64x64"}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, so that equal means bit-equal; as in a lane, what is imported is not searched for garbage."""
    gc.freeze()
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture(scope="session")
def make_run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """A function that makes a small run, in a folder of its own unless it is given one."""

    def make(values: dict[str, Any] | None = None, **changes: Any) -> Run:
        run = Run(
            model="rtmpose-n",
            weights="none",
            values={**SMALL, **(values or {})},
            metric="PCK",
            epochs=1,
            batch_size=8,
            loader_workers=0,
            amp=False,
            seed=0,
            workers=1,
            gpu=False,
            data=tiny_data,
            train_people=24,
            folder=changes.pop("folder", None) or tmp_path_factory.mktemp("run") / "trial",
        )
        return replace(run, **changes)

    return make


@pytest.fixture(scope="session")
def start(make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a whole small model, as a file to start from."""
    run = make_run(seed=1)
    model, _, _ = build_model(build_config(run), run)
    file = tmp_path_factory.mktemp("weights") / "start.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, file)
    return file


def _walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, child in node.items():
            yield from _walk(child, f"{path}.{key}")
    elif isinstance(node, list | tuple) and not all(isinstance(item, int | float) for item in node):
        for number, child in enumerate(node):
            yield from _walk(child, f"{path}.{number}")
    else:
        yield path, tuple(node) if isinstance(node, list | tuple) else node


@pytest.fixture(scope="session")
def walk() -> Callable[[Any], Iterator[tuple[str, Any]]]:
    """A function that gives every value of a config with its path, lists of numbers as one tuple."""
    return _walk

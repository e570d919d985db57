"""What only a GPU shows: memory that runs out for real, mixed precision, and a training taken up again on it."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from raypose.record.epochs import read_epochs, read_json
from raypose.space.run import Run
from raypose.training.checkpoint import PLAIN, TENSORS
from raypose.training.config import build_config
from raypose.training.memory import KEPT, release
from raypose.training.model import build_model
from raypose.training.train import train

MakeRun = Callable[..., Run]
LARGE = {"model": "rtmpose-m", "values": {"input_size": "256x256"}}

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]


def go_on(metrics: Mapping[str, float], folder: Path) -> bool:
    return False


def stop(metrics: Mapping[str, float], folder: Path) -> bool:
    return True


@pytest.fixture
def gpu_run(make_run: MakeRun) -> MakeRun:
    """A function that makes a small run on the GPU, as raypose sets it up there."""

    def make(values: dict[str, Any] | None = None, **changes: Any) -> Run:
        return make_run(values, **{"gpu": True, "channels_last": False, **changes})

    return make


@contextmanager
def room(megabytes: float) -> Iterator[None]:
    """All memory of the GPU but so much is taken, by tensors as large as any."""
    release()
    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(max(0, free - int(megabytes * 2**20)), dtype=torch.uint8, device="cuda")
    try:
        yield
    finally:
        del ballast
        release()


def peak_mb(run: Run) -> float:
    """The most memory that a training takes from the GPU."""
    release()
    torch.cuda.reset_peak_memory_stats()
    train(run, go_on)
    return torch.cuda.max_memory_reserved() / 2**20


def test_a_batch_that_the_gpu_does_not_hold_is_split(gpu_run: MakeRun) -> None:
    whole = gpu_run(**LARGE, batch_size=24, epochs=1)
    needed = peak_mb(whole)
    assert not (whole.folder / KEPT).exists()
    run = gpu_run(**LARGE, batch_size=24, epochs=1)
    with room(0.6 * needed):
        train(run, go_on)
    kept = read_json(run.folder / KEPT)
    assert kept["batch_size"] < 24 and kept["batch_size"] * kept["accumulation"] == 24
    assert "the effective batch stays 24" in (run.folder / "train.log").read_text()
    averages = [load_file(r.folder / "epoch_0001" / TENSORS)["ema.steps"] for r in (whole, run)]
    assert averages[0] == averages[1] == 1, "as many optimizer steps"


@pytest.mark.parametrize("settings", [{"amp": True}, {"channels_last": True}, {"amp": True, "channels_last": True}])
def test_precision_and_layout_change_nothing_but_rounding(gpu_run: MakeRun, settings: dict[str, Any]) -> None:
    values = {"lr": 1e-4, "input_size": "128x128"}  # at which the weights were made
    runs = [gpu_run(values, weights="demo", loader_workers=2, **each) for each in ({}, settings)]
    for run in runs:
        train(run, go_on)
    plain, changed = (read_epochs(run.folder)[0].metrics for run in runs)
    assert math.isfinite(changed["loss"]) and changed["loss"] == pytest.approx(plain["loss"], rel=0.05)
    assert changed["PCK"] == pytest.approx(plain["PCK"], abs=5)


def test_equal_trainings_end_with_equal_bits(gpu_run: MakeRun) -> None:
    states = []
    for run in (gpu_run({"input_size": "128x128"}, epochs=2, loader_workers=2) for _ in range(2)):
        train(run, go_on)
        states.append(load_file(run.folder / "epoch_0002" / TENSORS))
    assert [name for name, tensor in states[0].items() if not torch.equal(tensor, states[1][name])] == []


def test_mixed_precision_holds_large_scores(gpu_run: MakeRun) -> None:
    """At half the size they were made at the demo's weights score in thousands, which the loss multiplies by 10."""
    assert train(gpu_run(weights="demo", amp=True), go_on)


@pytest.mark.parametrize("amp", [False, True])
def test_it_goes_on_from_its_last_epoch(gpu_run: MakeRun, amp: bool) -> None:
    straight, broken = (gpu_run(epochs=3, amp=amp) for _ in range(2))
    train(straight, go_on)
    train(broken, stop)
    train(broken, go_on)
    plain = [read_json(run.folder / "epoch_0003" / PLAIN) for run in (straight, broken)]
    assert plain[0] == plain[1], "scaler and schedulers too"
    first, second = (load_file(run.folder / "epoch_0003" / TENSORS) for run in (straight, broken))
    assert first.keys() == second.keys()
    assert [name for name, tensor in first.items() if not torch.equal(tensor, second[name])] == []


def test_a_pause_in_an_epoch(gpu_run: MakeRun) -> None:
    run, asked = gpu_run(epochs=1, amp=True), iter([False, True])
    assert not train(run, go_on, lambda: next(asked))
    assert train(run, go_on)
    assert read_json(run.folder / "epoch_0001" / PLAIN)["iter"] == 3


def test_cached_views(gpu_run: MakeRun) -> None:
    """What a frozen backbone makes of people is computed on the GPU, and trained on."""
    run = gpu_run({"freeze": "backbone"}, weights="demo", epochs=3, cached_views=3, cache_bytes=10**9, amp=True)
    train(run, go_on)
    epochs = read_epochs(run.folder)
    assert "views a person" in (run.folder / "train.log").read_text()
    assert len(epochs) == 3 and all(math.isfinite(epoch.metrics["loss"]) for epoch in epochs)


def test_it_computes_what_a_cpu_does(gpu_run: MakeRun) -> None:
    run = gpu_run(weights="demo")
    model, _, _ = build_model(build_config(run), run)
    model.eval()
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        on_cpu = model(images, None, mode="tensor")
        on_gpu = model.to("cuda")(images.to("cuda"), None, mode="tensor")
    for there, here in zip(on_cpu, on_gpu, strict=True):
        difference = (there - here.cpu()).norm() / there.norm()
        assert difference < 5e-3, "far above TF32's rounding, far below what would show"

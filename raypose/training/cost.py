"""What a model costs: parameters, arithmetic, latency, throughput. Runs in: GPU worker, `raypose plan`.

Arithmetic is counted on PyTorch's meta device, where tensors have shapes and no values, so that counting costs nothing
and cannot change the model.
"""

import copy
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from raypose.record.files import read_whole, write_json

COSTS = ("parameters", "gflops", "latency_ms", "images_per_s")
BATCH = 32  # images at once, for the throughput
WARM_UP, REPEATS = 3, 30  # passes
PASS, LIMIT = 0.25, 0.5  # seconds: of a pass for the throughput on a CPU, and of all passes

_measured: dict[str, dict[str, float]] = {}


@torch.no_grad()
def measure(model: nn.Module, size: tuple[int, int]) -> dict[str, float]:
    """The COSTS of one forward pass, head included, at a size (width, height) in pixels, where the model lies.

    `gflops` are 1e9 multiply-adds an image, as in MMPose's tables; `latency_ms` is the median for one image. Neither
    the model, its modes nor any random state is changed.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    latency = _seconds(model, _images(model, size, 1))
    gpu = next(model.parameters()).is_cuda
    batch = BATCH if gpu else max(1, min(BATCH, int(PASS / latency)))
    each = _seconds_each(model, size, batch, latency)
    for module, mode in modes.items():
        module.training = mode
    figures = (sum(p.numel() for p in model.parameters()), _forward_flops(model, size) / 2e9, 1e3 * latency, 1 / each)
    return dict(zip(COSTS, map(float, figures), strict=True))


def trial_costs(model: Any, trial: Path, kind: str) -> dict[str, float]:
    """The COSTS of a trial's model at its own input size, measured once, however often the trial is taken up again.

    Trials of a lane whose models are of one `kind` share them: a second of each, and noise between equals.
    """
    file = trial / "cost.json"
    costs = read_whole(file)
    if costs is None:
        if kind not in _measured:
            width, height = model.head.input_size
            _measured[kind] = measure(model, (width, height))
        costs = _measured[kind]
        write_json(file, costs)
    return costs


def training_flops(model: nn.Module, size: tuple[int, int]) -> int:
    """FLOPs, two a multiply-add, of forward, loss and backward for one image, with the model frozen as it is now."""
    shadow = _shadow(model)
    with _counter() as counter:
        scores = shadow(_images(shadow, size, 1), None, mode="tensor")
        weights = torch.ones(scores[0].shape[:2], device="meta")
        shadow.head.loss_module(scores, [torch.zeros_like(s) for s in scores], weights).backward()
    return int(counter.get_total_flops())


def _forward_flops(model: nn.Module, size: tuple[int, int]) -> int:
    shadow = _shadow(model)
    with _counter() as counter:
        shadow(_images(shadow, size, 1), None, mode="tensor")
    return int(counter.get_total_flops())


def _counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward})


def _convolution_backward(gradient: list[int], images: list[int], weight: list[int], *rest: Any, **_: Any) -> int:
    """Either gradient, the input's and the weight's, costs as much as the forward pass.

    PyTorch 2.13 counts the weight's of a grouped convolution `groups` times (pytorch#183405).
    """
    for_input, for_weight, _ = rest[-1]
    return int(conv_flop_count(images, weight, gradient) * (for_input + for_weight))


def _shadow(model: nn.Module) -> Any:
    """The model without values; in eval mode, in which BatchNorm needs neither several values nor the other workers."""
    return copy.deepcopy(model).to("meta").eval()


def _images(model: nn.Module, size: tuple[int, int], count: int) -> Tensor:
    return torch.zeros(count, 3, size[1], size[0], device=next(model.parameters()).device)


def _seconds_each(model: nn.Module, size: tuple[int, int], batch: int, latency: float) -> float:
    """Time an image among `batch`, which is halved until memory holds it; alone it takes `latency`."""
    while batch > 1:
        try:
            return _seconds(model, _images(model, size, batch)) / batch
        except torch.OutOfMemoryError:  # not the training's: its batch is another
            batch //= 2
    return latency


def _seconds(model: nn.Module, images: Tensor) -> float:
    """Median time of a forward pass."""
    durations: list[float] = []
    while len(durations) < WARM_UP + REPEATS and (sum(durations) < LIMIT or len(durations) <= WARM_UP):
        began = time.perf_counter()
        model(images, None, mode="tensor")
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        durations.append(time.perf_counter() - began)
    return statistics.median(durations[WARM_UP:])

"""What might make a training step faster, beside plain single precision: numbers, layout, kernels.

Runs in: a process of its own. All levers share it, and are pulled in turns, on models of their own: so the memory of a
GPU that one of them has used serves the next.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import torch

from raypose.bench.step import first_batch, trainer
from raypose.bench.turns import Row, row_of, seconds_of
from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.hasten import hastened

WARM_UP: Final = 1  # rounds: kernels are chosen in the first


@dataclass(frozen=True)
class Lever:
    """How a step is made.

    `numbers` is the type of mixed precision, `pixels` channels_last, `tf32` less precise products of single ones,
    `tried` that cuDNN tries its kernels, `repeatable` that it takes those alone that compute the same each time.
    """

    numbers: str | None = None
    pixels: bool = False
    tf32: bool = False
    tried: bool = False
    repeatable: bool = False


ANYWHERE: Final[Mapping[str, Lever]] = {
    "single precision": Lever(),
    "single, pixel by pixel": Lever(pixels=True),
}
ON_GPUS: Final[Mapping[str, Lever]] = {
    **ANYWHERE,
    "single, TF32 products": Lever(tf32=True),
    "single, repeatable": Lever(repeatable=True),
    "bfloat16": Lever("bfloat16"),
    "bfloat16, pixel by pixel": Lever("bfloat16", pixels=True),
    "float16": Lever("float16"),
    "float16, pixel by pixel": Lever("float16", pixels=True),
    "bfloat16, kernels tried": Lever("bfloat16", tried=True),
}


def measure_levers(run: Run, count: int, rounds: int) -> list[Row]:
    """Make so many steps with each lever, in turns, on one batch; memory is the GPU's, of one lever at work."""
    torch.set_num_threads(1)
    levers = ON_GPUS if run.gpu else ANYWHERE
    steps = {name: _steps(run, lever, count) for name, lever in levers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in levers}
    megabytes = dict.fromkeys(levers, 0.0)
    for _ in range(WARM_UP + rounds):
        for name, again in steps.items():
            if run.gpu:
                torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            seconds[name].append(seconds_of(again, "cpu"))
            megabytes[name] = (torch.cuda.max_memory_allocated() - before) / 2**20
    reference, *_ = seconds.values()
    work = count * run.batch_size
    return [row_of(n, work, s[WARM_UP:], reference[WARM_UP:], megabytes[n]) for n, s in seconds.items()]


def _steps(run: Run, lever: Lever, count: int) -> Callable[[], None]:
    run = replace(run, amp=lever.numbers is not None, channels_last=lever.pixels)
    config = hastened(build_config(run), run)
    if lever.numbers:
        config.optim_wrapper.dtype = lever.numbers
    with trainer(config, run) as (_, train_step):
        batch = first_batch(config)

    def again() -> None:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = lever.tried, lever.repeatable
        torch.backends.cuda.matmul.allow_tf32 = lever.tf32
        for _ in range(count):
            train_step(batch)

    return again

"""Ways to do the same work, measured in turns, so that what else runs on the machine slows all of them alike.

Runs in: command line. Each way has a process of its own, as what one does to its process would help the others.
"""

import importlib
import multiprocessing
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

Clock = Literal["cpu", "wall"]
Way = tuple[str, *tuple[Any, ...]]
"""`module.function` of raypose.bench and its arguments; it returns what is to be measured, as it is called again."""


@dataclass(frozen=True)
class Row:
    """One way: `per_second` of what is done, and its `ratio` to the first way's, from `low` to `high` over the rounds.

    `megabytes` is the most memory that its process had.
    """

    way: str
    per_second: float
    ratio: float
    low: float
    high: float
    megabytes: float


def compare(
    ways: Mapping[str, Way], work: int, rounds: int, told: Callable[[int, int], None], clock: Clock = "cpu"
) -> list[Row]:
    """Call all ways in turn, each for `work` units, `rounds` times after one to warm up; the first is the reference.

    Ratios are of the same round; their median is given. `told` hears how many rounds are done, and of how many.
    `clock` is the CPU time of a way's process, or for work that more of them share the time on the wall.
    """
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with ExitStack() as stack:
        pools = {way: stack.enter_context(_process(asked)) for way, asked in ways.items()}
        wait([pool.submit(_memory) for pool in pools.values()])  # they get ready all at once
        for count in range(rounds + 1):
            for way, pool in pools.items():
                seconds[way].append(pool.submit(measure, clock).result())
            told(count, rounds)
        memory = {way: pool.submit(_memory).result() for way, pool in pools.items()}
    reference, *_ = seconds.values()
    return [row_of(way, work, spent[1:], reference[1:], memory[way]) for way, spent in seconds.items()]


def row_of(way: str, work: int, spent: Sequence[float], reference: Sequence[float], megabytes: float) -> Row:
    """A way's row from the seconds of its rounds and the reference's."""
    ratios = [first / own for first, own in zip(reference, spent, strict=True)]
    per_second = work / statistics.median(spent)
    return Row(way, per_second, statistics.median(ratios), min(ratios), max(ratios), megabytes)


def _process(way: Way) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), prepare, way)


def aside(function: str, *arguments: Any) -> Any:
    """What `module.function` of raypose.bench returns, called once in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), warnings.simplefilter, ("ignore",)) as pool:
        return pool.submit(_call, function, *arguments).result()


def _call(function: str, *arguments: Any) -> Any:
    module, name = function.split(".")
    return getattr(importlib.import_module(f"raypose.bench.{module}"), name)(*arguments)


_prepared: list[Callable[[], None]] = []


def prepare(function: str, *arguments: Any) -> None:
    """Make this process one of a way: what it has to do is prepared, and not done yet."""
    import cv2
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    _prepared.append(_call(function, *arguments))


def measure(clock: Clock) -> float:
    """The seconds that this process takes for what was prepared."""
    return seconds_of(_prepared[0], clock)


def seconds_of(do: Callable[[], object], clock: Clock) -> float:
    """The seconds that this process takes for something; where a GPU takes part, until that is done."""
    import time

    import torch

    if clock == "cpu" and not torch.cuda.is_available():
        began = time.process_time()
        do()
        return time.process_time() - began
    _wait_for_gpu()
    began = time.perf_counter()
    do()
    _wait_for_gpu()
    return time.perf_counter() - began


def _wait_for_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _memory() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

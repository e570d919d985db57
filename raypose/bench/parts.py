"""The parts of `raypose bench`: what is compared, on which work. Runs in: command line."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from raypose.bench.photos import PHOTOS, paint
from raypose.bench.services import services
from raypose.bench.start import Course, measure_start
from raypose.bench.turns import Row, Way, compare
from raypose.datasets.demo import render_demo
from raypose.space.run import Run

Part = Literal["loader", "step", "epoch", "start"]
Told = Callable[[int, int], None]
PARTS: Final[tuple[Part, ...]] = ("loader", "step", "epoch", "start")
LOADED, STEPS, BATCH = 4 * PHOTOS, 4, 16
SIZES = {"loader": "256x256", "step": "128x128", "epoch": "128x128", "start": "128x128"}
UNIT = "people/s a core"
PEOPLE, VALIDATED = 800, 200  # as in the demo set


@dataclass(frozen=True)
class Comparison:
    """One table: what is done, of which `unit` so many a second, in several ways; the first is the reference."""

    title: str
    unit: str
    rows: list[Row]


def bench(part: Part, rounds: int, told: Told) -> list[Comparison | Course]:
    """Measure one part. `told` hears how many rounds, or tables, are done, and of how many."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        return [*MEASURES[part](folder, _run(folder, SIZES[part]), rounds, told)]


def _loading(folder: Path, run: Run, rounds: int, told: Told) -> Iterator[Comparison]:
    paint(folder / "data")
    title = f"loading people at {SIZES['loader']} from 1280x720 photos of 110 kB"
    yield Comparison(title, UNIT, compare(_loaders(run), LOADED, rounds, told))


def _stepping(folder: Path, run: Run, rounds: int, told: Told) -> Iterator[Comparison]:
    paint(folder / "data")
    title = f"training steps of rtmpose-n at {SIZES['step']}, {BATCH} people each"
    yield Comparison(title, UNIT, compare(_steps(run), STEPS * BATCH, rounds, told))


def _whole_epochs(folder: Path, run: Run, rounds: int, told: Told) -> Iterator[Comparison | Course]:
    render_demo(folder / "data", train=PEOPLE, val=VALIDATED)
    run = replace(run, train_people=PEOPLE)
    title = f"trials of an epoch at {SIZES['epoch']}: {PEOPLE} people trained, {VALIDATED} validated"
    yield Comparison(title, UNIT, compare(_epochs(run), PEOPLE, rounds, told))
    yield services(folder, replace(run, epochs=2))


MEASURES: Final = {"loader": _loading, "step": _stepping, "epoch": _whole_epochs, "start": measure_start}


def _run(folder: Path, size: str, **values: Any) -> Run:
    return Run(
        model="rtmpose-n",
        weights="demo",
        values={"input_size": size, **values},
        metric="PCK",
        epochs=1,
        batch_size=BATCH,
        loader_workers=0,
        amp=False,
        seed=0,
        workers=1,
        gpu=False,
        data=folder / "data",
        train_people=PHOTOS,
        folder=folder,
        data_digest=str(folder),
        cache_bytes=10**10,
    )


def _loaders(run: Run) -> dict[str, Way]:
    ways = {"MMPose's transforms": "stock", "raypose's": "fast", "raypose's, crop cache": "cached"}
    return {way: ("loader.load", run, how, LOADED) for way, how in ways.items()}


def _epochs(run: Run) -> dict[str, Way]:
    stock = replace(run, fast_transforms=False, channels_last=False)
    return {
        "MMEngine's Runner and MMPose, nothing kept": ("epoch.bare", stock),
        "raypose, with checkpoint and record": ("epoch.kept", run),
    }


def _steps(run: Run) -> dict[str, Way]:
    stock = replace(run, fast_transforms=False, channels_last=False, fused=False)
    freeze = {"none": "nothing", "stage2": "stem to stage2", "backbone": "the backbone"}
    return {
        "MMPose, backbone's rate 0": ("step.steps", stock, STEPS, True),
        "MMPose, all trained": ("step.steps", stock, STEPS),
        **{
            f"raypose, {words} frozen": ("step.steps", replace(run, values={**run.values, "freeze": choice}), STEPS)
            for choice, words in freeze.items()
        },
    }

"""The parts of `raypose bench`: what is compared, on which work. Runs in: command line."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from raypose.bench.photos import PHOTOS, paint
from raypose.bench.turns import Row, Way, compare
from raypose.space.run import Run

Part = Literal["loader", "step"]
PARTS: Final[tuple[Part, ...]] = ("loader", "step")
LOADED, STEPS, BATCH = 4 * PHOTOS, 4, 16
SIZES = {"loader": "256x256", "step": "128x128"}


@dataclass(frozen=True)
class Comparison:
    """One table: what is done, of which `unit` so many a second, in several ways; the first is the reference."""

    title: str
    unit: str
    rows: list[Row]


def bench(part: Part, rounds: int, told: Callable[[int, int], None]) -> Comparison:
    """Measure one part. `told` hears how many rounds are done, and of how many."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        paint(folder / "data")
        run = _run(folder, SIZES[part])
        if part == "loader":
            title = f"loading people at {SIZES[part]} from 1280x720 photos of 110 kB"
            return Comparison(title, "people/s a core", compare(_loaders(run), LOADED, rounds, told))
        title = f"training steps of rtmpose-n at {SIZES[part]}, {BATCH} people each"
        return Comparison(title, "people/s a core", compare(_steps(run), STEPS * BATCH, rounds, told))


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


def _steps(run: Run) -> dict[str, Way]:
    stock = replace(run, fast_transforms=False, channels_last=False)
    viewed = replace(run, values={**run.values, "freeze": "backbone"}, cached_views=1)
    freeze = {"none": "nothing", "stage2": "stem to stage2", "backbone": "the backbone"}
    return {
        "MMPose, backbone's rate 0": ("step.steps", stock, STEPS, True),
        "MMPose, all trained": ("step.steps", stock, STEPS),
        **{
            f"raypose, {words} frozen": ("step.steps", replace(run, values={**run.values, "freeze": choice}), STEPS)
            for choice, words in freeze.items()
        },
        "raypose, the backbone frozen, cached features, loading included": ("step.steps_on_views", viewed, STEPS),
    }

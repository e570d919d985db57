"""The parts of `raypose bench`: what is compared, on which work. Runs in: command line."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from raypose.bench.curves import CURVES, read_curves
from raypose.bench.photos import PHOTOS, paint
from raypose.bench.runs import small_run
from raypose.bench.search_table import SearchComparison
from raypose.bench.services import services
from raypose.bench.start import Course, measure_start
from raypose.bench.turns import Row, Way, aside, compare
from raypose.datasets.demo import render_demo
from raypose.space.run import Run

Told = Callable[[int, int], None]
LOADED, STEPS, BATCH = 4 * PHOTOS, 4, 16
SIZE, LOADED_SIZE = "128x128", "256x256"
ON_GPU = {"model": "rtmpose-m", "weights": "none", "values": {"input_size": "256x256"}, "batch_size": 256}
FEW_ON_GPU = {**ON_GPU, "batch_size": 64}
SMALL_ON_GPU = {**FEW_ON_GPU, "model": "rtmpose-t"}
BATCHES = 8  # of a round in which loader and model work at once
UNIT = "people/s a core"
PEOPLE, VALIDATED = 800, 200  # as in the demo set


@dataclass(frozen=True)
class Options:
    """How often each way is measured; of the replayed searches how many seeds, their table, and where to draw them.

    Of the simulated one how many trials there are, on how many lanes.
    """

    rounds: int = 5
    seeds: int = 30
    table: Path | None = None
    plot: Path | None = None
    lanes: int = 50
    trials: int = 300


@dataclass(frozen=True)
class Comparison:
    """One table: what is done, of which `unit` so many a second, in several ways; the first is the reference."""

    title: str
    unit: str
    rows: list[Row]

    @property
    def headings(self) -> tuple[str, ...]:
        """Of the columns."""
        return "", self.unit, "ratio", "from", "to", "MB"

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Each row's."""
        for row in self.rows:
            ratios = (f"{ratio:.2f}" for ratio in (row.ratio, row.low, row.high))
            yield row.way, f"{row.per_second:,.0f}", *ratios, f"{row.megabytes:,.0f}"


def bench(part: str, options: Options, told: Told) -> list[Any]:
    """Measure one part. `told` hears how many rounds, or tables, are done, and of how many."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        return [*MEASURES[part](folder, small_run(folder, SIZE, batch_size=BATCH, train_people=PHOTOS), options, told)]


def _loading(folder: Path, run: Run, options: Options, told: Told) -> Iterator[Comparison]:
    paint(folder / "data")
    title = f"loading people at {LOADED_SIZE} from 1280x720 photos of 110 kB"
    run = replace(run, values={"input_size": LOADED_SIZE})
    yield Comparison(title, UNIT, compare(_loaders(run), LOADED, options.rounds, told))


def _stepping(folder: Path, run: Run, options: Options, told: Told) -> Iterator[Comparison]:
    paint(folder / "data")
    run = as_here(run, FEW_ON_GPU)
    title = f"training steps of {run.model} at {run.values['input_size']}, {run.batch_size} people each"
    yield Comparison(title, UNIT, compare(_steps(run), STEPS * run.batch_size, options.rounds, told))


def _pulling(folder: Path, run: Run, options: Options, told: Told) -> Iterator[Comparison]:
    paint(folder / "data")
    runs = [as_here(run, settings) for settings in ((FEW_ON_GPU, ON_GPU) if _has_gpu() else ({},))]
    for done, one in enumerate(runs, 1):
        title = (
            f"steps of {one.model} at {one.values['input_size']}, {one.batch_size} people each, by precision and layout"
        )
        yield Comparison(title, UNIT, aside("levers.measure_levers", one, BATCHES, options.rounds))
        told(done, len(runs))


def _whole_epochs(folder: Path, run: Run, options: Options, told: Told) -> Iterator[Comparison | Course]:
    render_demo(folder / "data", train=PEOPLE, val=VALIDATED)
    run = as_here(replace(run, train_people=PEOPLE), {**FEW_ON_GPU, "loader_workers": _loaders_here()})
    title = f"trials of an epoch of {run.model} at {run.values['input_size']}: "
    title += f"{PEOPLE} people trained, {VALIDATED} validated"
    yield Comparison(title, UNIT, compare(_epochs(run), PEOPLE, options.rounds, told))
    yield services(folder, replace(run, epochs=2))


def _pipeline(folder: Path, run: Run, options: Options, told: Told) -> Iterator[Comparison]:
    paint(folder / "data")
    run = on_this_device(run, ON_GPU)
    title = f"training {run.model} at {run.values['input_size']} from photos, {run.batch_size} people a batch"
    rows = compare(_pipelines(run), BATCHES * run.batch_size, options.rounds, told, "wall")
    yield Comparison(f"{title}, {run.loader_workers} loader processes", "people/s", rows)


def _packing(folder: Path, run: Run, options: Options, told: Told) -> Iterator[Comparison]:
    paint(folder / "data")
    run = replace(on_this_device(run, SMALL_ON_GPU), loader_workers=0)
    title = f"trainings of {run.model} at {run.values['input_size']}, {run.batch_size} people a batch, on one machine"
    yield Comparison(
        title, "people/s in all", compare(_packed(run), BATCHES * run.batch_size, options.rounds, told, "wall")
    )


def _searching(folder: Path, run: Run, options: Options, told: Told) -> Iterator[SearchComparison]:
    from raypose.bench.search import replay_searches  # here, as it imports Ray

    replays = replay_searches(read_curves(options.table or CURVES), options.seeds, told)
    if options.plot:
        from raypose.display.plots import draw_searches

        draw_searches(replays, options.plot)
    yield replays.comparison


def _scaling(folder: Path, run: Run, options: Options, told: Told) -> Iterator[Any]:
    from raypose.bench.scale import scale  # here, as it imports Ray

    yield scale(options.lanes, options.trials, told)


MEASURES: Final[Mapping[str, Callable[[Path, Run, Options, Told], Iterable[Any]]]] = {
    "loader": _loading,
    "step": _stepping,
    "epoch": _whole_epochs,
    "start": lambda folder, run, options, told: measure_start(folder, run, options.rounds, told),
    "pipeline": _pipeline,
    "packing": _packing,
    "levers": _pulling,
    "search": _searching,
    "scale": _scaling,
}


def on_this_device(run: Run, on_gpu: Mapping[str, Any]) -> Run:
    """The run with what it is on a GPU, and with as many loader processes as leave a CPU to the training."""
    return as_here(replace(run, loader_workers=_loaders_here()), on_gpu)


def as_here(run: Run, on_gpu: Mapping[str, Any]) -> Run:
    """The run with what it is on a GPU, where there is one."""
    return replace(run, gpu=True, channels_last=False, **on_gpu) if _has_gpu() else run


def _loaders_here() -> int:
    return max(1, (os.cpu_count() or 1) - 1)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


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


def _pipelines(run: Run) -> dict[str, Way]:
    stock = replace(run, fast_transforms=False, channels_last=False, fused=False, amp=run.gpu)
    fast = replace(run, amp=run.gpu)
    return {
        "MMPose": ("joined.training", stock, "both", BATCHES),
        "raypose": ("joined.training", fast, "both", BATCHES),
        "its model alone": ("joined.training", fast, "model", BATCHES),
        "its loader alone": ("joined.training", fast, "loader", BATCHES),
    }


def _packed(run: Run) -> dict[str, Way]:
    """One training with a thread for each CPU; and as many with a thread each, or on a GPU several at once."""
    cpus = os.cpu_count() or 1
    counts = (2, 4, 8) if run.gpu else (cpus,)
    one: dict[str, Way] = {f"one, {cpus} threads": ("joined.together", run, 1, cpus, BATCHES)}
    return one | {f"{n} at once, a thread each": ("joined.together", run, n, 1, BATCHES) for n in counts}

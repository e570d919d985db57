"""What a search costs its driver beside a thousand GPUs, in simulated time. Runs in: command line.

Real are the searcher and scheduler that Tune calls, the study with its database, the trials' folders and epochs, the
screen, and the broker. Simulated are the lanes, whose epochs last a random time and hold their figures alone, and the
processes of Ray between all these, which run beside the driver.
"""

import asyncio
import math
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from raypose.bench.clock import SimulatedLoop
from raypose.bench.runs import small_run
from raypose.display.screen import LiveScreen
from raypose.record.epochs import commit_epoch, staging_folder
from raypose.record.folder import ExperimentFolder, create_experiment
from raypose.record.study import Study
from raypose.space.load import parse_spec
from raypose.space.run import Run
from raypose.space.trial import Trial
from raypose.tuning.broker import Broker, Message
from raypose.tuning.lookout import watched
from raypose.tuning.search import StudyScheduler, StudySearcher

EPOCHS, EPOCH_S, SIZE = 8, (30.0, 90.0), "128x128"
ROWS = (100, 1_000, 3_000, 10_000, 20_000, 30_000, 40_000, 50_000)
MEMORY = Path("/dev/shm")
SPACE: dict[str, Any] = {
    "lr": {"log_uniform": [1e-4, 1e-1]},
    "freeze": {"choice": ["none", "stem", "backbone"]},
    "lr_mult.backbone": {"log_uniform": [0.05, 1.0], "when": {"freeze": "none"}},
    "optim_wrapper.optimizer.weight_decay": {"uniform": [0.0, 0.1]},
}


@dataclass(frozen=True)
class Load:
    """What the driver's work came to from the row before up to `results` of epochs, of `trials` trials in all.

    CPU milliseconds: `result_ms`, `broker_ms` and `screen_ms` a result; `draw_ms` a trial, its begin included.
    `transactions` a result.
    """

    results: int
    trials: int
    result_ms: float
    draw_ms: float
    broker_ms: float
    screen_ms: float
    transactions: float
    megabytes: float


@dataclass
class _Counts:
    """So far: calls and CPU seconds of each kind of work."""

    calls: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, work: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.calls[work] = self.calls.get(work, 0) + 1
        self.seconds[work] = self.seconds.get(work, 0.0) + time.thread_time() - began

    def copy(self) -> "_Counts":
        mine = time.thread_time()
        seconds = {"everything": mine, "screen": time.process_time() - mine, **self.seconds}
        return _Counts(dict(self.calls), seconds)


@dataclass(frozen=True)
class Loads:
    """The table: the driver's work as the search grows."""

    title: str
    loads: list[Load]
    headings = (
        *("results", "trials", "ms a result", "ms a draw", "broker, ms a result", "screen, ms a result"),
        *("transactions a result", "MB"),
    )

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Each row's."""
        for load in self.loads:
            costs = (load.result_ms, load.draw_ms, load.broker_ms, load.screen_ms, load.transactions)
            yield f"{load.results:,}", f"{load.trials:,}", *(f"{cost:.2f}" for cost in costs), f"{load.megabytes:,.0f}"


def scale(lanes: int, trials: int, told: Callable[[int, int], None]) -> Loads:
    """Run a whole search of `trials` trials on `lanes` simulated lanes; `told` hears how many trials have ended."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        study = Study(*_made(Path(scratch), trials))
        study.fill_queue()
        loop = SimulatedLoop()
        try:
            loads = loop.run_until_complete(_Search(study, lanes, told).run())
        finally:
            loop.close()
    return Loads(f"{trials:,} trials on {lanes:,} simulated lanes, in CPU time of the driver", loads)


def _made(root: Path, trials: int) -> tuple[dict[str, Any], ExperimentFolder]:
    spec = {
        "space": SPACE,
        "search": {"trials": trials},
        "prune": {"pruner": "asha", "min_epochs": 2, "reduction": 3},
        "train": {"epochs": EPOCHS},
    }
    experiment = parse_spec(spec).model_dump(mode="json")
    saved = {"uid": "scale", "experiment": experiment, "base_values": {"lr": 4e-3, "freeze": "none"}}
    return saved, create_experiment(root, "scale", "", saved)


class _Search:
    """One search: what Tune does for it, its lanes, and the counts of it all."""

    def __init__(self, study: Study, lanes: int, told: Callable[[int, int], None]) -> None:
        self._study, self._lanes, self._told = study, lanes, told
        self._broker = Broker(retries=2, lanes=lanes)
        self._heard: asyncio.Queue[tuple[int, Message]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: set[int] = set()
        self._draw = random.Random(0)
        self._counts, self._loads, self._before = _Counts(), list[Load](), (_Counts().copy(), 0)

    async def run(self) -> list[Load]:
        """All trials to their ends."""
        screen = LiveScreen(Console(quiet=True))
        with watched(lambda: screen.show(self._study.glance(worked_on=True))) as changed:
            searcher = StudySearcher(self._study, self._broker, self._to_run, lambda: False)
            scheduler = StudyScheduler(self._study, self._decide, changed)
            for lane in range(self._lanes):
                self._start(self._serve(lane))
                self._begin(searcher)
            while self._running:
                number, message = await self._heard.get()
                if number in self._running and self._is_over(scheduler, number, message):
                    self._running.remove(number)
                    self._begin(searcher)
        self._add_row()
        await self._broker.close()
        await asyncio.gather(*self._tasks)
        return self._loads

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin(self, searcher: StudySearcher) -> None:
        with self._counts.of("draw"):
            job = searcher.suggest("")
        if not isinstance(job, str):
            self._running.add(job["number"])
            self._start(self._relay(job["number"], job["run"]))
        self._told(self._study.total - self._study.unfinished, self._study.total)

    def _is_over(self, scheduler: StudyScheduler, number: int, message: Message) -> bool:
        """As Tune does it for each message; a result is the message of an epoch and all that comes with it."""
        with self._counts.of(message["kind"]):
            stop = scheduler.on_trial_result(None, None, {"number": number, **message})
        if message["kind"] == "epoch" and self._counts.calls["epoch"] in ROWS:
            self._add_row()
        elif self._counts.calls.get("epoch") == 1:  # what comes before is the start, of all lanes at once
            self._before = self._counts.copy(), self._study.transactions
        return stop == "STOP" or message["kind"] == "end"

    async def _relay(self, number: int, run: dict[str, Any]) -> None:
        """As `relay` does it in a trial's own process."""
        await self._broker.submit(number, run)
        heard: list[Message] = []
        while not heard or heard[-1]["kind"] not in ("end", "abort"):
            news = await self._broker.messages(number, len(heard))
            heard += news
            for message in news:
                self._heard.put_nowait((number, message))

    def _decide(self, number: int, epoch: int, stop: bool) -> None:
        self._start(self._broker.decide(number, epoch, stop))

    async def _serve(self, lane: int) -> None:
        """As `serve` does it in a worker."""
        while (offer := await self._broker.next_job(lane)) != "close":
            if offer != "wait":
                number, run = offer
                await self._train(number, run["values"])
                await self._broker.end(lane, number, None)

    async def _train(self, number: int, values: Mapping[str, Any]) -> None:
        home = self._study.folder.trial(number)
        for epoch in range(1, EPOCHS + 1):
            await asyncio.sleep(self._draw.uniform(*EPOCH_S))
            with self._counts.of("training"):
                figure = _curve(values, epoch) + self._draw.random()
                commit_epoch(staging_folder(home, epoch), epoch, {"PCK": figure}, 60.0)
            if await self._broker.committed(number, epoch):
                return

    def _to_run(self, trial: Trial) -> Run:
        return small_run(self._study.folder.trial(trial.number), SIZE, values=dict(trial.values), epochs=EPOCHS)

    def _add_row(self) -> None:
        before, written = self._before
        now, transactions = self._counts.copy(), self._study.transactions

        def spent(*works: str) -> float:
            return 1e3 * sum(now.seconds.get(work, 0.0) - before.seconds.get(work, 0.0) for work in works)

        def calls(work: str) -> int:
            return now.calls.get(work, 0) - before.calls.get(work, 0)

        results, trials = max(calls("epoch"), 1), max(calls("draw"), 1)
        broker = spent("everything") - spent("draw", "begin", "epoch", "end", "training")
        self._loads.append(
            Load(
                results=now.calls["epoch"],
                trials=self._study.drawn,
                result_ms=spent("epoch", "end") / results,
                draw_ms=spent("draw", "begin") / trials,
                broker_ms=broker / results,
                screen_ms=spent("screen") / results,
                transactions=(transactions - written) / results,
                megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            )
        )
        self._before = now, transactions


def _curve(values: Mapping[str, Any], epoch: int) -> float:
    """A learning curve that knows which values are good."""
    loss = abs(math.log10(values["lr"] / 0.01)) + (values["freeze"] != "none") / 2
    return 80.0 * math.exp(-loss) * (1 - 0.6**epoch)

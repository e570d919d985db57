"""A result costs the driver and the broker as much after many trials as after few, counted in operations."""

import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from raypose.bench import scale
from raypose.bench.clock import SimulatedLoop
from raypose.bench.runs import small_run
from raypose.record.study import Study, read_view
from raypose.tuning.broker import Broker
from raypose.tuning.search import StudyScheduler, StudySearcher

LANES, TRIALS = 4, 60


class Operations:
    """Counts what this process does in the works it is given."""

    def __init__(self) -> None:
        self.counts = {"calls": 0, "statements": 0, "files": 0}
        self._counting = False
        sys.addaudithook(self._audit)
        event.listen(Engine, "before_cursor_execute", self._statement)

    def of(self, work: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
        """The work's result, and what it took."""
        before = dict(self.counts)
        with self.counted():
            result = work()
        return result, {what: count - before[what] for what, count in self.counts.items()}

    @contextmanager
    def counted(self) -> Iterator[None]:
        """What is done in this block counts."""
        self._counting = True
        sys.setprofile(self._profile)
        yield
        sys.setprofile(None)
        self._counting = False

    def _statement(self, *_: Any, **__: Any) -> None:
        self.counts["statements"] += self._counting

    def _profile(self, frame: FrameType, what: str, _: object) -> None:
        self.counts["calls"] += what in ("call", "c_call")

    def _audit(self, name: str, _: Any) -> None:
        self.counts["files"] += self._counting and name in ("open", "os.scandir", "os.listdir", "os.rename", "os.mkdir")


def search(folder: Path, looked: Callable[[Study], Any]) -> list[dict[str, int]]:
    """A search trial by trial, `LANES` of them at once; what each of its results took."""
    study = Study(*scale._made(folder, TRIALS))
    study.fill_queue()
    searcher = StudySearcher(
        study, None, lambda trial: small_run(folder, "64x64", values=dict(trial.values)), lambda: False
    )
    scheduler = StudyScheduler(study, lambda *_: None, lambda: looked(study))
    running, counted, operations = dict[int, tuple[int, dict[str, Any]]](), list[dict[str, int]](), Operations()

    def tell(number: int, **message: Any) -> str:
        return scheduler.on_trial_result(None, None, {"number": number, **message})  # type: ignore[arg-type]

    def begin() -> None:
        job = searcher.suggest("")
        if not isinstance(job, str):
            running[job["number"]] = (0, job["run"]["values"])
            tell(job["number"], kind="begin", attempt=1)

    for _ in range(LANES):
        begin()
    while running:
        for number, (before, values) in list(running.items()):
            epoch = before + 1
            staging = scale.staging_folder(study.folder.trial(number), epoch)
            scale.commit_epoch(staging, epoch, {"PCK": scale._curve(values, epoch)}, 1.0)
            stop, took = operations.of(partial(tell, number, kind="epoch", epoch=epoch))
            counted.append(took)
            running[number] = (epoch, values)
            if stop == "STOP" or epoch == scale.EPOCHS:
                tell(number, kind="end", error=None)
                del running[number]
                begin()
    assert read_view(study.folder).state == "finished"
    return counted


@pytest.fixture(scope="module")
def counted() -> list[dict[str, int]]:
    """A whole search, looked at after every message; in memory where there is one, as it needs no disk."""
    with tempfile.TemporaryDirectory(dir=scale.MEMORY if scale.MEMORY.is_dir() else None) as folder:
        return search(Path(folder), lambda study: study.glance(worked_on=True))


@pytest.mark.parametrize("what", ["calls", "statements", "files"])
def test_a_result_takes_as_many_operations_at_the_end_as_near_the_beginning(
    counted: list[dict[str, int]], what: str
) -> None:
    each = [took[what] for took in counted]
    share = len(each) // 5
    early, late = sum(each[20 : 20 + share]) / share, sum(each[-share:]) / share
    assert len(each) > 150 and 0 < late < 1.25 * early, (early, late)


def test_what_is_told_to_one_wakes_no_other() -> None:
    def calls(lanes: int) -> int:
        async def epochs() -> None:
            broker = Broker(retries=0, lanes=lanes)
            waiting = []
            for number in range(lanes):
                await broker.submit(number, {})
                await broker.next_job(number)
                waiting += [broker.messages(number, 1), broker.closing()]
            tasks = [asyncio.ensure_future(task) for task in waiting]
            await asyncio.sleep(1)
            with operations.counted():
                told = asyncio.ensure_future(broker.committed(0, 1))
                await asyncio.sleep(1)
                await broker.decide(0, 1, stop=False)
                await told
            await broker.close()
            await asyncio.gather(*tasks)

        operations, loop = Operations(), SimulatedLoop()
        try:
            loop.run_until_complete(epochs())
        finally:
            loop.close()
        return operations.counts["calls"]

    assert calls(300) < 1.5 * calls(3)


def test_the_search_is_counted_whole() -> None:
    loads = scale.scale(lanes=6, trials=12, told=lambda done, total: None).loads
    assert loads[-1].trials == 12 and loads[-1].results >= 12 * 2
    assert all(load.result_ms > 0 and load.draw_ms > 0 and load.broker_ms > 0 for load in loads)
    assert all(1 <= load.transactions < 3 and load.megabytes > 50 for load in loads)


def test_simulated_time_does_not_take_any() -> None:
    loop = SimulatedLoop()
    loop.run_until_complete(asyncio.sleep(1e9))
    assert loop.time() >= 1e9
    with pytest.raises(RuntimeError, match="everybody waits"):
        loop.run_until_complete(loop.create_future())
    loop.close()

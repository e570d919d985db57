"""Hands trials to lanes and carries what they report back. Runs in: an actor of its own.

Everything a lane says about a trial is kept until the end, so whoever listens may start again from the first message:
a trial's Tune process that dies and comes back loses nothing.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

PATIENCE_S = 60.0
"""How long a lane waits for a trial before it asks again: far less than a process group's timeout of half an hour."""


class Message(TypedDict, total=False):
    """What becomes of a trial: an attempt begins, an epoch is committed, the trial ends, or nobody is left to train it.

    An `end` is a verdict on the trial, with its error if it failed; after an `abort` it is as unfinished as before.
    """

    kind: Literal["begin", "epoch", "end", "abort"]
    attempt: int
    epoch: int
    error: str | None


@dataclass
class _Job:
    number: int
    run: dict[str, Any]
    changed: asyncio.Condition
    messages: list[Message] = field(default_factory=list)
    verdicts: dict[int, bool] = field(default_factory=dict)
    attempts: int = 0
    note: str = ""
    blamed: bool = True

    @property
    def over(self) -> bool:
        return bool(self.messages) and self.messages[-1]["kind"] in ("end", "abort")


Offer = tuple[int, dict[str, Any]] | Literal["wait", "close"]


class Broker:
    """One for an experiment; `lane` is a lane's number, `number` a trial's.

    Whoever waits hears of what it waits for and of nothing else: with a thousand lanes three thousand are waiting.
    """

    def __init__(self, retries: int, lanes: int) -> None:
        self._retries, self._lanes = retries, lanes
        self._lost: set[int] = set()
        self._jobs: dict[int, _Job] = {}
        self._queue: list[int] = []
        self._on_lane: dict[int, int] = {}
        self._asked: dict[int, int] = {}
        self._closed = False
        self._reason: str | None = None
        self._lock = asyncio.Lock()
        self._offer, self._end = asyncio.Condition(self._lock), asyncio.Condition(self._lock)

    async def submit(self, number: int, run: dict[str, Any]) -> None:
        """Queue a trial; nothing happens if it is here already."""
        async with self._lock:
            if number not in self._jobs:
                self._jobs[number] = _Job(number, run, asyncio.Condition(self._lock))
                self._queue.append(number)
                if self._closed:  # there will be no lane to take it
                    self._say(self._jobs[number], {"kind": "abort"})
                self._offer.notify_all()

    async def messages(self, number: int, after: int) -> list[Message]:
        """The trial's messages past the first `after`, as soon as there are any."""
        async with self._lock:
            job = self._jobs[number]
            await job.changed.wait_for(lambda: len(job.messages) > after)
            return job.messages[after:]

    async def next_job(self, lane: int, patience_s: float = PATIENCE_S) -> Offer:
        """A trial for a lane, `close` when there will be none, or `wait` when the lane shall ask again.

        A lane that asks with a trial in hand had died, and gets it again while the trial has attempts left.
        """
        async with self._lock:
            asked = self._asked[lane] = self._asked.get(lane, 0) + 1
            self._put_back(lane)
            found = self._offer.wait_for(lambda: self._closed or self._queue or self._asked[lane] != asked)
            try:
                await asyncio.wait_for(found, patience_s)
            except TimeoutError:
                return "wait"
            if self._closed or self._asked[lane] != asked:  # a dead worker's question must not take a trial
                return "close"
            job = self._jobs[self._queue.pop(0)]
            self._on_lane[lane] = job.number
            job.attempts += 1
            job.blamed = True
            self._say(job, {"kind": "begin", "attempt": job.attempts})
            return job.number, job.run

    def _put_back(self, lane: int, blame: bool = True) -> None:
        """Take back the trial of a lane that died: first in the queue, or ended if its attempts are used up."""
        job = self._jobs.get(self._on_lane.pop(lane, -1))
        if job is None or job.over:
            return
        if not blame or not job.blamed:
            job.attempts -= 1
        if job.attempts <= self._retries:
            self._queue.insert(0, job.number)
            self._offer.notify_all()
        else:
            reason = job.note or "its worker died"
            self._say(job, {"kind": "end", "error": f"{reason} (attempt {job.attempts} of {self._retries + 1})"})

    async def committed(self, number: int, epoch: int) -> bool:
        """A lane has committed an epoch; answers whether to stop, once that is decided."""
        async with self._lock:
            job = self._jobs[number]
            self._say(job, {"kind": "epoch", "epoch": epoch})
            await job.changed.wait_for(lambda: epoch in job.verdicts or job.over)
            return job.verdicts.get(epoch, True)

    async def decide(self, number: int, epoch: int, stop: bool) -> None:
        """The driver's decision after an epoch; after a stop the trial is over, whatever becomes of its lane."""
        async with self._lock:
            self._jobs[number].verdicts[epoch] = stop
            if stop:
                self._say(self._jobs[number], {"kind": "end", "error": None})
            self._jobs[number].changed.notify_all()

    async def note(self, number: int, reason: str, blamed: bool) -> None:
        """What a worker is about to die of, and whether that is to count as an attempt of the trial."""
        self._jobs[number].note, self._jobs[number].blamed = reason, blamed

    async def end(self, lane: int, number: int, error: str | None, again: bool = False) -> None:
        """A lane is done with a trial; `again` if another attempt may do better."""
        async with self._lock:
            job = self._jobs[number]
            if again:
                job.note = error or ""
                self._put_back(lane)
            else:
                self._on_lane.pop(lane, None)
                self._say(job, {"kind": "end", "error": error})

    async def lost(self, lane: int, reason: str) -> None:
        """A lane will not come back; its trial is for another one, and without any all are aborted."""
        async with self._lock:
            self._put_back(lane, blame=False)
            self._lost.add(lane)
            if len(self._lost) == self._lanes:
                self._close(f"the workers could not be kept running: {reason}")

    async def halt(self, reason: str) -> None:
        """Something is wrong that no other trial or lane would escape: no more trials until somebody has mended it."""
        async with self._lock:
            self._close(reason)

    async def why_closed(self) -> str | None:
        """What keeps the trials from being run; None if nothing does."""
        return self._reason

    async def close(self) -> None:
        """No more trials; those that wait or run are aborted."""
        async with self._lock:
            self._close()

    async def closing(self) -> None:
        """Returns as soon as there will be no more trials: what runs is to be paused."""
        async with self._lock:
            await self._end.wait_for(lambda: self._closed)

    def _close(self, reason: str | None = None) -> None:
        self._closed = True
        self._reason = self._reason or reason
        for job in self._jobs.values():
            self._say(job, {"kind": "abort"})
        self._offer.notify_all()
        self._end.notify_all()

    def _say(self, job: _Job, message: Message) -> None:
        if not job.over:
            job.messages.append(message)
            job.changed.notify_all()

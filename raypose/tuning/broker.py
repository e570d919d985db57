"""Hands trials to lanes and carries what they report back. Runs in: an actor of its own.

Everything a lane says about a trial is kept until the trial ends, so whoever listens may start again from the first
message: a trial's Tune process that dies and comes back loses nothing.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict


class Message(TypedDict, total=False):
    """What a lane says: an attempt begins, an epoch is committed, or the trial ends, with an error or without."""

    kind: Literal["begin", "epoch", "end"]
    epoch: int
    error: str | None


@dataclass
class _Job:
    number: int
    run: dict[str, Any]
    messages: list[Message] = field(default_factory=list)
    verdicts: dict[int, bool] = field(default_factory=dict)
    attempts: int = 0
    note: str = ""

    @property
    def ended(self) -> bool:
        return bool(self.messages) and self.messages[-1]["kind"] == "end"


class Broker:
    """One for an experiment; `lane` is a lane's number, `number` a trial's."""

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._jobs: dict[int, _Job] = {}
        self._queue: list[int] = []
        self._on_lane: dict[int, int] = {}
        self._closed, self._reason = False, ""
        self._changed = asyncio.Condition()

    async def submit(self, number: int, run: dict[str, Any]) -> None:
        """Queue a trial; nothing happens if it is here already."""
        async with self._changed:
            if number not in self._jobs:
                self._jobs[number] = _Job(number, run)
                self._queue.append(number)
                if self._closed:  # there will be no lane to take it
                    self._say(self._jobs[number], {"kind": "end", "error": self._reason})
                self._changed.notify_all()

    async def messages(self, number: int, after: int) -> list[Message]:
        """The trial's messages past the first `after`, as soon as there are any."""
        async with self._changed:
            job = self._jobs[number]
            await self._changed.wait_for(lambda: len(job.messages) > after)
            return job.messages[after:]

    async def next_job(self, lane: int) -> tuple[int, dict[str, Any]] | None:
        """The next trial for a lane; None when there will be none. A lane that asks with a trial in hand had died."""
        async with self._changed:
            self._end_if_hopeless(lane)
            if lane not in self._on_lane:
                await self._changed.wait_for(lambda: self._closed or self._queue)
                if self._closed:
                    return None
                self._on_lane[lane] = self._queue.pop(0)
            job = self._jobs[self._on_lane[lane]]
            job.attempts += 1
            self._say(job, {"kind": "begin"})
            return job.number, job.run

    def _end_if_hopeless(self, lane: int) -> None:
        job = self._jobs.get(self._on_lane.get(lane, -1))
        if job and job.attempts > self._retries:
            reason = job.note or "its worker died"
            self._say(job, {"kind": "end", "error": f"{reason} (attempt {job.attempts} of {self._retries + 1})"})
            del self._on_lane[lane]

    async def committed(self, number: int, epoch: int) -> bool:
        """A lane has committed an epoch; answers whether to stop, once that is decided."""
        async with self._changed:
            job = self._jobs[number]
            self._say(job, {"kind": "epoch", "epoch": epoch})
            await self._changed.wait_for(lambda: epoch in job.verdicts or job.ended)
            return job.verdicts.get(epoch, True)

    async def decide(self, number: int, epoch: int, stop: bool) -> None:
        """The driver's decision after an epoch."""
        async with self._changed:
            self._jobs[number].verdicts[epoch] = stop
            self._changed.notify_all()

    async def note(self, number: int, reason: str) -> None:
        """What one of several workers has died of, for the day nobody is left to tell."""
        self._jobs[number].note = reason

    async def end(self, lane: int, number: int, error: str | None) -> None:
        """A lane is done with a trial."""
        async with self._changed:
            self._on_lane.pop(lane, None)
            self._say(self._jobs[number], {"kind": "end", "error": error})

    async def close(self, reason: str | None) -> None:
        """No more trials; with a reason, those that wait or run end with it as their error."""
        async with self._changed:
            self._closed, self._reason = True, reason or "the lanes are closed"
            for job in self._jobs.values():
                if reason is not None and not job.ended:
                    self._say(job, {"kind": "end", "error": reason})
            self._changed.notify_all()

    def _say(self, job: _Job, message: Message) -> None:
        if not job.ended:
            job.messages.append(message)
        self._changed.notify_all()

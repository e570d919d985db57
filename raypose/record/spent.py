"""How long an experiment's trials have taken, over all its restores, and whether a budget of it is spent.

Runs in: driver, command line. The time runs from the start of the trials' workers on, as the GPUs are held from then.
It is written every few seconds: a kill loses no more than these.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raypose.record.files import read_whole, write_json
from raypose.record.view import Spent
from raypose.space.sections import Search

SPENT = "spent.json"
HOUR = 3600.0


class Meter:
    """The time of one experiment, kept in its `folder`, beside the budgets of its `search`."""

    def __init__(self, folder: Path, search: Search) -> None:
        self._file, self._limits = folder / SPENT, {"hours": search.hours, "gpu_hours": search.gpu_hours}
        self._before: dict[str, float] = read_whole(self._file) or {"hours": 0.0, "gpu_hours": 0.0}
        self._began: float | None = None
        self._gpus = 0.0
        self._lock = threading.RLock()  # a thread of its own keeps the time

    @contextmanager
    def running(self, gpus: float) -> Iterator[None]:
        """The trials' workers hold so many GPUs until the end of the block."""
        self._began, self._gpus = time.monotonic(), gpus
        try:
            yield
        finally:
            with self._lock:
                self._before, self._began = self._now(), None
                self.keep()

    def _now(self) -> dict[str, float]:
        with self._lock:
            hours = 0.0 if self._began is None else (time.monotonic() - self._began) / HOUR
            before = self._before
            return {"hours": before["hours"] + hours, "gpu_hours": before["gpu_hours"] + hours * self._gpus}

    def spent(self) -> Spent:
        """What has been spent by now, and the budget that this has used up, if any."""
        now = self._now()
        over = next((name for name, limit in self._limits.items() if limit is not None and now[name] >= limit), None)
        return Spent(**now, over=over)

    def keep(self) -> None:
        """Write down what has been spent by now."""
        with self._lock:
            write_json(self._file, self._now())


def duration(seconds: float) -> str:
    """In minutes and seconds, from an hour on in hours and minutes."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"

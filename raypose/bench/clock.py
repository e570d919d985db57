"""An event loop whose time is simulated: it never waits, and an hour passes when there is nothing else to do.

Runs in: command line.
"""

import asyncio
import math
import selectors
from collections.abc import Callable
from typing import Any


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Everything that waits for a time, `asyncio.sleep` and every timeout, waits for the simulated one."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Skipping(self._pass_by))

    def time(self) -> float:
        """Simulated seconds."""
        return self._now

    def _pass_by(self, seconds: float) -> None:
        self._now = math.nextafter(self._now + seconds, math.inf)  # or what is due this very instant never comes


class _Skipping(selectors.SelectSelector):
    def __init__(self, pass_by: Callable[[float], None]) -> None:
        super().__init__()
        self._pass_by = pass_by

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        if timeout is None:
            raise RuntimeError("everybody waits for somebody else")
        self._pass_by(timeout)
        return super().select(0)

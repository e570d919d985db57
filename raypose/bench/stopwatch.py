"""Functions timed as they call each other, while they do their work. Runs in: a process of its own."""

import functools
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

Spent = NDArray[np.float64]
"""Seconds, and seconds of this process on a CPU."""


def _now() -> Spent:
    return np.array([time.perf_counter(), time.process_time()])


class Stopwatch:
    """What was spent in each part, without the parts that are called inside it, since the last `restart`."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew."""
        self.spent: dict[str, Spent] = {}
        self._inside = [np.zeros(2)]  # of what is running, what its own parts have spent
        self._began = _now()

    def rest(self) -> Spent:
        """What was spent since then in none of the parts."""
        rest: Spent = _now() - self._began - self._inside[0]
        return rest

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Count what a function of a module or class spends from now on."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def watched(*arguments: Any, **named: Any) -> Any:
            began = _now()
            self._inside.append(np.zeros(2))
            try:
                return function(*arguments, **named)
            finally:
                whole = _now() - began
                self.spent[part] = self.spent.get(part, np.zeros(2)) + whole - self._inside.pop()
                self._inside[-1] += whole

        setattr(owner, name, watched)

"""An experiment for whoever looks often from another process: its record is read again only when it has changed.

Runs in: command line. Nothing is written, and the driver never waits for longer than it takes to read its database.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

from raypose.record.folder import VERDICT, ExperimentFolder
from raypose.record.spent import Meter
from raypose.record.study import read_view
from raypose.record.view import ExperimentView
from raypose.space.load import parse_spec

REST = 10  # times longer than a look takes until the next one
ELSEWHERE_S = 10.0  # between looks where Optuna keeps the study somewhere else


class Onlooker:
    """Looks at one experiment, with its final."""

    def __init__(self, folder: ExperimentFolder) -> None:
        self._folder = folder
        self._search = parse_spec(folder.saved["experiment"], empty_space=True).search
        self._view, self._mark = read_view(folder), self._state()
        self._next = 0.0

    def look(self) -> ExperimentView:
        """The experiment as it stands; the time spent is always the newest."""
        state, now = self._state(), time.monotonic()
        if state != self._mark and now >= self._next:
            self._view, self._mark = read_view(self._folder), state
            self._next = now + REST * (time.monotonic() - now)
        return replace(self._view, spent=Meter(self._folder.path, self._search).spent())

    def _state(self) -> tuple[object, ...]:
        """What changes with everything that is recorded."""
        elsewhere = 0.0 if self._search.storage == "auto" else time.monotonic() // ELSEWHERE_S
        return (elsewhere, self._folder.is_worked_on(), *self._times())

    def _times(self) -> Iterator[int]:
        for folder in (self._folder, self._folder.final):
            for file in (folder.study_file, folder.path / VERDICT):
                yield file.stat().st_mtime_ns if file.exists() else 0

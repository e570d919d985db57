"""What one process asks of another that works on an experiment: files in its folder, on whatever machine either runs.

Runs in: command line (asks), driver (looks). That of a trial stays: it is why the trial has ended, for a restore too.
"""

import time
from pathlib import Path

from raypose.record.files import write_json

STOP = "stop.json"
"""In an experiment's folder: it is to be stopped. In a trial's: it is to end with its running epoch."""


def ask_to_stop(folder: Path) -> Path:
    """Ask whoever works on it to stop the experiment of this folder, or to end the trial; returns the request."""
    request = folder / STOP
    write_json(request, {"asked": time.time()})
    return request


def is_to_end(trial: Path) -> bool:
    """Has somebody asked for the end of the trial of this folder?"""
    return (trial / STOP).is_file()


def is_to_stop(experiment: Path) -> bool:
    """Has somebody asked to stop the experiment of this folder?"""
    return (experiment / STOP).is_file()


def forget_stop(experiment: Path) -> None:
    """The experiment is being stopped, or the request came when nobody worked on it."""
    (experiment / STOP).unlink(missing_ok=True)

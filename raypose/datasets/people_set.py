"""The people that weights are tested on: of a folder in MPII layout, all of its validation or a part of it.

Runs in: command line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raypose.datasets.demo import DEMO_FOLDER, ensure_demo
from raypose.datasets.mpii import Report, require_sound
from raypose.datasets.split import Part


@dataclass(frozen=True)
class PeopleSet:
    """Validation people of a sound folder, under a `name`: with `held_out`, those of one part, as a search has them."""

    name: str
    report: Report
    part: Part = "val"
    held_out: float = 0.0


def named_set(name: str, say: Callable[[str], None], progress: Callable[[int, int], None]) -> PeopleSet:
    """All validation people of a folder, or of the demo set, which is rendered if it is not there.

    Raises DataError if the folder is no sound MPII layout.
    """
    if name == "demo":
        say(f"preparing the demo set in {DEMO_FOLDER}")
        ensure_demo(DEMO_FOLDER.absolute(), on_progress=progress)
    return PeopleSet(name, require_sound(DEMO_FOLDER.absolute() if name == "demo" else Path(name).absolute()))

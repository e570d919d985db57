"""CPU time and memory of a process and all that it has started, as Linux counts them. Runs in: command line."""

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from raypose.errors import ResourceError

PROC = Path("/proc")
TICKS_S = 1 / os.sysconf("SC_CLK_TCK")
LOOK_S = 0.25
DRIVER = "driver"


class Memory(NamedTuple):
    """Megabytes that a process holds: all of them, and its part where it shares them with others."""

    resident: float
    own_part: float


Spent = dict[str, float]
"""CPU seconds by the titles of processes: `driver` is the first of them, and most of Ray's have one."""


def require_linux() -> None:
    """Raise ResourceError where there is no /proc."""
    if not (PROC / "self" / "smaps_rollup").exists():
        raise ResourceError("what whole process trees cost is read from Linux's /proc, which this machine has not")


@contextmanager
def counted(root: int) -> Iterator[Callable[[], Spent]]:
    """Yields what tells the CPU time since the beginning of a process and of all below it, ended ones as last seen."""
    seen: dict[tuple[int, str], float] = {}
    titles: dict[tuple[int, str], str] = {}
    lock, over = threading.Lock(), threading.Event()

    def look() -> Spent:
        with lock:
            for process, began, seconds in _below(root):
                seen[process, began] = seconds
                named = DRIVER if process == root else _title(process)
                titles[process, began] = named or titles.get((process, began), "")
            spent: Spent = defaultdict(float)
            for key, seconds in seen.items():
                spent[titles[key]] += seconds
            return spent

    def watch() -> None:
        while not over.wait(LOOK_S):
            look()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield look
    finally:
        over.set()
        watching.join()


def _below(root: int) -> Iterator[tuple[int, str, float]]:
    """A process and all below it: number, when it began, CPU seconds."""
    children, found = defaultdict(list), {}
    for folder in PROC.glob("[0-9]*"):
        fields = _text(folder / "stat").rpartition(")")[2].split()
        if fields:
            children[int(fields[1])].append(int(folder.name))
            found[int(folder.name)] = fields[19], TICKS_S * (int(fields[11]) + int(fields[12]))
    tree = [root]
    for process in tree:
        tree += children[process]
    return ((process, *found[process]) for process in tree if process in found)


def memory(process: int) -> Memory:
    """What a process holds now."""
    lines = (PROC / str(process) / "smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return Memory(kilobytes["Rss"] / 1024, kilobytes["Pss"] / 1024)


def below_named(root: int, title: str) -> int:
    """The one process below another that has this title."""
    (found,) = [process for process, *_ in _below(root) if _title(process) == title]
    return found


def _title(process: int) -> str:
    """What a process of Ray calls itself, whatever it is doing; nothing for others."""
    name = _text(PROC / str(process) / "cmdline").split("\0")[0].split(" ")[0]
    return name.split(".")[0] if name.startswith("ray") else ""


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return ""

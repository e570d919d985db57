"""Files that are made once for all trainings on a machine, and make room for each other. Runs in: GPU worker."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

SUFFIXES = (".arrow", ".views")


def made_once(entry: Path, limit: int, make: Callable[[Path, int], None]) -> None:
    """Have an entry made, a file or a folder of files, unless it is there; all of them together take `limit` bytes.

    One process makes it while others on the machine wait. `make` is told where, and how many bytes there are for it,
    at most half of what the disk has free. Until it is whole it has another name, so that one that is killed, or finds
    the disk full, leaves nothing that counts. Raises OSError if it cannot be written.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(entry.with_suffix(".lock")):
        if not entry.exists():
            limit = min(limit, shutil.disk_usage(entry.parent).free // 2)
            staging = entry.with_suffix(".tmp")
            _remove(staging)
            try:
                make(staging, limit)
                os.replace(staging, entry)
            finally:
                _remove(staging)
        os.utime(entry)
    _forget_others(entry, limit)


def size_of(entry: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in (entry, *entry.glob("*")) if file.is_file())


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


def _forget_others(entry: Path, limit: int) -> None:
    """Remove what was not used for longest until all is within the limit; who still reads it keeps it until then."""
    others = [other for other in entry.parent.iterdir() if other.suffix in SUFFIXES and other != entry]
    others.sort(key=lambda other: other.stat().st_mtime)
    taken = sum(map(size_of, (entry, *others)))
    for other in others:
        if taken <= limit:
            return
        taken -= size_of(other)
        _remove(other)

"""A data folder that is put in place whole, by one process at a time. Runs in: command line."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from raypose.errors import DataError


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yields a folder to fill, which gets its own name when the block ends; a killed one's is yielded as it was left.

    What raises DataError leaves nothing behind; after anything else, a full disk say, the next call goes on with it.
    Raises DataError if the folder is there, or another process fills it.
    """
    folder = folder.absolute()
    require_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging, lock = (folder.with_name(f".{folder.name}.{end}") for end in ("partial", "lock"))
    try:
        with FileLock(lock, timeout=0):
            require_free(folder)  # another process may have been at its end just now
            staging.mkdir(exist_ok=True)
            try:
                yield staging
                os.rename(staging, folder)
            except DataError:
                shutil.rmtree(staging)
                raise
            finally:
                lock.unlink(missing_ok=True)
    except Timeout as fault:
        raise DataError(f"{folder}: another process is making it") from fault


def require_free(folder: Path) -> None:
    """Raise DataError if something has the folder's name."""
    if folder.exists() or folder.is_symlink():
        raise DataError(f"{folder}: is there already, and is never overwritten; name another with --out, or remove it")

"""Small files that are whole or not there, and that tell when they were changed. Runs in: GPU worker, driver.

Each JSON file holds a seal, the SHA-256 of its other keys, so that a cut or altered one is never taken for the truth.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raypose.errors import DamagedError, NoSpaceError

SEAL = "seal"
MB = 2**20
RESERVE = 32 * MB  # for the databases and logs of a running experiment
FULL = ("No space left on device", "database or disk is full", "Disk quota exceeded")


def read_json(path: Path) -> dict[str, Any]:
    """The keys of a JSON file. Raises DamagedError if it was cut or changed since it was written."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sealed = value.pop(SEAL)
    except (ValueError, AttributeError, KeyError, TypeError) as fault:
        raise DamagedError(path) from fault
    if sealed != _seal(value):
        raise DamagedError(path)
    return value


def read_whole(path: Path) -> dict[str, Any] | None:
    """The keys of a JSON file that can be made anew: None where there is none, or a damaged one."""
    try:
        return read_json(path)
    except (FileNotFoundError, DamagedError):
        return None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON file in one step, so that readers see the old or the new one."""
    staging = path.with_name(f".{path.name}.tmp")
    text = json.dumps({**value, SEAL: _seal(value)}, indent=1, allow_nan=False)
    staging.write_text(text + "\n", encoding="utf-8")
    flush(staging)
    os.replace(staging, path)


def require_space(folder: Path, needed: int) -> None:
    """Raise NoSpaceError unless the disk holds `needed` more bytes, and databases and logs besides."""
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE:
        short = needed + RESERVE - free
        raise NoSpaceError(
            f"{folder}: the next checkpoint needs {needed / MB:.0f} MB, and {free / MB:.0f} MB of the disk are free; "
            f"free {short / MB:.0f} MB or more"
        )


def is_full_disk(fault: BaseException | None) -> bool:
    """Whether an error, or its cause, is that a disk is full: in the words of the system, SQLite or safetensors."""
    if fault is None:
        return False
    said = isinstance(fault, NoSpaceError) or any(words in str(fault) for words in FULL)
    return said or getattr(fault, "errno", 0) in (errno.ENOSPC, errno.EDQUOT) or is_full_disk(fault.__cause__)


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Wait until the file or folder is on the disk, not only in the system's memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _seal(value: Mapping[str, Any]) -> str:
    """Of the values as JSON gives them back: tuples are lists, keys are texts, and their order does not count."""
    plain = json.loads(json.dumps(value, allow_nan=False))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

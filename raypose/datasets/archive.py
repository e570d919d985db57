"""The files that belong into a data folder, taken out of a tar archive that nobody has vouched for.

Runs in: command line. No path of an archive is ever written to: only names that were asked for are, under the place
that was asked for. An archive with links, devices or paths that lead elsewhere is refused as a whole, as is one that
unpacks to much more than its own size, which photos and annotations do not.
"""

import gzip
import hashlib
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from raypose.datasets.mpii_faults import shown
from raypose.errors import DataError, NoSpaceError

MB = 2**20
SPARE = 64 * MB  # that any archive may grow by when it is unpacked, besides a multiple of its size
LONGEST_READ = 64 * MB  # of a header, which tarfile reads at once
LARGEST = 256 * MB  # of one file
MOST = 250_000  # members, all of which tarfile keeps in memory; MPII has a tenth of it
RESERVE = 256 * MB  # of the disk, left free
GZIP = b"\x1f\x8b"

Progress = Callable[[int, int], None]
Place = Callable[[PurePosixPath], Path | None]
"""Where a member of an archive belongs below the data folder; None if it does not."""


@dataclass(frozen=True)
class Digests:
    """What tells an archive from any other."""

    bytes: int
    sha256: str
    md5: str


def digests(archive: Path, on_progress: Progress) -> Digests:
    """Read all of an archive once; `on_progress` gets (done, total) in megabytes."""
    size, sha256, md5 = archive.stat().st_size, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with archive.open("rb") as file:
        while block := file.read(MB):
            sha256.update(block)
            md5.update(block)
            on_progress(-(-file.tell() // MB), -(-size // MB))
    return Digests(size, sha256.hexdigest(), md5.hexdigest())


def unpack(archive: Path, folder: Path, place: Place, growth: int, on_progress: Progress) -> int:
    """Write each member that has a place to it below `folder`; returns how many there are.

    A file that is there with its whole size is kept, so that what was interrupted goes on. Unpacked, the archive may be
    `growth` times its size. Raises DataError if it is damaged or dangerous, and NoSpaceError before the disk is full.
    """
    size, written = archive.stat().st_size, set[Path]()
    with archive.open("rb") as raw, _members(archive, raw, growth * size + SPARE) as members:
        for number, member in enumerate(members):
            name = _sound_name(archive, member, number)
            target = place(name) if member.isreg() else None
            if target in written:
                raise _refused(archive, member, "comes twice")
            if target is not None:
                written.add(target)
                _write(members, member, folder / target)
            on_progress(-(-raw.tell() // MB), -(-size // MB))
    return len(written)


@contextmanager
def _members(archive: Path, raw: IO[bytes], most: int) -> Iterator[tarfile.TarFile]:
    """The archive, packed with gzip or not, of which at most so many bytes are read when it is unpacked."""
    packed = raw.read(len(GZIP)) == GZIP
    raw.seek(0)
    try:
        with (
            gzip.GzipFile(fileobj=raw) if packed else raw as plain,
            tarfile.TarFile(fileobj=_Forwards(plain, most)) as members,  # type: ignore[arg-type]  # what it calls of it
        ):
            yield members
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as fault:
        reason = re.sub(r"\s+", " ", str(fault))
        raise DataError(f"{archive}: is no whole tar archive ({reason}): download it again") from fault
    except _Refused as fault:
        raise DataError(f"{archive}: {fault}: that is no archive of photos and annotations") from fault


class _Refused(Exception):
    """An archive that is made to do harm."""


class _Forwards:
    """A file as tarfile reads it: only forwards, which ends any loop, at most `most` bytes, and not all at once."""

    def __init__(self, file: Any, most: int) -> None:
        self.file, self.most = file, most

    def read(self, size: int) -> bytes:
        """Up to so many bytes."""
        if not 0 <= size <= LONGEST_READ:
            raise _Refused("has an endless header")
        self._require(self.tell() + size)
        read: bytes = self.file.read(size)
        return read

    def seek(self, offset: int) -> int:
        """Go on at a place further on."""
        if offset < self.tell():
            raise _Refused("leads backwards")
        self._require(offset)
        return int(self.file.seek(offset))

    def tell(self) -> int:
        """How many bytes lie behind."""
        return int(self.file.tell())

    def _require(self, end: int) -> None:
        if end > self.most:
            raise _Refused(f"unpacks to more than {self.most // MB} MB, far more than its own size")


def _sound_name(archive: Path, member: tarfile.TarInfo, number: int) -> PurePosixPath:
    """The path of a file or folder; raises DataError for what no archive of photos holds."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise _refused(archive, member, "leads out of the folder")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise _refused(archive, member, "is a link, a device or another thing that is no file")
    if not 0 <= member.size <= LARGEST:
        raise _refused(archive, member, f"has {member.size} bytes, which no photo or annotation has")
    if number >= MOST:
        raise _refused(archive, member, f"comes after {MOST} others, more than a data set has")
    return name


def _refused(archive: Path, member: tarfile.TarInfo, why: str) -> DataError:
    return DataError(f"{archive}: {shown(member.name)} {why}: it is not unpacked; download the archive again")


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if target.is_file() and target.stat().st_size == member.size:
        return
    target.parent.mkdir(exist_ok=True)
    require_space(target.parent, member.size)
    content, half = members.extractfile(member), target.with_name(f".{target.name}.part")
    if content is not None:
        with content, half.open("wb") as file:
            shutil.copyfileobj(content, file, MB)
        if half.stat().st_size != member.size:
            raise tarfile.ReadError(f"{shown(member.name)} is cut off")
        os.replace(half, target)


def require_space(folder: Path, needed: int) -> None:
    """Raise NoSpaceError unless the disk holds so many more bytes, and some besides."""
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE:
        short = -(-(needed + RESERVE - free) // MB)
        raise NoSpaceError(
            f"{folder}: {needed // MB} MB are to be unpacked, and {free // MB} MB of the disk are free; "
            f"free {short} MB or more, and the same command goes on where it was"
        )

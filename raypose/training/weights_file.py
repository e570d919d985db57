"""A file of weights before it is read: fetched if it lies elsewhere, and refused if it is packed. Runs in: GPU worker.

`torch.hub` would unpack an archive that it has downloaded, and keeps half a file if the connection ends early.
"""

import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

import torch

from raypose.errors import WeightsError

_SILENCE_S = 60.0
_ZIP = b"PK\x03\x04"


def fetched(source: str) -> Path:
    """The file that a path or address names; what comes over http and https is kept in torch.hub's folder.

    Raises WeightsError for another kind of address and one with a password, and OSError if nothing whole comes.
    """
    if "://" not in source:
        return Path(source)
    address = urlsplit(source)
    if "@" in address.netloc:
        plain = urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2]))
        raise WeightsError(f"weights: {plain}: holds a user or password; download the file, and name it here")
    if address.scheme == "file":
        return Path(unquote(address.path))
    if address.scheme not in ("http", "https"):
        raise WeightsError(f"weights: {source}: give a file, or an address that begins with https, http or file")
    # Files of the same name lie at different addresses.
    key = hashlib.sha256(source.encode()).hexdigest()[:12]
    kept = Path(torch.hub.get_dir()) / "checkpoints" / f"{key}-{Path(unquote(address.path)).name}"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        _download(source, kept)
    return kept


def _download(address: str, kept: Path) -> None:
    """Make the file `kept`, whole or not at all, whoever else is doing so at the same time."""
    with (
        urlopen(Request(address, headers={"User-Agent": "raypose"}), timeout=_SILENCE_S) as reply,
        tempfile.TemporaryDirectory(dir=kept.parent, prefix=".new-") as staging,
    ):
        new = Path(staging) / "weights"
        with new.open("wb") as file:
            shutil.copyfileobj(reply, file)
        said, size = reply.headers.get("Content-Length"), new.stat().st_size
        if said is not None and int(said) != size:
            raise ConnectionError(f"the connection ended after {size} of {said} bytes; try again")
        os.replace(new, kept)


def require_unpacked(file: Path) -> None:
    """Raise WeightsError for a zip whose members are larger than the zip: PyTorch stores them as they are.

    It reads deflated ones as well, so that a small file could fill the memory.
    """
    with file.open("rb") as opened:
        if opened.read(len(_ZIP)) != _ZIP:
            return
        with zipfile.ZipFile(opened) as archive:
            members = archive.infolist()
    packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
    if packed or sum(member.file_size for member in members) > file.stat().st_size:
        raise WeightsError(
            f"weights: {file}: a compressed archive, which PyTorch does not write; unpack it, and name the file in it"
        )

"""An epoch on disk: a checkpoint folder that exists whole or not at all. Runs in: GPU worker (writes), driver (reads).

Nothing here knows what the files hold; `meta.json` lists them with their digests beside the epoch's metrics.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from raypose.record.view import Epoch

META = "meta.json"


def staging_folder(trial: Path, number: int) -> Path:
    """An empty folder to write epoch `number` (from 1) into; it counts for nothing until `commit_epoch`."""
    folder = trial / f".epoch_{number:04d}.tmp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def commit_epoch(staging: Path, number: int, metrics: Mapping[str, float], seconds: float) -> Path:
    """Make the epoch exist: write `meta.json`, flush everything and rename the folder into place."""
    files = {f.name: {"bytes": f.stat().st_size, "sha256": _digest(f)} for f in sorted(staging.iterdir())}
    meta = {"epoch": number, "metrics": dict(metrics), "seconds": seconds, "files": files}
    write_json(staging / META, meta)
    for file in staging.iterdir():
        _flush(file)
    final = staging.with_name(f"epoch_{number:04d}")
    damaged = staging.with_name(f".epoch_{number:04d}.damaged")
    if final.exists():  # an epoch done again because its files had been damaged
        final.rename(damaged)
    staging.rename(final)
    shutil.rmtree(damaged, ignore_errors=True)
    _flush(final.parent)
    return final


def read_epochs(trial: Path) -> tuple[Epoch, ...]:
    """The committed epochs 1, 2, ... of a trial, without looking into their files."""
    epochs: list[Epoch] = []
    for folder in sorted(trial.glob("epoch_[0-9][0-9][0-9][0-9]")):
        if not (folder / META).is_file():  # being replaced this very moment
            break
        meta = read_json(folder / META)
        if meta["epoch"] == len(epochs) + 1:
            kept = not meta.get("retired", False)
            epochs.append(Epoch(meta["epoch"], meta["metrics"], folder, meta["seconds"], kept))
    return tuple(epochs)


def is_intact(epoch: Epoch) -> bool:
    """Do all files of the epoch still have the digests they were committed with?"""
    files = read_json(epoch.folder / META)["files"]
    return epoch.has_weights and all(
        (epoch.folder / name).is_file() and _digest(epoch.folder / name) == entry["sha256"]
        for name, entry in files.items()
    )


def retire(epoch: Epoch) -> None:
    """Give the epoch's disk space back; its metrics stay."""
    write_json(epoch.folder / META, {**read_json(epoch.folder / META), "retired": True})
    for file in epoch.folder.iterdir():
        if file.name != META:
            file.unlink()


def copy_record(trial: Path, copy: Path) -> None:
    """Copy the small files of a trial, above all its epochs' metrics with their times, but no tensors and no log."""
    for file in (*trial.glob(f"epoch_*/{META}"), *trial.glob("*.json"), *trial.glob("config.py")):
        target = copy / file.relative_to(trial)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
        _flush(target)


def read_copied(copy: Path, origin: Path) -> tuple[Epoch, ...]:
    """The epochs of a copied record; each has the weights that still lie where it was trained."""
    metas = [(epoch, origin / epoch.folder.name / META) for epoch in read_epochs(copy)]
    return tuple(replace(epoch, has_weights=_is_origin(meta, epoch)) for epoch, meta in metas)


def _is_origin(meta: Path, copied: Epoch) -> bool:
    """Another experiment may have come to be at the same place."""
    there = read_json(meta) if meta.is_file() else {}
    return bool(there == read_json(copied.folder / META)) and not there.get("retired", False)


def read_json(path: Path) -> Any:
    """Parse a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: object) -> None:
    """Replace a JSON file in one step, so that readers see the old or the new one."""
    staging = path.with_name(f".{path.name}.tmp")
    staging.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    _flush(staging)
    os.replace(staging, path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Wait until the file or folder is on the disk, not only in the system's memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

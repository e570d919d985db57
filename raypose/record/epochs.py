"""An epoch on disk: a checkpoint folder that exists whole or not at all. Runs in: GPU worker (writes), driver (reads).

Nothing here knows what the files hold; `meta.json` lists them with their digests beside the epoch's metrics.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from raypose.errors import DamagedError
from raypose.record.files import digest, flush, read_json, read_whole, write_json
from raypose.record.view import Epoch, best_epoch

META = "meta.json"
PARTIAL = "partial"  # an epoch that was paused: its `meta.json` tells how many whole ones are before it


def staging_folder(trial: Path, number: int) -> Path:
    """An empty folder to write epoch `number` (from 1) into; it counts for nothing until `commit_epoch`."""
    folder = trial / f".epoch_{number:04d}.tmp"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def commit_epoch(staging: Path, number: int, metrics: Mapping[str, float], seconds: float) -> Path:
    """Make the epoch exist: write `meta.json`, flush everything and rename the folder into place."""
    files = {f.name: {"bytes": f.stat().st_size, "sha256": digest(f)} for f in sorted(staging.iterdir())}
    meta = {"epoch": number, "metrics": dict(metrics), "seconds": seconds, "files": files}
    write_json(staging / META, meta)
    for file in staging.iterdir():
        flush(file)
    final = staging.with_name(f"epoch_{number:04d}")
    damaged = staging.with_name(f".epoch_{number:04d}.damaged")
    if final.exists():  # an epoch done again because its files had been damaged
        final.rename(damaged)
    staging.rename(final)
    shutil.rmtree(damaged, ignore_errors=True)
    flush(final.parent)
    return final


def read_epochs(trial: Path) -> tuple[Epoch, ...]:
    """The committed epochs 1, 2, ... of a trial up to the first damaged one, without looking into their checkpoints."""
    epochs: list[Epoch] = []
    for folder in sorted(trial.glob("epoch_[0-9][0-9][0-9][0-9]")):
        try:
            meta = _read_meta(folder / META)
        except (FileNotFoundError, DamagedError):  # being replaced this very moment, or told of by `damage`
            break
        if meta["epoch"] == len(epochs) + 1:
            kept = not meta.get("retired", False)
            epochs.append(Epoch(meta["epoch"], meta["metrics"], folder, meta["seconds"], kept))
    return tuple(epochs)


def _read_meta(path: Path) -> dict[str, Any]:
    """Parsed once, as long as it is not replaced: a driver looks at all epochs whenever one is added."""
    found = path.stat()
    return _parsed_meta(path, found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=100_000)
def _parsed_meta(path: Path, *_: int) -> dict[str, Any]:
    return read_json(path)


def ended_at(epoch: Epoch) -> float:
    """When the epoch was recorded, in seconds since 1970; a copied record keeps it."""
    return (epoch.folder / META).stat().st_mtime


def damage(trial: Path) -> list[str]:
    """What of a trial's epochs is lost, a line each: those that cannot be read any more, and cut or altered files."""
    epochs = read_epochs(trial)
    lost = sorted(trial.glob("epoch_[0-9][0-9][0-9][0-9]"))[len(epochs) :]
    found = [f"{epoch.folder}: damaged checkpoint" for epoch in epochs if epoch.has_weights and not is_intact(epoch)]
    return found + [f"{folder}: damaged, or behind a damaged epoch" for folder in lost]


def is_intact(epoch: Epoch) -> bool:
    """Do all files of the epoch still have the digests they were committed with?"""
    files = read_json(epoch.folder / META)["files"]
    return epoch.has_weights and all(
        (epoch.folder / name).is_file() and digest(epoch.folder / name) == entry["sha256"]
        for name, entry in files.items()
    )


def last_whole(trial: Path) -> Epoch | None:
    """The trial's last epoch whose files are whole: what a training goes on from."""
    return next((epoch for epoch in reversed(read_epochs(trial)) if is_intact(epoch)), None)


def keep_last_and_best(epochs: tuple[Epoch, ...], metric: str) -> None:
    """Free the space of all other epochs; to be called only when the last one is committed and reported."""
    for epoch in _spare(epochs, metric):
        retire(epoch)


def _spare(epochs: tuple[Epoch, ...], metric: str) -> list[Epoch]:
    best = best_epoch(epochs, metric)
    return [epoch for epoch in epochs[:-1] if epoch != best]


def tidy(trial: Path, metric: str) -> None:
    """Remove what a kill has left of a trial that nobody trains now: half epochs, and those that were to be freed.

    These stay where the last epoch is damaged, as the training goes on from one of them.
    """
    epochs, paused = read_epochs(trial), read_whole(trial / PARTIAL / META)
    for half in trial.glob(".*"):
        shutil.rmtree(half) if half.is_dir() else half.unlink()
    if paused is None or paused["epoch"] < len(epochs):
        shutil.rmtree(trial / PARTIAL, ignore_errors=True)
    if any(len(list(epoch.folder.iterdir())) > 1 for epoch in _spare(epochs, metric)) and is_intact(epochs[-1]):
        keep_last_and_best(epochs, metric)


def retire(epoch: Epoch) -> None:
    """Give the epoch's disk space back; its metrics stay. Done again, it ends what a kill had cut off."""
    if epoch.has_weights:
        meta = epoch.folder / META
        made = meta.stat().st_mtime_ns
        write_json(meta, {**read_json(meta), "retired": True})
        os.utime(meta, ns=(made, made))  # it still tells when the epoch ended
    for file in epoch.folder.iterdir():
        if file.name != META:
            file.unlink()


def copy_record(trial: Path, copy: Path) -> None:
    """Copy the small files of a trial, above all its epochs' metrics with their times, but no tensors and no log."""
    for file in (*trial.glob(f"epoch_*/{META}"), *trial.glob("*.json"), *trial.glob("config.py")):
        target = copy / file.relative_to(trial)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
        flush(target)


def read_copied(copy: Path, origin: Path) -> tuple[Epoch, ...]:
    """The epochs of a copied record; each has the weights that still lie where it was trained."""
    metas = [(epoch, origin / epoch.folder.name / META) for epoch in read_epochs(copy)]
    return tuple(replace(epoch, has_weights=_is_origin(meta, epoch)) for epoch, meta in metas)


def _is_origin(meta: Path, copied: Epoch) -> bool:
    """Another experiment may have come to be at the same place."""
    there = read_json(meta) if meta.is_file() else {}
    return bool(there == read_json(copied.folder / META)) and not there.get("retired", False)

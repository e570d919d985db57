"""An epoch that was paused, on disk in `partial/`: whole or not there, like an epoch's checkpoint. Runs in: GPU worker.

Beside the state of the training it holds what is each rank's own: the epoch's scalars so far, of which its figures are
means, and the buffers of BatchNorm where they are not synchronised.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine import dist
from mmengine.runner import Runner
from safetensors.torch import load_file, save_file
from torch import Tensor

from raypose.record.epochs import META, PARTIAL
from raypose.record.files import digest, flush, read_whole, write_json
from raypose.training.checkpoint import buffers, load_state, save_state

RANKS = "ranks.safetensors"
STAGING, REPLACED = f".{PARTIAL}.tmp", f".{PARTIAL}.old"
SCALARS = "train/"


def write_partial(runner: Runner, trial: Path, step: int, batch: Sequence[int], seconds: float) -> None:
    """Save the running epoch after its first `step` batches; all ranks call it.

    `batch` is what the steps are made of, (workers, batch size, accumulation); `seconds` is the epoch's time so far.
    """
    ranks = dist.all_gather_object({**_scalars(runner, step), **_to_cpu(buffers(runner))})
    if dist.is_main_process():
        staging = trial / STAGING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        save_state(runner, staging)
        save_file(_differing(ranks), staging / RANKS)
        files = {file.name: digest(file) for file in sorted(staging.iterdir())}
        meta = {"epoch": runner.epoch, "step": step, "batch": list(batch), "seconds": seconds, "files": files}
        write_json(staging / META, meta)
        for file in staging.iterdir():
            flush(file)
        _put_in_place(trial)
    dist.barrier()


def resume_partial(runner: Runner, trial: Path, batch: Sequence[int]) -> tuple[int, float]:
    """Go on within the epoch after the last whole one, if it was paused with the same batch; all ranks call it.

    Returns the steps and the seconds that were spent on it: none where there is nothing to go on from.
    """
    found: list[tuple[int, float]] = [(0, 0.0)]
    if dist.is_main_process() and (trial / PARTIAL).is_dir():
        found = [_usable(runner, trial / PARTIAL, batch)]
    if dist.get_world_size() > 1:
        dist.broadcast_object_list(found, src=0)
    step, seconds = found[0]
    if step:
        load_state(runner, trial / PARTIAL, step)
        _load_rank(runner, load_file(trial / PARTIAL / RANKS))
    return step, seconds


def drop_partial(trial: Path) -> None:
    """Remove what was paused: the epoch is whole."""
    for name in (PARTIAL, STAGING, REPLACED):
        shutil.rmtree(trial / name, ignore_errors=True)


def _usable(runner: Runner, folder: Path, batch: Sequence[int]) -> tuple[int, float]:
    meta, epoch = read_whole(folder / META), runner.epoch + 1
    if meta is None or any(not (folder / f).is_file() or digest(folder / f) != d for f, d in meta["files"].items()):
        reason = "it is damaged"
    elif meta["epoch"] != runner.epoch:
        reason = f"it is of epoch {meta['epoch'] + 1}"
    elif meta["batch"] != list(batch):
        reason = f"its steps are of {_words(meta['batch'])}, and now of {_words(batch)}"
    else:
        runner.logger.info(f"going on in epoch {epoch} after step {meta['step']}")
        return meta["step"], meta["seconds"]
    runner.logger.warning(f"epoch {epoch} begins anew; what was saved of a paused epoch is not used: {reason}")
    return 0, 0.0


def _words(batch: Sequence[int]) -> str:
    workers, people, accumulation = batch
    return f"{workers} workers x {people} people x {accumulation} accumulated"


def _put_in_place(trial: Path) -> None:
    if (trial / PARTIAL).exists():  # paused again before the epoch was whole
        shutil.rmtree(trial / REPLACED, ignore_errors=True)
        (trial / PARTIAL).rename(trial / REPLACED)
    (trial / STAGING).rename(trial / PARTIAL)
    flush(trial)
    shutil.rmtree(trial / REPLACED, ignore_errors=True)


def _scalars(runner: Runner, step: int) -> dict[str, Tensor]:
    """This rank's values of the epoch's steps, in full precision."""
    kept = {key: buffer for key, buffer in runner.message_hub.log_scalars.items() if key.startswith(SCALARS)}
    return {key: torch.tensor(buffer.data[0][-step:], dtype=torch.float64) for key, buffer in kept.items()}


def _to_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}


def _differing(ranks: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """All of rank 0, and of the others what is not as there, by `<rank>/<name>`."""
    first = ranks[0]
    return {
        f"{rank}/{name}": tensor.contiguous()
        for rank, tensors in enumerate(ranks)
        for name, tensor in tensors.items()
        if rank == 0 or not torch.equal(tensor, first[name])
    }


def _load_rank(runner: Runner, saved: dict[str, Tensor]) -> None:
    """Put this rank's scalars and buffers back; what it has not for itself is as on rank 0."""
    places = [(key.partition("/"), tensor) for key, tensor in saved.items()]
    mine = {name: tensor for owner in (0, dist.get_rank()) for (rank, _, name), tensor in places if rank == str(owner)}
    own = buffers(runner)
    for name, tensor in mine.items():
        if name in own:
            own[name].copy_(tensor)
            continue
        for value in tensor.tolist():
            runner.message_hub.update_scalar(name, value)

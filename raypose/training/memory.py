"""A batch that memory does not hold: split it, accumulate its parts, and remember that. Runs in: GPU worker.

An optimizer step sees as many people as before, so the learning rate keeps its meaning and the schedule its steps. Only
BatchNorm, which cannot be accumulated, sees fewer at a time.
"""

import ctypes
import dataclasses
import gc

import torch

from raypose.errors import WorkError
from raypose.record.files import read_whole, write_json
from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.schedule import BATCH_SIZE

KEPT = "batch.json"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES, LARGE_BYTES = 2**29, 2**25  # the latter is the most that glibc takes


def fitting(run: Run) -> Run:
    """The run, with its batch in the parts that an earlier attempt found necessary.

    Raises WorkError if memory did not even hold a single person.
    """
    kept = read_whole(run.folder / KEPT)
    if kept is None:
        return run
    if kept["batch_size"] == 0:
        width, height = build_config(run).model.head.input_size
        raise WorkError(
            f"out of memory with batch 1 at input size {width}x{height}: choose a smaller input_size or model, set "
            f"train.amp, or train on devices with more memory; to try once more, delete {run.folder / KEPT}"
        )
    values = {**run.values, **({BATCH_SIZE: kept["batch_size"]} if BATCH_SIZE in run.values else {})}
    return dataclasses.replace(run, values=values, **kept)


def split(run: Run) -> None:
    """Keep for all attempts to come that this run's batch is to be split into the fewest equal parts."""
    batch = batch_of(run)
    parts = next((n for n in range(2, batch + 1) if batch % n == 0), 2)  # 2 parts of batch 1 are 0: nothing fits
    write_json(run.folder / KEPT, {"batch_size": batch // parts, "accumulation": run.accumulation * parts})


def is_out_of_memory(fault: BaseException) -> bool:
    """Whether a device or the machine had no memory left; on a CPU torch and oneDNN raise a plain RuntimeError."""
    said = any(words in str(fault) for words in ("can't allocate memory", "could not create a primitive"))
    return said or isinstance(fault, torch.OutOfMemoryError | MemoryError)


def batch_of(run: Run) -> int:
    """The people that one worker's model sees at a time; a value for it stands above the run's own."""
    return int(run.values.get(BATCH_SIZE) or run.batch_size)


def describe(given: Run, run: Run) -> str:
    """For the log: what became of the batch that did not fit."""
    batch = batch_of(run)
    return (
        f"batch {batch_of(given)} does not fit: {batch} x {run.accumulation} accumulated; "
        f"the effective batch stays {run.workers * batch * run.accumulation}; "
        f"BatchNorm sees {batch * (run.workers if run.gpu else 1)}"
    )


def keep_freed() -> None:
    """Have this process keep memory that it frees, up to half a gigabyte, where its C library can be told.

    glibc gives large blocks, such as every decoded photo, back to the system at once, and gets the next one page by
    page: 40 % of the time that decoding 1280x720 takes, and 4 % of a training step on a CPU.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def release() -> None:
    """Give back what a training held: its objects refer to each other, and CUDA keeps freed memory for itself."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

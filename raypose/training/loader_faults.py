"""Errors of loader processes, told as they were raised there. Runs in: GPU worker, `raypose lr-range`."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger

WRAPPED = re.compile(r"Caught (\w+) in DataLoader worker process \d+\.\nOriginal ")


@contextmanager
def told_plainly() -> Iterator[None]:
    """Raise a loader process's error with its own text; torch's text, the whole traceback, goes to the log."""
    try:
        yield
    except Exception as fault:  # torch raises it again as whatever it was in the loader process
        wrapped = WRAPPED.match(str(fault))
        if wrapped is None:
            raise
        MMLogger.get_current_instance().info(str(fault))
        # They hold the loader processes, in a circle with the fault, which torch keeps: it would cost 5 s to collect.
        traceback.clear_frames(fault.__traceback__)
        kind = wrapped[1]
        text = re.split(rf"^(?:\w+\.)*{kind}(?:: |$)", str(fault), flags=re.MULTILINE)[-1].strip()
        if type(fault).__name__ == kind:
            raise type(fault)(text) from fault
        raise RuntimeError(f"{kind}: {text}") from fault  # torch could not make one of that kind from a text

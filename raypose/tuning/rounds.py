"""What the driver does every second beside the trials: it keeps their time, and hears who asks it to stop.

Runs in: driver, in a thread of its own. Whoever asks may be on another machine: the question is a file in the record.
"""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from raypose.record.requests import forget_stop, is_to_stop
from raypose.record.spent import Meter

ROUND_S, KEEP_S = 1.0, 5.0


@contextmanager
def rounds(experiment: Path, meter: Meter, gpus: float) -> Iterator[None]:
    """Keep the time of this block, in which the trials hold so many `gpus`; end it by SIGTERM if that is asked for.

    To be entered by the main thread, which hears signals. What fails in a round is raised at the end of the block.
    """
    over = threading.Event()

    def work() -> None:
        kept = time.monotonic()
        while not over.wait(ROUND_S):
            if is_to_stop(experiment):
                forget_stop(experiment)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)  # wakes it where it waits
            if time.monotonic() - kept > KEEP_S:
                meter.keep()
                kept = time.monotonic()

    with meter.running(gpus), ThreadPoolExecutor(1, "rounds") as pool:
        walking = pool.submit(work)
        try:
            yield
        finally:
            over.set()
    walking.result()

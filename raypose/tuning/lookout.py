"""Looks at what changes from time to time, however often it does. Runs in: driver, in a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

LEAST_S = 0.2
REST = 10
"""How many times longer than a look the pause after it is: what is seen does not slow down what happens."""


@contextmanager
def watched(look: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Call `look` after changes, and once more at a good end; yields what is to be called after each change.

    What fails in a look is raised at the end of the block, and nobody looks until then.
    """
    news, over = threading.Event(), threading.Event()

    def work() -> None:
        while not over.is_set():
            news.wait()
            news.clear()
            began = time.monotonic()
            look()
            over.wait(max(LEAST_S, REST * (time.monotonic() - began)))

    with ThreadPoolExecutor(1, "lookout") as pool:
        looking = pool.submit(work)
        try:
            yield news.set
        finally:
            over.set()
            news.set()
    looking.result()
    look()

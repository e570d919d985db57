"""Keeps MLflow up to date beside the training, whatever becomes of MLflow. Runs in: driver, in a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable

from raypose.record.view import ExperimentView
from raypose.tracking.store import Store, damage, without_password

_log = logging.getLogger(__name__)
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_LAST_WAITS_S = (1.0, 2.0)
# A mirror that was given up at its end may still wait for an answer when the next one begins: two that look before
# they make a run would both make it.
_one_at_a_time = threading.Lock()


class MirrorThread:
    """Mirrors what `read` returns into `store` after each `poke`; `on_runs` hears of new run ids of trials.

    Both callables run in this thread. Nothing that fails in it stops the caller: an outage is logged once, tried again
    after 1, 2, 4 ... 60 seconds, and the next success brings everything that was missed.
    """

    def __init__(
        self, store: Store, read: Callable[[], ExperimentView], on_runs: Callable[[dict[int, str]], None]
    ) -> None:
        self._store = store
        self._read = read
        self._on_runs = on_runs
        self._runs: dict[int, str] = {}
        self._error: str | None = None
        self._poked = self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def poke(self) -> None:
        """Say that the record has news; returns at once, and any number of calls become one sync."""
        self._tell(closing=False)

    def close(self, timeout_s: float) -> str | None:
        """Mirror a last time and end; returns what is wrong if MLflow does not hold everything after `timeout_s`."""
        self._tell(closing=True)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return self._error or f"MLflow at {self._store.address} did not take everything in {timeout_s:g} seconds"
        return self._error

    def _tell(self, closing: bool) -> None:
        with self._changed:
            self._poked = True
            self._closing = self._closing or closing
            self._changed.notify()

    def _work(self) -> None:
        from raypose.tracking.mirror import Mirror  # here, as MLflow takes two seconds that no trial shall wait for

        self._mirror = Mirror(self._store)
        wait = took = 0.0
        while not self._await_news(wait, took):
            began = time.monotonic()
            self._attempt()
            took = time.monotonic() - began
            wait = min(max(2 * wait, _FIRST_WAIT_S), _LONGEST_WAIT_S) if self._error else 0.0
        self._attempt()
        for wait in _LAST_WAITS_S:  # a lost answer or a restart in this moment shall not leave it incomplete
            if self._error:
                time.sleep(wait)
                self._attempt()

    def _await_news(self, wait: float, took: float) -> bool:
        """Returns after a poke, or in an outage after `wait` seconds, which news must not shorten; true to end.

        The thread rests as long as the last sync took, so that half of the process's time is left to the trials.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closing, wait or took)
            if not wait:
                self._changed.wait_for(lambda: self._poked)
            self._poked = False
            return self._closing

    def _attempt(self) -> None:
        try:
            with _one_at_a_time:
                runs = self._mirror.sync(self._read())
            if runs != self._runs:
                self._on_runs(runs)
                self._runs = runs
        # The border between training and its mirror: MLflow fails in the ways of its database, its server, the network
        # and the disk, and none of them is worth a trial, since the record holds everything.
        except Exception as error:  # noqa: BLE001
            # MLflow's own words hold the address as it was given, with its password.
            reason = damage(self._store) or without_password(f"{type(error).__name__}: {error}".splitlines()[0])
            if self._error is None:
                _log.warning("MLflow at %s is behind (%s); training goes on, retrying", self._store.address, reason)
            self._error = reason
        else:
            if self._error is not None:
                _log.info("MLflow at %s is complete again", self._store.address)
            self._error = None

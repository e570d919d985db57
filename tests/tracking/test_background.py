import logging
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from raypose.tracking.background import MirrorThread
from raypose.tracking.store import Store
from tests.tracking.conftest import Record


def test_pokes_are_mirrored_and_closing_brings_the_rest(store: Store, record: Record) -> None:
    number = record.begin({"lr": 0.01})
    heard: list[dict[int, str]] = []
    thread = MirrorThread(store, lambda: record.view, heard.append)
    for pck in (0.1, 0.2, 0.3):
        record.epoch(number, pck)
        thread.poke()
    record.end(number, "complete")
    record.become("finished")
    assert thread.close(100) is None
    assert len(heard) == 1, "run ids are told when they are new"
    run = MlflowClient(store.uri).get_run(heard[0][number])
    assert (run.info.status, run.data.metrics["epoch"], run.data.metrics["best_PCK_0.1"]) == ("FINISHED", 3.0, 0.3)


def test_an_outage_is_told_once_and_caught_up(
    tmp_path: Path, store: Store, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk refuses the artifacts, as a file stands where their folder belongs, and then takes them."""
    caplog.set_level(logging.INFO)
    number = record.begin({"lr": 0.01})
    record.epoch(number, 0.1)
    record.end(number, "complete")
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    heard: list[dict[int, str]] = []
    thread = MirrorThread(Store(store.uri, blocked / "artifacts"), lambda: record.view, heard.append)
    for _ in range(30):
        thread.poke()
        time.sleep(0.1)
    assert caplog.text.count(f"{store.address} is behind") == 1
    assert not heard
    blocked.unlink()
    assert thread.close(100) is None
    assert "complete again" in caplog.text
    assert MlflowClient(store.uri).get_run(heard[0][number]).data.tags["raypose.artifacts"] == "1"


def test_an_unreachable_server_never_raises_and_is_told_at_the_end(record: Record) -> None:
    record.epoch(record.begin({"lr": 0.01}), 0.1)
    thread = MirrorThread(Store("http://127.0.0.1:9", None), lambda: record.view, lambda runs: None)
    thread.poke()
    started = time.monotonic()
    error = thread.close(1.0)
    assert time.monotonic() - started < 3
    assert error
    assert "127.0.0.1" in error

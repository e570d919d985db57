import logging
import time
from pathlib import Path

import pytest
from conftest import Record
from mlflow import MlflowClient

from raypose.tracking.background import MirrorThread
from raypose.tracking.store import Store


def test_pokes_are_mirrored_and_closing_brings_the_rest(store: Store, record: Record) -> None:
    number = record.begin({"lr": 0.01})
    heard: list[dict[int, str]] = []
    thread = MirrorThread(store, lambda: record.view, heard.append)
    for pck in (0.1, 0.2, 0.3):
        record.epoch(number, pck)
        thread.poke()
    record.end(number, "complete")
    record.become("finished")
    assert thread.close(20) is None
    assert len(heard) == 1, "run ids are told when they are new"
    run = MlflowClient(store.uri).get_run(heard[0][number])
    assert (run.info.status, run.data.metrics["epoch"], run.data.metrics["best_PCK_0.1"]) == ("FINISHED", 3.0, 0.3)


def test_an_outage_is_told_once_and_caught_up(
    tmp_path: Path, store: Store, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk refuses (a file stands where the folder belongs), then takes everything."""
    caplog.set_level(logging.INFO)
    number = record.begin({"lr": 0.01})
    record.epoch(number, 0.1)
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    assert store.database
    away = Store(f"sqlite:///{blocked}/mlflow.db", blocked / "artifacts")
    heard: list[dict[int, str]] = []
    thread = MirrorThread(away, lambda: record.view, heard.append)
    for _ in range(20):
        thread.poke()
        time.sleep(0.1)
    assert caplog.text.count("is behind") == 1
    blocked.unlink()
    blocked.mkdir()
    (blocked / "mlflow.db").write_bytes(store.database.read_bytes())  # a database without waiting for migrations
    assert thread.close(20) is None
    assert "complete again" in caplog.text
    assert MlflowClient(away.uri).get_run(heard[0][number]).data.metrics["epoch"] == 1.0


def test_an_unreachable_server_never_raises_and_is_told_at_the_end(record: Record) -> None:
    record.epoch(record.begin({"lr": 0.01}), 0.1)
    thread = MirrorThread(Store("http://127.0.0.1:9", None), lambda: record.view, lambda runs: None)
    thread.poke()
    started = time.monotonic()
    error = thread.close(1.0)
    assert time.monotonic() - started < 3
    assert error
    assert "127.0.0.1" in error

import logging
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from raypose.tracking.background import MirrorThread
from raypose.tracking.client import connect
from raypose.tracking.store import Store, damage, sqlite_uri
from tests.tracking.conftest import Record

Points = Callable[[Store, str], dict[tuple[str, int], list[float]]]


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


def test_a_damaged_database_is_named_and_everything_mirrored_anew_once_it_is_moved_away(
    tmp_path: Path, store: Store, record: Record, points: Points, caplog: pytest.LogCaptureFixture
) -> None:
    record.epoch(record.begin({"lr": 0.01}), 0.1)
    connect(store)
    assert store.database
    whole, database = store.database.read_bytes(), tmp_path / "mlflow.db"
    database.write_bytes(whole[: len(whole) // 2])
    heard: list[dict[int, str]] = []
    mine = Store(sqlite_uri(database), tmp_path / "artifacts")
    thread = MirrorThread(mine, lambda: record.view, heard.append)
    thread.poke()
    while "MLflow at" not in caplog.text:
        time.sleep(0.05)
    assert f"({database} is damaged (database disk image is malformed): move it away); training" in caplog.text
    database.rename(tmp_path / "away.db")
    assert thread.close(100) is None
    assert points(mine, heard[0][0])["PCK_0.1", 1] == [0.1]


def test_a_database_that_is_only_locked_is_not_called_damaged(tmp_path: Path, store: Store) -> None:
    connect(store)
    assert store.database
    mine = Store(sqlite_uri(Path(shutil.copy(store.database, tmp_path / "mlflow.db"))), None)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert damage(mine) is None
    assert damage(Store("sqlite:////nowhere/mlflow.db", None)) is damage(Store("http://127.0.0.1:9", None)) is None

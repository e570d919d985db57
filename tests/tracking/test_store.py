import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raypose.errors import InputError
from raypose.tracking.client import connect
from raypose.tracking.store import Store, damage, open_store, sqlite_uri

OPEN = """
import sys
from pathlib import Path
from raypose.tracking.client import connect
from raypose.tracking.store import open_store
print(connect(open_store(Path(sys.argv[1]))).create_experiment(sys.argv[2]))
"""


def test_default_store_is_absolute_and_touches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    store = open_store(Path("mlruns"))
    assert store == Store(f"sqlite:///{tmp_path}/mlruns/mlflow.db", tmp_path / "mlruns" / "artifacts")
    assert store.database == tmp_path / "mlruns" / "mlflow.db"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("uri", "is_server", "address"),
    [
        ("http://me:secret@mlflow.lab:5000/base", True, "http://mlflow.lab:5000/base"),
        ("postgresql://me:secret@db/mlflow", False, "postgresql://db/mlflow"),
        ("sqlite:////tmp/other.db", False, "sqlite:////tmp/other.db"),
    ],
)
def test_environment_names_the_store(
    uri: str, is_server: bool, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    store = open_store(tmp_path)
    assert (store.uri, store.is_server, store.address) == (uri, is_server, address)
    assert store.artifact_root == (None if is_server else tmp_path / "artifacts")


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "./mlruns"])
def test_folders_are_refused(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI"):
        open_store(tmp_path)


def test_database_survives_a_kill_and_a_race_while_it_is_made(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    mlruns = tmp_path / "mlruns"

    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", OPEN, str(mlruns), name]
        return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    killed = start("killed")
    while not any(file.stat().st_size > 100_000 for file in mlruns.glob("mlflow.db.new-*")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert not (mlruns / "mlflow.db").exists()

    racers = [start(name) for name in ("one", "two")]
    outputs = [racer.communicate(timeout=200) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0], outputs
    assert sorted(file.name for file in mlruns.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


CUT_OFF = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA cache_size = 2")
database.execute("DELETE FROM experiments")
database.execute("CREATE TABLE more (text)")
database.executemany("INSERT INTO more VALUES (?)", [("x" * 4000,)] * 100)
os._exit(1)
"""


def test_a_journal_left_behind_does_not_touch_the_next_database(store: Store, tmp_path: Path) -> None:
    """A process died in the middle of a write, and then somebody has moved the database away, but not its journal."""
    connect(store).create_experiment("old")
    assert store.database
    database = tmp_path / "mlflow.db"
    shutil.copy(store.database, database)
    subprocess.run([sys.executable, "-c", CUT_OFF, str(database)], check=False)
    assert (tmp_path / "mlflow.db-journal").stat().st_size
    database.rename(tmp_path / "away.db")
    mine = Store(sqlite_uri(database), tmp_path / "artifacts")
    assert [experiment.name for experiment in connect(mine).search_experiments()] == ["Default"]
    assert damage(mine) is None
    assert (tmp_path / "mlflow.db-journal.old").exists()


def test_telemetry_is_off() -> None:
    code = "import raypose.tracking, mlflow.telemetry.utils as t; print(t.is_telemetry_disabled())"
    unset = ("PYTEST_CURRENT_TEST", "CI", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    done = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True)
    assert done.stdout == "True\n"

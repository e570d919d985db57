"""A canary for each secret that a process may hold: none is found in what is written, sent or said."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION

from raypose.cli.options import load_experiment
from raypose.record.epochs import commit_epoch, staging_folder
from raypose.record.folder import create_experiment
from raypose.record.study import Study, read_view
from raypose.tracking.background import MirrorThread
from raypose.tracking.mirror import Mirror
from raypose.tracking.store import Store

CANARY = "canary7f3a9c"
VARIABLES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "PGPASSWORD"),
    *("RAY_AUTH_TOKEN", "HF_TOKEN", "WANDB_API_KEY", "GITHUB_TOKEN", "SECRET"),
)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, f"{CANARY}-{name}")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A search with one trial of one epoch, finished."""
    (tmp_path / "lr.yaml").write_text("space: {lr: {log_uniform: [1.0e-4, 1.0e-2]}}")
    experiment = load_experiment(tmp_path / "lr.yaml", settings=["search.trials=1"]).model_dump(mode="json")
    saved = {"uid": "a1b2", "experiment": experiment, "base_values": {"lr": 4e-3}, "data": {"digest": "da7a"}}
    study = Study(saved, create_experiment(tmp_path / "mlruns", "secret", "", saved))
    study.fill_queue()
    trial = study.next_trial()
    assert trial
    staging = staging_folder(study.folder.trial(0), 1)
    (staging / "weights.pth").write_bytes(b"tensors")
    commit_epoch(staging, 1, {"PCK": 50.0}, 1.0)
    study.catch_up(0)
    study.finish(0)
    return study


def holding(folder: Path, text: str) -> Iterator[Path]:
    """The files that hold the text, MLflow's and Optuna's databases among them."""
    yield from (path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes())


def test_the_environment_reaches_neither_the_record_nor_mlflow(
    study: Study, store: Store, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    Mirror(store).sync(read_view(study.folder))
    assert store.database
    for folder, written in ((study.folder.mlruns, "log_uniform"), (store.database.parent, "raypose.study")):
        assert list(holding(folder, written)), "what is written is found"
        assert list(holding(folder, CANARY)) == []
    said = capfd.readouterr()
    assert CANARY not in caplog.text + said.out + said.err


def test_mlflow_holds_plain_files_and_unpickles_none(study: Study, store: Store) -> None:
    Mirror(store).sync(read_view(study.folder))
    assert store.artifact_root and MLFLOW_ALLOW_PICKLE_DESERIALIZATION.get() is False
    names = {file.name for file in store.artifact_root.rglob("*") if file.is_file()}
    assert "weights.pth" in names
    assert names <= {"weights.pth", "meta.json", "config.py", "spec.json", "environment.json", "report.html"}


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_outage_is_told_without_the_password(
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # only to be told sooner
    store = Store(f"http://me:{CANARY}@127.0.0.1:{closed_port()}/base", None)
    thread = MirrorThread(store, lambda: read_view(study.folder), lambda _: None)
    thread.poke()
    told = thread.close(100)
    assert told and "is behind" in caplog.text and "127.0.0.1" in caplog.text
    said = capfd.readouterr()
    assert CANARY not in told + caplog.text + said.out + said.err

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from raypose.record.files import write_json
from raypose.record.view import RAN_WITH, ExperimentView
from raypose.tracking.client import connect
from raypose.tracking.mirror import STUDY, Mirror
from raypose.tracking.report import keep_report
from raypose.tracking.store import Store
from tests.tracking.conftest import Record

Points = Callable[[Store, str], dict[tuple[str, int], list[float]]]


@pytest.fixture
def client(store: Store) -> MlflowClient:
    return connect(store)


def runs_of(client: MlflowClient, name: str) -> list[Run]:
    experiment = client.get_experiment_by_name(name)
    assert experiment
    return list(client.search_runs([experiment.experiment_id]))


def parent_of(client: MlflowClient, name: str) -> Run:
    (parent,) = [run for run in runs_of(client, name) if "raypose.study" in run.data.tags]
    return parent


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """The SQL that MLflow sends meanwhile."""
    seen: list[str] = []
    engine = SqlAlchemyStore._engine_map[store.uri]

    def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    sqlalchemy.event.listen(engine, "before_cursor_execute", listen)
    yield seen
    sqlalchemy.event.remove(engine, "before_cursor_execute", listen)


def test_a_trial_becomes_a_run_below_the_study(
    store: Store, client: MlflowClient, record: Record, points: Points
) -> None:
    number = record.begin({"lr": 1.2e-05, "freeze": "stem", "optim_wrapper.optimizer.weight_decay": 0.05})
    record.epoch(number, 0.25, lr=0.001)
    record.epoch(number, 0.125)
    runs = Mirror(store).sync(record.view)

    run, parent = client.get_run(runs[number]), parent_of(client, record.view.name)
    assert run.info.run_name == "trial 0: lr 0.000012, freeze stem, weight_decay 0.05"
    assert (run.info.status, parent.info.status) == ("RUNNING", "RUNNING")
    assert run.data.params == {"lr": "0.000012", "freeze": "stem", "optim_wrapper.optimizer.weight_decay": "0.05"}
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert run.data.tags["raypose.trial"] == f"{record.view.key}/0"
    assert run.data.tags["raypose.state"] == "running"
    assert run.data.tags["raypose.checkpoint"] == str(record.view.trials[0].epochs[0].folder)
    figures = {key: value for key, value in points(store, runs[number]).items() if key[0] != "epoch_seconds"}
    assert figures == {
        ("PCK_0.1", 1): [0.25], ("PCK_0.1", 2): [0.125], ("Head PCK", 1): [0.125], ("Head PCK", 2): [0.0625],
        ("loss", 1): [1.0], ("loss", 2): [0.5], ("lr", 1): [0.001], ("epoch", 1): [1.0], ("epoch", 2): [2.0],
        ("best_PCK_0.1", 1): [0.25], ("best_epoch", 1): [1.0],
    }  # fmt: skip
    assert parent.data.params["model"] == "rtmpose-n"
    assert parent.data.params["train.batch_size"] == "32"
    assert parent.data.params["space.lr.log_uniform"] == "[0.0002, 0.016]"
    assert parent.data.metrics == {"best_PCK_0.1": 0.25, "best_epoch": 1.0, "best_trial": 0.0}


def test_nothing_new_asks_mlflow_nothing(store: Store, record: Record) -> None:
    mirror, number = Mirror(store), record.begin({"lr": 0.01})
    record.epoch(number, 0.2)
    first = mirror.sync(record.view)
    with statements(store) as seen:
        assert mirror.sync(record.view) == first
    assert seen == []


def test_a_new_process_goes_on_without_repeating(
    store: Store, client: MlflowClient, record: Record, points: Points
) -> None:
    number = record.begin({"lr": 0.01})
    for pck in (0.1, 0.3, 0.2):
        record.epoch(number, pck)
    first = Mirror(store).sync(record.view)
    for pck in (0.25, 0.4):
        record.epoch(number, pck)
    other = record.begin({"lr": 0.02})
    again = Mirror(store).sync(record.view)
    assert Mirror(store).sync(record.view) == again
    assert again[number] == first[number]
    assert len(runs_of(client, record.view.name)) == 3
    found = points(store, again[number])
    assert [step for key, step in found if key == "PCK_0.1"] == [1, 2, 3, 4, 5]
    assert all(len(values) == 1 for values in found.values())
    assert [values for (key, _), values in found.items() if key == "best_PCK_0.1"] == [[0.3], [0.4]]
    assert client.get_run(again[number]).data.metrics["best_PCK_0.1"] == 0.4
    assert points(store, again[other]) == {}


def test_states_become_statuses(store: Store, client: MlflowClient, record: Record) -> None:
    for _ in range(5):
        record.begin({"lr": 0.01})
    record.end(0, "complete")
    record.end(1, "pruned")
    record.end(2, "failed", "CUDA out of memory")
    record.end(4, "waiting")
    mirror = Mirror(store)
    runs = mirror.sync(record.become("interrupted"))
    assert set(runs) == {0, 1, 2, 3}, "a trial that never began has no run"
    found = {number: client.get_run(run_id) for number, run_id in runs.items()}
    assert [run.info.status for run in found.values()] == ["FINISHED", "FINISHED", "FAILED", "KILLED"]
    assert [run.data.tags["raypose.state"] for run in found.values()] == ["complete", "pruned", "failed", "running"]
    assert found[2].data.tags["raypose.error"] == "CUDA out of memory"
    assert parent_of(client, record.view.name).info.status == "KILLED"

    record.end(2, "running")  # restored
    mirror.sync(record.become("running"))
    found = {number: client.get_run(run_id) for number, run_id in runs.items()}
    assert [run.info.status for run in found.values()] == ["FINISHED", "FINISHED", "RUNNING", "RUNNING"]
    assert "raypose.error" not in found[2].data.tags
    mirror.sync(record.become("finished"))
    assert parent_of(client, record.view.name).info.status == "FINISHED"


def test_a_trial_on_cached_views_is_tagged(store: Store, client: MlflowClient, record: Record) -> None:
    drawn, viewed = record.begin({"lr": 0.01}), record.begin({"lr": 0.02})
    record.epoch(drawn, 0.5)
    record.epoch(viewed, 0.5, cached_views=2.0)
    record.epoch(viewed, 0.6)  # without, as the disk was full by then
    runs = Mirror(store).sync(record.become("running"))
    tags = [client.get_run(runs[number]).data.tags for number in (drawn, viewed)]
    assert "raypose.cached_views" not in tags[0] and tags[1]["raypose.cached_views"] == "2"


def test_a_trial_is_tagged_with_what_it_was_trained_by(store: Store, client: MlflowClient, record: Record) -> None:
    number = record.begin({"lr": 0.01})
    record.epoch(number, 0.5)
    how = {"channels_last": False, "fused": True, "device": "NVIDIA H100", "torch": "2.13.0", "cuda": "13.0"}
    write_json(record.view.trials[number].folder / RAN_WITH, how)
    mirror = Mirror(store)
    run_id = mirror.sync(record.view)[number]
    tags = client.get_run(run_id).data.tags
    assert (tags["raypose.channels_last"], tags["raypose.fused"]) == ("false", "true")
    assert tags["raypose.device"] == "NVIDIA H100" and tags["raypose.cuda"] == "13.0"
    write_json(record.view.trials[number].folder / RAN_WITH, {**how, "device": "NVIDIA A100"})  # restored elsewhere
    record.epoch(number, 0.6)
    mirror.sync(record.view)
    assert client.get_run(run_id).data.tags["raypose.device"] == "NVIDIA A100"


def test_budgets_are_told_as_they_are_after_an_extension(store: Store, client: MlflowClient, record: Record) -> None:
    def searching(**search: int | None) -> ExperimentView:
        return replace(record.view, spec={**record.view.spec, "search": {"sampler": "tpe", **search}}, origin="lr-1/6")

    mirror = Mirror(store)
    mirror.sync(searching(trials=5, hours=None))
    mirror.sync(searching(trials=8, hours=2))
    run = parent_of(client, record.view.name)
    assert not [key for key in run.data.params if key in ("search.trials", "search.hours")]
    assert run.data.params["search.sampler"] == "tpe"
    assert (run.data.tags["raypose.search.trials"], run.data.tags["raypose.search.hours"]) == ("8", "2")
    assert run.data.tags["raypose.origin"] == "lr-1/6"


def test_numbers_that_are_none_are_left_out(store: Store, record: Record, points: Points) -> None:
    number = record.begin({"lr": 0.01})
    record.epoch(number, 0.5)
    epochs = record.view.trials[number].epochs
    epochs[0].metrics.update({"Wrist PCK": math.nan, "loss": math.inf})
    runs = Mirror(store).sync(record.view)
    assert {"Wrist PCK", "loss"}.isdisjoint(key for key, _ in points(store, runs[number]))


def test_many_missed_epochs_arrive_whole(store: Store, record: Record, points: Points) -> None:
    number = record.begin({"lr": 0.01})
    for epoch in range(1, 21):
        record.epoch(number, epoch / 100, **{f"figure {i}": float(i) for i in range(100)})
    runs = Mirror(store).sync(record.view)
    found = points(store, runs[number])
    assert len(found) == 20 * 105 + 2
    assert all(len(values) == 1 for values in found.values())


def test_artifacts_are_the_files(store: Store, client: MlflowClient, record: Record, tmp_path: Path) -> None:
    number = record.begin({"lr": 0.01})
    record.epoch(number, 0.1)
    record.epoch(number, 0.4)
    record.epoch(number, 0.3)
    mirror = Mirror(store)
    run_id = mirror.sync(record.view)[number]
    assert not client.list_artifacts(run_id)
    record.end(number, "complete")
    mirror.sync(record.view)
    best = record.view.trials[number].checkpoint
    assert best
    assert best.name == "epoch_0002"
    folder = Path(client.download_artifacts(run_id, "", str(tmp_path)))
    assert (folder / "config.py").read_text() == "trial = 0\n"
    assert (folder / "checkpoint" / "weights.pth").read_bytes() == (best / "weights.pth").read_bytes()
    assert (folder / "checkpoint" / "meta.json").read_bytes() == (best / "meta.json").read_bytes()
    assert client.get_run(run_id).data.tags["raypose.artifacts"] == "2"
    parent = parent_of(client, record.view.name)
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"spec.json", "environment.json"}
    environment = json.loads(Path(client.download_artifacts(parent.info.run_id, "environment.json")).read_text())
    assert environment["torch"]
    assert environment["python"]
    assert parent.info.artifact_uri.startswith("file:///")


def test_a_report_is_kept_with_the_study_and_replaced_by_a_newer_one(
    store: Store, client: MlflowClient, record: Record, tmp_path: Path
) -> None:
    page, away = record.view.folder / "report.html", tmp_path / "page.html"
    away.write_text("by the verb")
    assert "no run of" in (keep_report(store, record.view, away) or "")
    mirror = Mirror(store)
    mirror.sync(record.view)

    def kept() -> str:
        run_id = parent_of(client, record.view.name).info.run_id
        return Path(client.download_artifacts(run_id, "report.html", str(tmp_path))).read_text()

    for text in ("first", "second"):
        page.write_text(text)
        mirror.sync(record.view)
        assert kept() == text
    with statements(store) as seen:
        Mirror(store).sync(record.view)
    assert kept() == "second" and not [sql for sql in seen if sql.startswith("INSERT")]
    assert keep_report(store, record.view, away) is None
    assert kept() == "by the verb"


def test_missing_files_follow_later(store: Store, client: MlflowClient, record: Record) -> None:
    number = record.begin({"lr": 0.01})
    record.epoch(number, 0.1)
    record.end(number, "pruned")
    config = record.view.trials[number].folder / "config.py"
    config.rename(config.with_suffix(".away"))
    mirror = Mirror(store)
    run_id = mirror.sync(record.view)[number]
    assert client.get_run(run_id).data.tags["raypose.artifacts"] == "weights.pth,meta.json"
    config.with_suffix(".away").rename(config)
    mirror.sync(record.view)
    assert {file.path for file in client.list_artifacts(run_id)} == {"checkpoint", "config.py"}
    assert client.get_run(run_id).data.tags["raypose.artifacts"] == "1"


def test_runs_and_experiments_deleted_in_the_ui_come_back(store: Store, client: MlflowClient, record: Record) -> None:
    number = record.begin({"lr": 0.01})
    record.epoch(number, 0.1)
    mirror = Mirror(store)
    first = mirror.sync(record.view)[number]
    client.delete_run(first)
    second = Mirror(store).sync(record.view)[number]
    assert second != first
    client.delete_experiment(client.get_run(second).info.experiment_id)
    assert Mirror(store).sync(record.view).keys() == {number}
    assert client.get_run(Mirror(store).sync(record.view)[number]).data.metrics["epoch"] == 1.0


def test_an_outage_makes_the_next_sync_look_again(store: Store, client: MlflowClient, record: Record) -> None:
    number = record.begin({"lr": 0.01})
    mirror = Mirror(store)
    client.delete_run(mirror.sync(record.view)[number])
    record.epoch(number, 0.1)
    with pytest.raises(Exception, match="must be in the 'active' state"):
        mirror.sync(record.view)
    assert client.get_run(mirror.sync(record.view)[number]).data.metrics["epoch"] == 1.0


def test_an_experiment_that_takes_the_name_of_a_deleted_one_keeps_apart(
    store: Store, client: MlflowClient, record: Record
) -> None:
    number = record.begin({"lr": 0.01})
    record.epoch(number, 0.2)
    old = Mirror(store).sync(record.view)[number]
    again = replace(record.view, key=f"{record.view.name}.another")
    new = Mirror(store).sync(again)[number]
    assert new != old
    assert Mirror(store).sync(record.view)[number] == old
    assert client.get_run(new).info.experiment_id == client.get_run(old).info.experiment_id


@pytest.mark.parametrize("gain", [{}, {"gain": 8.0, "gain_interval": [6.0, 10.0]}], ids=["base wins", "gained"])
def test_a_verdict_is_mirrored_whether_or_not_anything_was_gained(
    store: Store, record: Record, gain: dict[str, object]
) -> None:
    record.begin({"lr": 0.004})
    record.epoch(0, 40.0)
    record.end(0, "complete")
    best = str(record.view.trials[0].checkpoint)
    verdict = {"trial": 0, "mean": 39.5, "spread": 0.5, "checkpoint": best, **gain}
    view = replace(record.become("finished"), verdict=verdict)
    Mirror(store).sync(view)
    client = connect(store)
    experiment = client.get_experiment_by_name(view.name)
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], f"tags.`{STUDY}` != ''")
    figures, expected = parent.data.metrics, {"winner": 0.0, "winner_mean": 39.5, "winner_spread": 0.5}
    assert parent.info.status == "FINISHED" and {name: figures[name] for name in expected} == expected
    assert {n: v for n, v in figures.items() if n.startswith("gain")} == (
        {"gain": 8.0, "gain_low": 6.0, "gain_high": 10.0} if gain else {}
    )


def test_a_best_trial_that_fails_gives_the_curve_back(store: Store, record: Record) -> None:
    for pck in (40.0, 60.0):
        record.epoch(record.begin({"lr": 0.004}), pck)
    record.end(0, "complete")
    Mirror(store).sync(record.view)
    record.end(1, "failed", "DivergedError: the loss is not finite")
    Mirror(store).sync(record.view)
    client = connect(store)
    experiment = client.get_experiment_by_name(record.view.name)
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], f"tags.`{STUDY}` != ''")
    assert parent.data.metrics["best_PCK_0.1"] == 40.0 and parent.data.tags["raypose.best_trial"] == "0"

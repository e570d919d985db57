"""The Model Registry after experiments with figures that the test gives, each in a data set of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from raypose.record.files import write_json
from raypose.record.view import ExperimentView
from raypose.tracking.client import connect
from raypose.tracking.mirror import Mirror
from raypose.tracking.registry import model_name, winner
from raypose.tracking.store import Store
from tests.tracking.conftest import Record

Make = Callable[..., Record]


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Make:
    """Finished experiments on the test's own data, with one trial for each best figure that is given."""

    def made(name: str, *figures: float, data: str = "") -> Record:
        record = Record(tmp_path / f"{request.node.name}-{name}")
        write_json(record.view.folder / "spec.json", {"data": {"digest": f"{request.node.name}{data}"}})
        for figure in figures:
            number = record.begin({"lr": 0.01 * figure, "freeze": "stem"})
            record.epoch(number, figure)
            record.epoch(number, figure / 2)
            record.end(number, "complete")
        record.become("finished")
        return record

    return made


@pytest.fixture
def client(store: Store) -> MlflowClient:
    return connect(store)


def versions(client: MlflowClient, view: ExperimentView) -> list[ModelVersion]:
    """The registered versions, the first one first, with their aliases."""
    found = client.search_model_versions(f"name = '{model_name(view)}'")
    return sorted((client.get_model_version(v.name, v.version) for v in found), key=lambda v: int(v.version))


def champion(client: MlflowClient, view: ExperimentView) -> ModelVersion:
    return client.get_model_version_by_alias(model_name(view), "champion")


def test_the_winner_becomes_the_champion_with_its_lineage(
    store: Store, client: MlflowClient, make: Make, tmp_path: Path
) -> None:
    record = make("only", 0.25, 0.5)
    runs = Mirror(store).sync(record.view)
    best = record.view.trials[1]
    found = champion(client, record.view)
    assert found.run_id == runs[1] and client.get_run(found.run_id).data.params["freeze"] == "stem"
    tags = found.tags
    assert model_name(record.view).startswith("rtmpose-n-demo-PCK_0.1-")
    assert (tags["raypose.experiment"], tags["raypose.trial"], tags["raypose.epoch"]) == (record.view.name, "1", "1")
    assert json.loads(tags["raypose.knobs"]) == {"lr": 0.005, "freeze": "stem"}
    assert (tags["raypose.metric"], tags["raypose.figure"], tags["raypose.held_out"]) == ("PCK@0.1", "0.5", "0.0")
    assert tags["raypose.data"] == json.loads((record.view.folder / "spec.json").read_text())["data"]["digest"]
    assert tags["raypose.version"] == "0.1.0" and tags["raypose.champion"] == "yes: there was none"
    assert best.checkpoint
    there = tmp_path / "champion"
    told = client.get_registered_model(found.name).description
    command = f"mlflow artifacts download -u models:/{found.name}@champion"
    assert f"`{command}`" in told
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store.uri}
    subprocess.run([sys.executable, "-m", *command.split(), "-d", str(there)], env=environment, check=True)
    assert (there / "checkpoint" / "weights.pth").read_bytes() == (best.checkpoint / "weights.pth").read_bytes()
    assert (there / "config.py").read_text() == "trial = 1\n"


def test_only_better_weights_move_the_alias(store: Store, client: MlflowClient, make: Make) -> None:
    first, worse, equal, better = make("a", 0.5), make("b", 0.4), make("c", 0.5), make("d", 0.75)
    for record in (first, worse, equal):
        Mirror(store).sync(record.view)
    assert champion(client, first.view).tags["raypose.experiment"] == first.view.name
    Mirror(store).sync(better.view)
    found = versions(client, first.view)
    assert [version.tags["raypose.champion"] for version in found] == [
        "yes: there was none",
        "no: 0.4 against 0.5 of version 1",
        "no: 0.5 against 0.5 of version 1",
        "yes: 0.75 against 0.5 of version 1",
    ]
    assert [version.aliases for version in found] == [[], [], [], ["champion"]]


def test_other_images_are_another_model(store: Store, client: MlflowClient, make: Make) -> None:
    ours, theirs = make("ours", 0.75), make("theirs", 0.25, data="with one image more")
    held_out = replace(make("held-out", 0.1).view, spec={**ours.view.spec, "test": 0.25})
    for view in (ours.view, theirs.view, held_out):
        Mirror(store).sync(view)
        assert champion(client, view).tags["raypose.experiment"] == view.name
    assert len({model_name(view) for view in (ours.view, theirs.view, held_out)}) == 3


def test_a_replay_registers_nothing_again(store: Store, client: MlflowClient, make: Make) -> None:
    record, other = make("one", 0.5), make("two", 0.75)
    mirror = Mirror(store)
    for _ in range(2):
        mirror.sync(record.view)
    for each in (record, other, record, other):
        Mirror(store).sync(each.view)
    found = versions(client, record.view)
    assert [version.aliases for version in found] == [[], ["champion"]]
    client.set_registered_model_alias(found[0].name, "champion", "1")  # a person prefers the first
    Mirror(store).sync(other.view)
    assert champion(client, record.view).version == found[0].version


def test_a_kill_between_its_steps_is_made_good(store: Store, client: MlflowClient, make: Make) -> None:
    """Killed after the version, and killed after the alias: what tells that it was compared is not there yet."""
    old, record = make("old", 0.5), make("new", 0.75)
    for each in (old, record):
        Mirror(store).sync(each.view)
    name = model_name(record.view)
    client.delete_model_version_tag(name, "2", "raypose.champion")
    Mirror(store).sync(record.view)
    assert champion(client, record.view).tags["raypose.champion"] == "yes"
    client.delete_model_version_tag(name, "2", "raypose.champion")
    client.set_registered_model_alias(name, "champion", "1")
    Mirror(store).sync(record.view)
    assert champion(client, record.view).tags["raypose.champion"] == "yes: 0.75 against 0.5 of version 1"
    assert len(versions(client, record.view)) == 2


def test_a_version_that_a_slow_server_made_twice_is_there_once(store: Store, client: MlflowClient, make: Make) -> None:
    record = make("slow", 0.5)
    Mirror(store).sync(record.view)
    (first,) = versions(client, record.view)
    client.create_model_version(first.name, first.source, first.run_id, first.tags)
    Mirror(store).sync(record.view)
    assert [version.version for version in versions(client, record.view)] == [first.version]


def test_a_champion_of_somebody_elses_stays(store: Store, client: MlflowClient, make: Make) -> None:
    record, later = make("ours", 0.5), make("later", 0.75)
    Mirror(store).sync(record.view)
    (first,) = versions(client, record.view)
    client.create_model_version(first.name, first.source, first.run_id)
    client.set_registered_model_alias(first.name, "champion", "2")
    Mirror(store).sync(later.view)
    assert [version.aliases for version in versions(client, later.view)] == [[], ["champion"], []]
    told = versions(client, later.view)[2].tags["raypose.champion"]
    assert told == "no: version 2, the champion, has no raypose.figure"


def test_before_the_end_nothing_is_registered_and_an_extended_search_adds_its_winner(
    store: Store, client: MlflowClient, make: Make
) -> None:
    record = make("extended", 0.5)
    mirror = Mirror(store)
    mirror.sync(record.become("running"))
    assert versions(client, record.view) == []
    mirror.sync(record.become("finished"))
    record.become("running")
    number = record.begin({"lr": 0.02})
    record.epoch(number, 0.75)
    mirror.sync(record.view)
    assert len(versions(client, record.view)) == 1
    record.end(number, "pruned")
    mirror.sync(record.become("finished"))
    assert [version.tags["raypose.trial"] for version in versions(client, record.view)] == ["0", "1"]
    assert champion(client, record.view).tags["raypose.trial"] == "1"


def test_where_a_final_judges_its_best_repetition_is_registered(store: Store, client: MlflowClient, make: Make) -> None:
    search = make("search", 0.75)
    view = replace(search.view, spec={**search.view.spec, "final": {"top": 1, "seeds": 2}})
    Mirror(store).sync(view)
    assert versions(client, view) == [], "the final has the last word"
    final = make("final", 0.5, 0.6)
    trials = tuple(
        replace(t, repeats=0, retested=figure) for t, figure in zip(final.view.trials, (0.55, 0.52), strict=True)
    )
    moved = Path("/where/it/was") / Path(*str(trials[0].checkpoint).split("/")[-2:])
    view = replace(
        final.view, trials=trials, verdict={"trial": 0, "mean": 0.535, "spread": 0.02, "checkpoint": str(moved)}
    )
    Mirror(store).sync(view)
    found = champion(client, view)
    assert (found.tags["raypose.trial"], found.tags["raypose.figure"]) == ("0", "0.55")


def test_weights_that_are_gone_are_not_registered(store: Store, client: MlflowClient, make: Make) -> None:
    record = make("gone", 0.5)
    trial = record.view.trials[0]
    assert trial.checkpoint and winner(record.view) is trial
    for file in trial.checkpoint.iterdir():
        file.unlink()
    assert winner(record.view) is None
    Mirror(store).sync(record.view)
    assert versions(client, record.view) == []

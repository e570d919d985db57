"""MLflow refuses, hangs, lies, dies: training does not notice, and in the end everything is there once."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from raypose.record.epochs import retire
from raypose.record.folder import find_experiment
from raypose.record.study import read_view
from raypose.tracking.background import MirrorThread
from raypose.tracking.client import connect
from raypose.tracking.store import Store, sqlite_uri
from tests.chaos.mlflow_driver import Driver, Job, complaints
from tests.chaos.mlflow_server import FAULTS, Proxy, Server
from tests.tracking.conftest import Record

PATIENCE_S = 2.5  # of the proxy; the client gives up after one second
CALLS = ("experiments/create", "runs/create", "log-batch", "runs/update", "runs/search", "get-by-name", "PUT")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests."""
    made = Server(tmp_path_factory.mktemp("mlflow"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The only way to the server; the client waits a second for an answer."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    made = Proxy(server, PATIENCE_S)
    yield made
    made.refuse()


class Training:
    """Trials side by side that commit epochs and tell the mirror, as the driver does."""

    def __init__(self, record: Record, proxy: Proxy) -> None:
        self.record, self.longest = record, 0.0
        self._proxy = proxy
        self._mirror = MirrorThread(proxy.store, lambda: record.view, lambda runs: None)

    def train(
        self, trials: int, epochs: int, pause: float = 0.0, event: Callable[[int], None] = lambda n: None
    ) -> None:
        """All trials to their end, with `event(n)` before epoch n of them."""
        numbers = [self.record.begin({"lr": 0.01}) for _ in range(trials)]
        for epoch in range(1, epochs + 1):
            event(epoch)
            for number in numbers:
                self.record.epoch(number, (number * 7 + epoch * 3) % 11 / 11)
                self._give_space_back(number)
                if epoch == epochs:
                    self.record.end(number, "failed" if number == 1 else "complete", "why" if number == 1 else None)
                self.poke()
                time.sleep(pause)

    def poke(self) -> None:
        """All that training ever asks of the mirror."""
        started = time.monotonic()
        self._mirror.poke()
        self.longest = max(self.longest, time.monotonic() - started)

    def _give_space_back(self, number: int) -> None:
        trial = self.record.view.trials[number]
        for epoch in trial.epochs[:-1]:
            if epoch.number != trial.best_epoch:
                retire(epoch)

    def end(self) -> list[str]:
        """The server is sound again: what the mirror still lacks then, as the driver closes it and looks once more."""
        self._proxy.fault = lambda request: None
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "60"  # this machine may be slow; the proxy's fixture puts it back
        until(lambda: not self._proxy.busy)
        self._mirror.close(100)
        self.record.become("finished")
        last = MirrorThread(self._proxy.store, lambda: self.record.view, lambda runs: None)
        behind = last.close(100)
        server = self._proxy.server.store
        found = complaints(server, self.record.view, server.artifact_root)
        if self.longest > 1:
            found.append(f"training waited {self.longest} s")
        return found + ([behind] if behind else [])


@pytest.fixture
def training(record: Record, proxy: Proxy) -> Training:
    """A simulated training on a record of its own."""
    return Training(record, proxy)


@pytest.fixture
def record(tmp_path: Path, request: pytest.FixtureRequest) -> Record:
    """An experiment with the test's name and no trials."""
    return Record(tmp_path / request.node.name.replace("/", " "))


def until(condition: Callable[[], object], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def once(*wanted: tuple[str, str]) -> Callable[[str], str | None]:
    """Each (part, fault) at the first request that has `part` in it and has not met with one before it."""
    left = list(wanted)

    def choose(request: str) -> str | None:
        for part, fault in left:
            if part in request:
                left.remove((part, fault))
                return fault
        return None

    return choose


def test_what_was_done_without_an_answer_is_there_once(proxy: Proxy, training: Training) -> None:
    proxy.fault = once(("runs/create", "done, drop"), ("runs/create", "late"))
    training.train(trials=2, epochs=3)
    until(lambda: len([fault for _, fault in proxy.seen if fault]) == 2)
    assert training.end() == []


def test_a_winner_that_is_registered_without_an_answer_is_there_once(
    proxy: Proxy, training: Training, record: Record
) -> None:
    calls = ("registered-models/create", "model-versions/create", "registered-models/alias", "model-versions/set-tag")
    proxy.fault = once(*((call, "done, drop") for call in calls))
    record.epoch(record.begin({"lr": 0.01}), 0.5)
    record.end(0, "complete")
    record.become("finished")
    training.poke()
    until(lambda: len([fault for _, fault in proxy.seen if fault]) == len(calls))
    assert training.end() == []


@pytest.mark.chaos
@pytest.mark.parametrize("fault", FAULTS)
def test_every_call_meets_with_every_fault(fault: str, proxy: Proxy, tmp_path: Path) -> None:
    for call in CALLS:
        training = Training(Record(tmp_path / f"{fault} {call.replace('/', ' ')}"), proxy)
        proxy.seen.clear()
        proxy.fault = once((call, fault), (call, fault))
        training.train(trials=2, epochs=3, pause=0.05)
        until(lambda: fault in [met for _, met in proxy.seen])
        assert training.end() == [], call


@pytest.mark.chaos
def test_an_epoch_that_gives_its_space_back_before_it_is_sent_again_is_there_once(
    proxy: Proxy, training: Training, record: Record
) -> None:
    """MLflow tells a point that is sent twice by its time, too, so that must not change."""
    number = record.begin({"lr": 0.01})
    record.epoch(number, 0.1)
    proxy.fault = once(("epoch_seconds", "late"))
    training.poke()
    until(lambda: "late" in [fault for _, fault in proxy.seen])
    record.epoch(number, 0.2)
    retire(record.view.trials[number].epochs[0])
    record.end(number, "complete")
    assert training.end() == []


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(5))
def test_a_network_that_fails_at_random(seed: int, proxy: Proxy, training: Training) -> None:
    """Eight trials; every third request meets with a fault, and now and then nobody listens."""
    chance = random.Random(seed)
    proxy.fault = lambda request: chance.choice(FAULTS) if chance.random() < 0.3 else None

    def event(epoch: int) -> None:
        (proxy.refuse if epoch % 4 == 2 else proxy.accept)()

    training.train(trials=8, epochs=12, pause=0.2, event=event)
    proxy.accept()
    assert training.end() == []


@pytest.mark.chaos
def test_a_server_that_is_killed_and_comes_back(server: Server, proxy: Proxy, training: Training) -> None:
    """Four times in the middle of what it writes, once at the very beginning."""
    chance = random.Random(0)

    def event(epoch: int) -> None:
        if epoch % 2:
            time.sleep(chance.random() / 4)
            server.kill()
        else:
            server.start()

    training.train(trials=8, epochs=10, pause=0.1, event=event)
    assert training.end() == []


@pytest.mark.chaos
def test_a_mirror_given_up_does_not_work_beside_the_next(
    proxy: Proxy, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that makes a run two seconds later, and a driver that does not wait for that."""
    proxy.fault = lambda request: "slow" if "runs/create" in request else None
    record.epoch(record.begin({"lr": 0.01}), 0.5)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    assert MirrorThread(proxy.store, lambda: record.view, lambda runs: None).close(1)
    assert MirrorThread(proxy.store, lambda: record.view, lambda runs: None).close(100) is None
    assert complaints(proxy.server.store, record.view) == []


@pytest.mark.chaos
@pytest.mark.parametrize("by", ["server", "database"])
def test_a_driver_killed_twenty_times(by: str, server: Server, tmp_path: Path) -> None:
    name, chance, mlruns = f"killed-{by}", random.Random(by), tmp_path / "mlruns"
    store = server.store
    if by == "database":
        store = Store(sqlite_uri(mlruns / "mlflow.db"), mlruns / "artifacts")
        connect(store)  # a kill while it is made is a test of its own
    job = Job(mlruns, name, trials=16, epochs=16, pause=0.1, uri=server.url if by == "server" else "")
    held = set()
    for _ in range(20):
        driver = Driver(job)
        time.sleep(chance.uniform(0, 3))
        driver.kill()
        held.add(points_in(store))
    assert len(held) > 5, "most must strike while there is something to mirror"
    assert Driver(job).end().behind == []
    view = read_view(find_experiment(mlruns, name))
    assert view.state == "finished" and len(view.trials) == 16
    assert complaints(store, view, store.artifact_root) == []


def points_in(store: Store) -> int:
    """Of all runs."""
    assert store.database
    with closing(sqlite3.connect(store.database)) as database:
        return int(database.execute("SELECT count(*) FROM metrics").fetchone()[0])


READ = """
import sys, time
from mlflow import MlflowClient
client, seen = MlflowClient(sys.argv[1]), 0
print("begun", flush=True)
while True:
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            seen += len(client.get_metric_history(run.info.run_id, "epoch"))
"""


@pytest.mark.chaos
def test_eight_trials_in_one_database_that_all_read(tmp_path: Path) -> None:
    """Two experiments write it, a server and three other processes read it without a pause."""
    mlruns = tmp_path / "mlruns"
    server = Server(mlruns)
    server.start()
    commands = [[sys.executable, "-c", READ, uri] for uri in (server.store.uri, server.url, server.store.uri)]
    readers = [subprocess.Popen(c, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for c in commands]
    try:
        for reader in readers:
            assert reader.stdout and reader.stdout.readline() == "begun\n"
        drivers = {name: Driver(Job(mlruns, name, trials=8, epochs=16, pause=0.1)) for name in ("one", "two")}
        folders = [find_experiment(mlruns, name) for name in drivers]
        while any(not driver.has_ended for driver in drivers.values()):
            for folder in folders:  # as `raypose show` does
                read_view(folder)
        ends = [driver.end() for driver in drivers.values()]
        assert [end.behind for end in ends] == [[], []]
        assert not any("is behind" in end.log or "locked" in end.log for end in ends), ends
        assert max(end.longest for end in ends) < 1
        assert [reader.poll() for reader in readers] == [None] * 3, [r.communicate()[1] for r in readers if r.poll()]
        assert [complaints(server.store, read_view(folder)) for folder in folders] == [[], []]
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()
        server.stop()

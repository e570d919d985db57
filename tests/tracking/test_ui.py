import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from raypose.errors import InputError
from raypose.tracking.background import MirrorThread
from raypose.tracking.client import connect
from raypose.tracking.mirror import Mirror
from raypose.tracking.store import Store
from raypose.tracking.ui import serve
from tests.tracking.conftest import Record

# What browsers send when a page's own name has been made to mean this machine (DNS rebinding), and the like.
FOREIGN_HOSTS = (
    *("evil.example", "evil.example:5000", "127.0.0.1.evil.example", "localhost.evil.example:5000", "127.0.0.10"),
    *(
        "0.0.0.0",
        "0.0.0.0:5000",
        "192.168.0.7:5000",
        "1:5000",
        "[::2]:5000",
        "evil-localhost",
        "localhost@evil.example",
    ),
)
OWN_HOSTS = ("localhost", "localhost:6000", "127.0.0.1:5000", "[::1]", "[::1]:5000")
SERVE = """
import sys
from pathlib import Path
from raypose.tracking.store import Store
from raypose.tracking.ui import serve
sys.exit(serve(Store(sys.argv[1], Path(sys.argv[2])), port=int(sys.argv[3])))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def alive(process: subprocess.Popen[str]) -> list[int]:
    """The process's family, where it is asserted to be running: whoever waits for it learns why it has ended."""
    assert process.poll() is None, f"ended with {process.returncode}; its traceback is in what was captured"
    return family(process.pid)


def until(condition: Callable[[], object], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def started_ui(store: Store, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SERVE, store.uri, str(store.artifact_root), str(port)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE)


@pytest.fixture
def ui(store: Store) -> Iterator[Callable[[int], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(port: int) -> subprocess.Popen[str]:
        started.append(started_ui(store, port))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.communicate()


def test_ui_serves_mirrors_and_leaves_nothing(
    ui: Callable[[int], subprocess.Popen[str]], store: Store, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    number = record.begin({"lr": 0.01})
    record.epoch(number, 0.25)
    record.end(number, "complete")
    local = Mirror(store).sync(record.view)[number]

    # The same record by way of a server that is not there yet.
    port = free_port()
    remote = Record(record.view.folder.with_name("remote"))
    remote.epoch(remote.begin({"lr": 0.02}), 0.5)
    remote.end(0, "complete")
    heard: list[dict[int, str]] = []
    thread = MirrorThread(Store(f"http://127.0.0.1:{port}", None), lambda: remote.view, heard.append)
    thread.poke()
    behind = f"127.0.0.1:{port} is behind"  # another test's thread may still wait for another server
    until(lambda: behind in caplog.text)

    process = ui(port)
    assert process.stdout
    assert process.stdout.readline().startswith(f"MLflow: http://127.0.0.1:{port} ")
    trials, charts, champions = (process.stdout.readline().strip() for _ in range(3))
    assert (
        trials.startswith(f"{record.view.name}: http://127.0.0.1:{port}/#/experiments/") and "raypose-trials" in trials
    )
    assert charts.endswith("&compareRunsMode=CHART") and f"http://127.0.0.1:{port}/#/models" in champions
    assert b"<html" in urlopen(f"http://127.0.0.1:{port}/").read()
    best = record.view.trials[number].checkpoint
    assert best
    artifact = f"http://127.0.0.1:{port}/get-artifact?path=checkpoint/weights.pth&run_uuid="
    assert urlopen(artifact + local).read() == (best / "weights.pth").read_bytes()
    api = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
    for host in OWN_HOSTS:
        assert urlopen(Request(api, headers={"Host": host})).status == 200
    for host in FOREIGN_HOSTS:
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(api, headers={"Host": host}))
    create = Request(
        api.replace("search?max_results=1", "create"), b'{"name": "planted"}', {"Content-Type": "text/plain"}
    )
    create.add_header("Origin", "http://evil.example")  # a page elsewhere, which needs no answer to do harm
    with pytest.raises(HTTPError, match="403"):
        urlopen(create)

    until(lambda: heard)
    remote.epoch(0, 0.75)
    assert thread.close(100) is None
    assert caplog.text.count(behind) == 1
    (remote_best,) = [trial.checkpoint for trial in remote.view.trials]
    assert remote_best
    assert urlopen(artifact + heard[0][0]).read() in {
        (epoch.folder / "weights.pth").read_bytes() for epoch in remote.view.trials[0].epochs
    }

    connection = http.client.HTTPConnection("127.0.0.1", port)  # a browser that keeps its connection
    connection.request("GET", "/health")
    connection.getresponse().read()
    everyone = family(process.pid)
    assert len(everyone) >= 3
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in everyone), 5)


def test_a_taken_port_is_avoided_and_a_stop_while_starting_is_heard(
    ui: Callable[[int], subprocess.Popen[str]], store: Store
) -> None:
    connect(store)  # makes the database, without which there is nothing to serve
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = ui(taken.getsockname()[1])
        until(lambda: len(alive(process)) >= 2)
        child = family(process.pid)[1]
        command = Path(f"/proc/{child}/cmdline")
        until(lambda: alive(process) and b"--port" in command.read_bytes())
        arguments = command.read_bytes().split(b"\0")
        assert int(arguments[arguments.index(b"--port") + 1]) not in (0, taken.getsockname()[1])
        assert not any(b"sqlite" in argument for argument in arguments), "an address may hold a password"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert not Path(f"/proc/{child}").exists()


def test_two_that_start_at_once_on_one_port_both_serve_each_at_its_own(
    ui: Callable[[int], subprocess.Popen[str]], store: Store
) -> None:
    connect(store)
    port = free_port()
    both = [ui(port), ui(port)]
    said = [process.stdout.readline() for process in both if process.stdout]
    assert all(line.startswith("MLflow: http://127.0.0.1:") for line in said), said
    addresses = [line.split()[1] for line in said]
    assert len(set(addresses)) == 2 and f"http://127.0.0.1:{port}" in addresses
    for process, address in zip(both, addresses, strict=True):
        assert b"<html" in urlopen(f"{address}/").read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, "one is not the other's"


def test_a_server_elsewhere_is_only_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(Store("https://me:secret@mlflow.lab/base", None)) == 0
    assert capsys.readouterr().out == "MLflow runs at https://mlflow.lab/base\n"


def test_no_database_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no MLflow record yet"):
        serve(Store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts"))
    assert os.listdir(tmp_path) == []


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match="is damaged .*move it away; `raypose restore`"):
        serve(Store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts"))


@pytest.fixture(scope="module")
def serving(store: Store) -> Iterator[subprocess.Popen[str]]:
    """One that answers, until the last test kills it."""
    connect(store)
    process = started_ui(store, free_port())
    assert process.stdout and process.stdout.readline().startswith("MLflow: ")
    yield process
    process.terminate()
    process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not show a process's environment")
def test_the_assistant_of_mlflow_runs_no_command_here(serving: subprocess.Popen[str]) -> None:
    server = family(serving.pid)[-1]
    lines = Path(f"/proc/{server}/environ").read_text().rstrip("\0").split("\0")
    asked = "from mlflow.assistant.providers.base import assistant_sandbox_enabled as on; print(on())"
    command = [sys.executable, "-W", "ignore", "-c", asked]
    environment = dict(line.split("=", 1) for line in lines)
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == "True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such signal")
def test_a_ui_that_is_killed_takes_its_server_along(serving: subprocess.Popen[str]) -> None:
    everyone = family(serving.pid)
    assert len(everyone) >= 3
    serving.kill()
    serving.wait()
    until(lambda: not any(_is_alive(pid) for pid in everyone), 30)


def _is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()

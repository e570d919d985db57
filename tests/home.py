"""A folder in which raypose runs as a program, as a user has it, and Ray clusters that outlive its experiments."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from raypose.record.folder import ExperimentFolder

SPEC = """
model: rtmpose-n
weights: none
space:
  lr: {log_uniform: [2.0e-4, 1.6e-2]}
fixed: {input_size: 64x64}
prune: {pruner: none}
train: {batch_size: 8, cache_gb: 0}    # faults come when an image is opened
"""
START_S = 240
TOKEN = "0123456789abcdef" * 4  # of the clusters that tests start
FAULTS = Path(__file__).parent / "faults"


class Home:
    """A folder with a specification and a tiny data set, and raypose run in it as a program."""

    def __init__(self, path: Path, data: Path) -> None:
        self.path, self.data = path, data
        self.faults: list[dict[str, Any]] = []
        (path / "lr.yaml").write_text(SPEC)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A verb of raypose, its output in a file of its name."""
        with (self.path / f"{arguments[0]}.txt").open("a") as out:
            command = [sys.executable, "-m", "raypose", *arguments]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", **self.fault_environment()}
            return subprocess.Popen(
                command, cwd=self.path, stdout=out, stderr=subprocess.STDOUT, text=True, env=environment
            )

    def verb(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a verb, once it has ended."""
        command = [sys.executable, "-m", "raypose", *arguments]
        done = subprocess.run(command, cwd=self.path, capture_output=True, text=True, timeout=START_S, check=False)
        return done.returncode, done.stdout + done.stderr

    def fault_environment(self) -> dict[str, str]:
        """What gives the faults so far to the processes that are started with it."""
        rules = self.path / "faults.json"
        rules.write_text(json.dumps(self.faults))
        path = os.pathsep.join(filter(None, (str(FAULTS), os.environ.get("PYTHONPATH"))))
        return {"PYTHONPATH": path, "RAYPOSE_FAULTS": str(rules)}

    def fault(self, act: str, event: str, match: str, nth: int = 1, **more: Any) -> Path:
        """A fault in the processes of the next run: see faults/sitecustomize.py; returns a file that comes with it."""
        marker = self.path / f"fault-{len(self.faults)}"
        self.faults.append({"act": act, "event": event, "match": match, "nth": nth, "marker": str(marker), **more})
        return marker

    def slow(self, after: Path, until: Path) -> Path:
        """A fault that lets the first worker open an image in half a second, between the births of these two files."""
        return self.fault("slow", "open", "/images/", env={"RANK": "0"}, after=str(after), until=str(until))

    def tune(self, *options: str) -> subprocess.Popen[str]:
        """A search by the name of `exp`."""
        return self.start("tune", "lr.yaml", "--name", "exp", "--data", str(self.data), *options)

    def show(self, name: str = "exp") -> dict[str, Any]:
        """What `raypose show --json` tells of it, or of another experiment."""
        command = [sys.executable, "-m", "raypose", "show", name, "--json"]
        done = subprocess.run(command, cwd=self.path, capture_output=True, text=True, check=True)
        view: dict[str, Any] = json.loads(done.stdout)
        return view

    def folder(self, name: str = "exp") -> ExperimentFolder:
        """An experiment's."""
        return ExperimentFolder(self.path / "mlruns" / "experiments" / name)

    def epochs(self) -> list[Path]:
        """The folders of all committed epochs."""
        return sorted(self.path.glob("mlruns/experiments/exp/trials/*/epoch_*"))

    def wait_for(self, true: Callable[[], object], process: subprocess.Popen[str]) -> None:
        """Until something is true; fails if the process ends before."""
        deadline = time.monotonic() + START_S
        while not true():
            assert process.poll() is None and time.monotonic() < deadline, self.output()
            time.sleep(0.1)

    def output(self) -> str:
        """All that was printed, of all runs."""
        return "\n".join(f.read_text() for f in sorted(self.path.glob("*.txt")))


@contextmanager
def ray_head(cpus: int, **environment: str) -> Iterator[str]:
    """A Ray cluster of one node, started as the README says, beside any other; yields its address."""
    port, dashboard, client = _free_ports(3)  # the last two are fixed else, and a second cluster gives up
    ports = [f"--port={port}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"]
    with ray_node(["start", "--head", "--block", *ports, f"--num-cpus={cpus}"], **environment):
        yield f"127.0.0.1:{port}"


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, above those that Ray gives to its workers."""
    with ExitStack() as open_sockets:
        probes = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextmanager
def ray_node(command: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`ray start --block ...` once it is up, in a process group of its own, all of which ends with the block."""
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    ray = Path(sys.executable).with_name("ray")
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.NamedTemporaryFile("w+") as output:
        node = subprocess.Popen(
            [ray, *command],
            env={**inherited, **settings, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + START_S
            while "Ray runtime started" not in (said := Path(output.name).read_text()):
                assert node.poll() is None and time.monotonic() < deadline, said
                time.sleep(0.2)
            yield node
        finally:
            os.killpg(node.pid, signal.SIGKILL)  # asked to end, it would first look for work for 30 seconds
            node.wait(60)

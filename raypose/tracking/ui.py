"""MLflow's UI on a store, on the loopback address, with nothing left behind. Runs in: command line."""

import ctypes
import glob
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from typing import IO
from urllib.error import URLError

from raypose.errors import InputError, WorkError
from raypose.tracking.links import links, loopback
from raypose.tracking.store import Store, damage

_STOPPERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STOP_S = 5.0
_START_S = 120.0
_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_MARK = "x-raypose"  # a header of all replies: what answers at a port may be another server that was quicker


def serve(store: Store, host: str = "127.0.0.1", port: int = 5000) -> int:
    """Run MLflow's UI until SIGINT, SIGTERM or SIGHUP, and return 0; of a tracking server only say where it is.

    Takes a free port if `port` is taken, or is while the server starts. Must be called in the main thread, as it
    handles signals.

    Raises:
        InputError: the store's database does not exist, or is damaged.
        WorkError: MLflow's server did not start, or ended by itself; with the end of what it printed.
    """
    if store.is_server:
        print(f"MLflow runs at {store.address}", flush=True)
        return 0
    if store.database and not store.database.exists():
        raise InputError(f"{store.database}: no MLflow record yet; `raypose tune` makes it (or give another --mlruns)")
    if wrong := damage(store):
        raise InputError(f"{wrong}; `raypose restore` mirrors an experiment anew, from its own record")
    stopped: list[int] = []
    handlers = {s: signal.signal(s, lambda number, _: stopped.append(number)) for s in _STOPPERS}
    try:
        return _run(store, host, _free_port(host, port), stopped)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _run(store: Store, host: str, port: int, stopped: list[int]) -> int:
    mark = secrets.token_hex(8)
    with tempfile.TemporaryFile("w+") as output:
        server = _start(store, host, port, mark, output)
        try:
            ready, deadline = False, time.monotonic() + _START_S
            while not stopped and server.poll() is None and (ready or time.monotonic() < deadline):
                if not ready and _answers(host, port, mark):
                    ready = True
                    print(f"MLflow: http://{host}:{port}  (Ctrl-C ends it)", flush=True)
                    print(*links(f"http://{host}:{port}"), sep="\n", flush=True)
                time.sleep(0.2)
        finally:
            _end(server)
        if stopped:
            return 0
        free = _free_port(host, port)
        if ready or free == port:
            output.seek(0)
            raise WorkError(f"MLflow's server did not stay up: {' | '.join(output.read().splitlines()[-3:])}")
    return _run(store, host, free, stopped)  # somebody else took the port in the seconds until it would listen


def _start(store: Store, host: str, port: int, mark: str, output: IO[str]) -> subprocess.Popen[str]:
    """One worker, no job runner, in a process group of its own, so that one signal reaches all of it."""
    hosts = sorted({"localhost", "127.0.0.1", "[::1]", host})
    # Artifacts of our runs have file:// addresses, which the server opens itself; the destination only keeps those of
    # experiments that are made in the UI out of the current directory.
    artifacts = ["--artifacts-destination", store.artifact_root.as_uri()] if store.artifact_root else []
    listen = ["--host", host, "--port", str(port), "--workers", "1", "--uvicorn-opts", f"--header {_MARK}:{mark}"]
    # With any port, as an SSH tunnel may end at another one. MLflow takes them for patterns, in which [ is special.
    allowed = ["--allowed-hosts", ",".join([*hosts, *(f"{glob.escape(name)}:*" for name in hosts)])]
    # The URI may hold a password: not on the command line, where every user of the machine could read it.
    settings = {
        "MLFLOW_BACKEND_STORE_URI": store.uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # MLflow's assistant runs commands for whoever is on this machine: in a container, if at all.
        "MLFLOW_ENABLE_ASSISTANT_SANDBOX": "true",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *listen, *allowed, *artifacts],
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_end_with_parent() if sys.platform == "linux" else None,
        text=True,
    )


def _end_with_parent() -> Callable[[], None]:
    """What the server does before anything else: ask the system for a SIGTERM when this process dies by `kill -9`."""
    libc = ctypes.CDLL(None)  # loaded here, as little should happen between fork and exec

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask


def _end(server: subprocess.Popen[str]) -> None:
    """Ask the whole process group to end, and insist after some seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # it has ended already
            os.killpg(server.pid, number)
        if _is_gone(server):
            return


def _is_gone(server: subprocess.Popen[str]) -> bool:
    deadline = time.monotonic() + _STOP_S
    while time.monotonic() < deadline:
        server.poll()  # reaps the leader, which would count as a member of its group otherwise
        try:
            os.killpg(server.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def _free_port(host: str, port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _answers(host: str, port: int, mark: str) -> bool:
    """Is it the server with this mark that answers?"""
    try:
        with loopback().open(f"http://{host}:{port}/health", timeout=2) as reply:
            return bool(reply.status == 200 and reply.headers[_MARK] == mark)
    except (URLError, HTTPException, OSError):  # not up yet
        return False

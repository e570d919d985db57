"""A real MLflow server that can be killed, and a proxy before it that misbehaves."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from raypose.tracking.client import connect
from raypose.tracking.store import Store, sqlite_uri

SERVE = """
import sys
from pathlib import Path
from raypose.tracking.store import Store
from raypose.tracking.ui import serve
sys.exit(serve(Store(sys.argv[1], Path(sys.argv[2])), port=int(sys.argv[3])))
"""

FAULTS = (
    "500",  # refused by the server's own error, before anything was done
    "502",
    "drop",  # the connection ends without an answer, nothing was done
    "done, drop",  # the same, after the server has done it
    "done, 500",
    "done, cut",  # the answer's second half is missing
    "done, garbage",  # an answer that is no JSON
    "done, empty",  # MLflow takes that for an answer that says nothing
    "hang",  # no answer within the client's patience, nothing was done
    "done, hang",
    "late",  # as before, but the server does it after the client has given up
    "slow",  # two seconds a request
)


class Server:
    """`raypose ui` in a process of its own, on a database that is made at once."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(sqlite_uri(folder / "mlflow.db"), folder / "artifacts")
        connect(self.store)
        self.port = _free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers."""
        environment = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}
        command = [sys.executable, "-c", SERVE, self.store.uri, str(self.store.artifact_root), str(self.port)]
        self._process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)
        assert self._process.stdout and self._process.stdout.readline().startswith(f"MLflow: {self.url} ")

    def stop(self) -> None:
        """As Ctrl-C does it."""
        if self._process:
            self._process.terminate()
            self._process.communicate()
            self._process = None

    def kill(self) -> None:
        """`kill -9` to all of it at once, the processes that write first."""
        assert self._process
        for pid in reversed(family(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.communicate()
        self._process = None


class Proxy:
    """Stands between a client and `server`; `fault(request)` says what becomes of a request, None: nothing bad.

    A request is told as its method, path and body. `seen` lists those that came, without bodies, and their faults.

    A hanging request ends after `patience` seconds, when the client has long given up.
    """

    def __init__(self, server: Server, patience: float) -> None:
        self.server, self.patience = server, patience
        self.fault: Callable[[str], str | None] = lambda request: None
        self.seen: list[tuple[str, str | None]] = []
        self.busy, self.lock = 0, threading.Lock()
        self._port = _free_port()
        self._listener: ThreadingHTTPServer | None = None
        self._connections: set[socket.socket] = set()
        self.accept()

    @property
    def store(self) -> Store:
        """What a client of the proxy is to be given."""
        return Store(f"http://127.0.0.1:{self._port}", None)

    def accept(self) -> None:
        """Take connections."""
        if self._listener:
            return
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._listener = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._listener.daemon_threads = True
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def refuse(self) -> None:
        """Refuse connections, and cut those there are."""
        if self._listener:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener = None
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Ask the server itself; OSError if it is not there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.proxy._connections.add(self.connection)

    def finish(self) -> None:
        self.proxy._connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with suppress(OSError):  # the client has gone away, as it should
            super().handle()

    def _pass_on(self) -> None:
        with self.proxy.lock:
            self.proxy.busy += 1
        try:
            self._meet()
        finally:
            with self.proxy.lock:
                self.proxy.busy -= 1

    def _meet(self) -> None:
        body = self._body()
        request = f"{self.command} {self.path}"
        fault = self.proxy.fault(f"{request} {body.decode(errors='replace')}")
        self.proxy.seen.append((request, fault))
        if fault in ("500", "502"):
            return self._answer(int(fault), b"<html>no</html>")
        if fault == "drop":
            return self._end()
        if fault in ("hang", "late"):
            time.sleep(self.proxy.patience)
        if fault == "hang":
            return self._end()
        if fault == "slow":
            time.sleep(2)
        try:
            status, answer = self._forwarded(body)
        except (OSError, http.client.HTTPException):
            return self._end()
        if fault == "done, 500":
            return self._answer(500, b'{"error_code": "INTERNAL_ERROR", "message": "after all"}')
        if fault == "done, garbage":
            return self._answer(200, b"<html>welcome to this hotel's network</html>")
        if fault == "done, empty":
            return self._answer(200, b"")
        if fault == "done, cut":
            self._answer(status, answer[: len(answer) // 2], len(answer) + 1)
            return self._end()
        if fault == "done, hang":
            time.sleep(self.proxy.patience)
        if fault in ("done, drop", "done, hang", "late"):
            return self._end()
        return self._answer(status, answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _forwarded(self, body: bytes) -> tuple[int, bytes]:
        own = ("connection", "transfer-encoding", "content-length", "host", "accept-encoding")
        headers = {key: value for key, value in self.headers.items() if key.lower() not in own}
        return self.proxy.forward(self.command, self.path, headers, body)

    def _answer(self, status: int, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _end(self) -> None:
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test asks for `seen`."""


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(each for child in children for each in family(int(child)))]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

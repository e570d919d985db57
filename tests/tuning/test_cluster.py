"""Joining and starting Ray: what is said where it cannot be done, and who can reach what was started."""

import ipaddress
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from http.client import BadStatusLine
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from raypose.errors import InputError, ResourceError
from raypose.tuning.cluster import cluster
from tests.home import Home


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of a user who has no token yet; Ray itself reads a token only once a process."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of the cluster")
    with pytest.raises(ResourceError, match="--address: no Ray cluster at '127.0.0.1:1': "), cluster("127.0.0.1:1"):
        pass


def test_ray_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("deep" * 30)))  # sockets' paths have 107 characters at most
    with pytest.raises(ResourceError, match="Ray does not start on this machine, .*107"), cluster(None):
        pass


def test_a_cluster_is_not_spoken_to_without_a_token(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody has these addresses: were anything sent, the answer would be another one, and after a long wait.
    for address in ("192.0.2.1:6379", "ray://192.0.2.1:10001", "auto"):
        with pytest.raises(InputError, match=f"--address: {address}: there is no token in .*auth_token: copy"):
            cluster(address).__enter__()
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    with pytest.raises(InputError, match="192.0.2.1:6379: there is no token"):
        cluster(None).__enter__()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(user / "gone"))
    with pytest.raises(InputError, match="RAY_AUTH_TOKEN_PATH: there is no token in .*gone"):
        cluster(None).__enter__()
    assert not (user / ".ray").exists(), "a token made here would not be the cluster's"


@pytest.mark.parametrize("address", [None, "192.0.2.1:6379"])
def test_no_cluster_is_used_without_authentication(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(InputError, match="RAY_AUTH_MODE=disabled: .*: run `unset RAY_AUTH_MODE`"):
        cluster(address).__enter__()


@pytest.mark.parametrize("before", [None, "made by Ray"])
def test_the_token_is_the_user_s_alone(user: Path, monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    file = user / ".ray" / "auth_token"
    if before:
        file.parent.mkdir()
        file.write_text(before)
        file.chmod(0o644)
    monkeypatch.setenv("RAY_TMPDIR", str(user / ("deep" * 30)))  # Ray need not start for this
    with pytest.raises(ResourceError):
        cluster(None).__enter__()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == before or (before is None and len(file.read_text()) == 64)


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def listeners(pids: list[int]) -> Iterator[tuple[str, str, int]]:
    """Command, address and port of every socket on which one of the processes waits for others, as the system has it.

    TCP sockets that listen and UDP sockets that are bound.
    """
    command = {}
    for pid in pids:
        name = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        command |= {os.readlink(handle): name for handle in Path(f"/proc/{pid}/fd").iterdir() if handle.is_symlink()}
    for table, waiting in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            owner = command.get(f"socket:[{fields[9]}]")
            if owner and fields[3] == waiting:
                words, port = fields[1].split(":")
                octets = b"".join(bytes.fromhex(words[i : i + 8])[::-1] for i in range(0, len(words), 8))
                address = ipaddress.ip_address(octets)
                mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
                yield owner, str(mapped or address), int(port, 16)


def jobs_api(port: int, **headers: str) -> int:
    """The status that Ray's jobs API answers with; 0 where something else than HTTP is spoken."""
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}/api/jobs/", headers=headers), timeout=30) as reply:
            return int(reply.status)
    except HTTPError as error:
        return error.code
    except BadStatusLine:
        return 0


@pytest.mark.chaos
@pytest.mark.skipif(sys.platform != "linux", reason="sockets are read from /proc")
def test_while_it_trains_nobody_else_gets_in(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "canary" * 8)
    tune = home.tune("--epochs", "500", "--trials", "1", "--set", "resources.workers=2")
    try:
        home.wait_for(home.epochs, tune)
        found = list(listeners(family(tune.pid)))
        assert {name for name, _, _ in found if "RayTrainWorker" in name}, "the workers of a process group listen too"
        assert len(found) > 10
        assert [each for each in found if not ipaddress.ip_address(each[1]).is_loopback] == []
        answers = {port: jobs_api(port) for name, _, port in found if "DashboardAgent" in name}
        (port,) = [port for port, status in answers.items() if status == 401]
        assert jobs_api(port, Authorization="Bearer " + "wrong" * 8) == 403
        assert jobs_api(port, Authorization="Bearer " + "canary" * 8) == 404, "there is no dashboard"
    finally:
        tune.terminate()
        tune.wait(60)
    assert "canary" not in home.output()


def test_reading_listeners_finds_those_there_are() -> None:
    code = (
        "import socket, sys; s = socket.create_server(('0.0.0.0', 0)); print(s.getsockname()[1], flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        port = int(child.stdout.readline())
        assert [(address, number) for _, address, number in listeners([child.pid])] == [("0.0.0.0", port)]
        child.communicate("\n")

"""Join a Ray cluster or start one on this machine, and see what fits on it. Runs in: driver.

Whoever reaches the ports of a Ray cluster can run programs on it. So every cluster asks for a token, and those started
here are reached from this machine alone.
"""

import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import ray
from ray._private import ray_constants

from raypose.errors import InputError, ResourceError, Stopped
from raypose.space.sections import Resources

WORKER_MEMORY = 3 * 2**30
"""Bytes that a worker and the processes Ray Train starts beside it need, measured on CPU workers."""
CPU_SPARED = 0.02
"""Share of a CPU that each worker leaves to the thin process which speaks for its trial to Tune."""


MOST_LOADERS = 16
"""Of a worker, if nobody says how many: each takes memory, and is started anew in every epoch."""


@dataclass(frozen=True)
class Capacity:
    """How the cluster is used: `lanes` groups of `workers` workers; a GPU's machine has `cpus_per_gpu` for it."""

    lanes: int
    workers: int
    cpus_per_worker: int
    gpus_per_worker: float
    cpus_per_gpu: float = 1.0

    @property
    def per_worker(self) -> dict[str, float]:
        """Ray's resources for one worker."""
        gpu = {"GPU": self.gpus_per_worker} if self.gpus_per_worker else {}
        return {"CPU": self.cpus_per_worker - CPU_SPARED, **gpu}

    @property
    def loaders(self) -> int:
        """Processes that load images for a worker: with a GPU as many as there are CPUs for its part, less its own.

        One does not do: a CPU loads 230 to 560 people a second, and an H200 trains 1,000 of them with rtmpose-m.
        """
        if not self.gpus_per_worker:
            return self.cpus_per_worker - 1
        here = int(self.cpus_per_gpu * self.gpus_per_worker) - 1
        return max(self.cpus_per_worker, min(MOST_LOADERS, here))


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Ray, joined or started; left or stopped again at the end. From its start on SIGINT and SIGTERM raise Stopped.

    Inside `ray job submit` Ray's own environment names the cluster; without that and an address one is started here.
    Raises InputError where no token guards it, and ResourceError where it cannot be reached or started.
    """
    named = address or os.environ.get("RAY_ADDRESS") or "local"
    here = named == "local"
    _require_token(named)
    if here:
        _stay_on_this_machine()
    ray_constants.ENABLE_RAY_CLUSTER = not here  # false: all of Ray listens on the loopback address only
    try:
        _knock(named)
        ray.init(
            address=named,
            include_dashboard=False if here else None,  # a dozen processes that nobody would look at
            runtime_env=None if here else {"env_vars": _settings()},
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=True,
        )
    except Exception as fault:  # a bare one if the processes of a new cluster take more than Ray's 30 seconds
        raise ResourceError(_why_not(named, str(fault).split("\n")[0])) from fault
    try:
        with stoppable(None):
            yield
    finally:
        ray.shutdown()


def _settings() -> dict[str, str]:
    """What processes on a cluster that is there already would not inherit from this one."""
    trains = {name: value for name, value in os.environ.items() if name.startswith("RAY_TRAIN_")}
    others = {name: os.environ[name] for name in ("RAY_CHDIR_TO_TRIAL_DIR", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO")}
    return {**trains, **others, "PYTHONDONTWRITEBYTECODE": ""}


def _require_token(named: str) -> None:
    """Raise InputError, before anything is sent, if this process would speak to a cluster without a token.

    A cluster that is started here gets one, as `ray get-auth-token --generate` would make it, but for this user alone.
    """
    mode = os.environ["RAY_AUTH_MODE"]
    if mode.lower() != "token":
        text = f"RAY_AUTH_MODE={mode}: whoever reaches Ray's ports could run programs here: run `unset RAY_AUTH_MODE`"
        raise InputError(text)
    if os.environ.get("RAY_AUTH_TOKEN"):
        return
    chosen = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(chosen or Path.home() / ".ray" / "auth_token")
    if named == "local" and not chosen:
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_hex(32))
    if not file.is_file() or not file.stat().st_size:
        raise InputError(
            f"{'RAY_AUTH_TOKEN_PATH' if chosen else f'--address: {named}'}: there is no token in {file}: copy that of "
            "the cluster there (`ray get-auth-token` shows it on its head), or set RAY_AUTH_TOKEN to it"
        )
    if file.stat().st_uid == os.geteuid() and file.stat().st_mode & 0o077:
        file.chmod(0o600)  # Ray makes it readable for all users of the machine, who then could run programs as this one


def _stay_on_this_machine() -> None:
    """Have the workers' process groups, NCCL's and Gloo's, listen on the loopback interface."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, loopback)


def _knock(named: str) -> None:
    """Raise OSError if nobody listens at host:port; Ray itself would try for minutes."""
    host, _, port = named.rpartition(":")
    if port.isdigit() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _why_not(named: str, reason: str) -> str:
    if named == "local":
        return f"Ray does not start on this machine, which may be too busy or short of memory; try again: {reason}"
    return f"--address: no Ray cluster at '{named}': {reason}"


@contextmanager
def stoppable(experiment: str | None) -> Iterator[None]:
    """SIGINT and SIGTERM end the block with Stopped; to be entered after `ray.init`, which sets handlers of its own."""
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt  # the only exception that Ray's own waiting lets through

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(received[-1], experiment) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def capacity(wanted: Resources, trials: int) -> Capacity:
    """How many trials run at once. Raises ResourceError if not even one fits, saying what is missing."""
    have = ray.cluster_resources()
    gpus = (1.0 if have.get("GPU") else 0.0) if wanted.gpus_per_worker == "auto" else wanted.gpus_per_worker
    need = {"CPU": wanted.workers * wanted.cpus_per_worker, "GPU": wanted.workers * gpus}
    short = [f"{n:g} {kind}s, and it has {have.get(kind, 0):g}" for kind, n in need.items() if n > have.get(kind, 0)]
    if short:
        raise ResourceError(f"resources: a trial needs {' and '.join(short)}; ask for less or join a larger cluster")
    room = min(_fits(have[kind], n) for kind, n in need.items() if n)
    if wanted.concurrent_trials == "auto":
        memory = int(have.get("memory", WORKER_MEMORY) // (WORKER_MEMORY * wanted.workers))
        lanes = max(1, min(room, memory, trials))
    elif wanted.concurrent_trials > room:
        raise ResourceError(f"resources.concurrent_trials: {wanted.concurrent_trials} wanted, the cluster holds {room}")
    else:
        lanes = min(wanted.concurrent_trials, trials)
    return Capacity(lanes, wanted.workers, wanted.cpus_per_worker, gpus, _cpus_per_gpu())


def _cpus_per_gpu() -> float:
    """Of the machine that has fewest for each of its GPUs."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return min((m.get("CPU", 0.0) / m["GPU"] for m in machines if m.get("GPU")), default=1.0)


def _fits(have: float, need: float) -> int:
    """How often `need` fits; a part of a GPU never spans two. The tiny surplus is for binary fractions (1 / 0.2)."""
    return int(have) * int(1 / need + 1e-9) if need < 1 else int(have / need + 1e-9)

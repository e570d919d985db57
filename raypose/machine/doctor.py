"""Whether this machine can do the work, and what mends it where it cannot. Runs in: command line.

PyTorch and Ray are tried in child processes (raypose.machine.probe): this one stays light.
"""

import os
import re
import shlex
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from raypose.errors import RayposeError
from raypose.machine.installation import REINSTALL, Finding, bytecode, compiler, packages, python
from raypose.machine.probe import probe
from raypose.tracking.store import Store, open_store

GIB = 2**30
LANE_MEMORY = 3 * GIB
"""Bytes a concurrent trial needs; raypose.tuning.cluster has the same figure, but importing that imports Ray."""
DISK = 5 * GIB
SHARED_MEMORY = 1 * GIB
DEMO_FOLDER = Path("data/demo")


def examine(mlruns: Path, data: str | None) -> Iterator[Finding]:
    """Look at everything, the quick things first, and yield each finding as soon as it is known; never raises.

    Ray is started and stopped, or the cluster of RAY_ADDRESS joined and left. A check that fails to run is a finding.
    """
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("Python", python),
        ("packages", packages),
        ("bytecode", bytecode),
        ("C compiler", compiler),
        ("memory", _memory),
        ("/dev/shm", _shared_memory),
        ("mlruns", partial(_folder, "mlruns", mlruns, "name another folder with --mlruns")),
        ("data/", partial(_folder, "data/", Path("data").absolute(), "start raypose in a folder of your own")),
        ("temporary files", _temporary),
        ("MLflow", partial(_mlflow, mlruns)),
        ("data", partial(_data, data)),
        ("training", _training),
        ("Ray", _ray),
    ]
    for what, check in checks:
        try:
            yield from check()
        except RayposeError as error:
            yield Finding(what, False, " ".join(str(error).split()))
        except Exception as fault:  # whatever is broken on this machine, the other checks are still wanted
            said = " ".join(f"{type(fault).__name__}: {fault}".split())
            yield Finding(what, False, f"this could not be checked ({said}): {REINSTALL}")


def _memory() -> Iterator[Finding]:
    if not os.path.exists("/proc/meminfo"):
        yield Finding("memory", True, f"not measured on this system; each concurrent trial needs {_gib(LANE_MEMORY)}")
        return
    free = _free_memory()
    if free < LANE_MEMORY:
        text = f"{_gib(free)} free, a trial needs {_gib(LANE_MEMORY)}: end other programs, or ask for a larger machine"
        yield Finding("memory", False, text)
    else:
        text = f"{_gib(free)} free: enough for {free // LANE_MEMORY} concurrent trials, at {_gib(LANE_MEMORY)} each"
        yield Finding("memory", True, text)


def _free_memory() -> int:
    """Bytes that new processes may take: less than the system has where a container or batch job is limited."""
    system = re.search(r"^MemAvailable: *(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)
    free = int(system[1]) * 1024 if system else 0
    own = re.search(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.M)
    group = Path("/sys/fs/cgroup", own[1] if own else "")
    for limited in (group, *group.parents):
        with suppress(OSError, ValueError):  # no such file, or "max": this group has no limit
            limit, used = (int((limited / f"memory.{name}").read_text()) for name in ("max", "current"))
            cache = re.search(r"^inactive_file (\d+)$", (limited / "memory.stat").read_text(), re.M)
            free = min(free, limit - used + (int(cache[1]) if cache else 0))
    return free


def _shared_memory() -> Iterator[Finding]:
    """Ray's object store and the data loaders' batches lie there; a container gives 64 MiB unless told otherwise."""
    if not os.path.isdir("/dev/shm"):
        yield Finding("/dev/shm", True, "not used on this system")
        return
    free = shutil.disk_usage("/dev/shm").free
    mend = "run `mount -o remount,size=8g /dev/shm` as root, or start the container with `--shm-size=8g`"
    few = f", {_gib(SHARED_MEMORY)} wanted: {mend}"
    yield Finding("/dev/shm", free >= SHARED_MEMORY, f"{_gib(free)} free{few if free < SHARED_MEMORY else ''}")


def _folder(what: str, folder: Path, mend: str) -> Iterator[Finding]:
    """Whether files can be made in the folder, or in the nearest one above it that there is, and the room for them."""
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"raypose")
    except OSError as fault:
        yield Finding(what, False, f"cannot write into {there} ({fault.strerror}): mend that, or {mend}")
        return
    free = shutil.disk_usage(there).free
    few = f", {_gib(DISK)} wanted: delete what is not needed, or {mend}" if free < DISK else ""
    yield Finding(what, free >= DISK, f"{folder} can be written, {_gib(free)} free{few}")


def _temporary() -> Iterator[Finding]:
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    yield from _folder("temporary files", folder, "set TMPDIR and RAY_TMPDIR to a short path with room")


def _mlflow(mlruns: Path) -> Iterator[Finding]:
    store = open_store(mlruns)
    if store.is_server:
        yield _server(store)
    elif store.database:
        database = store.database.absolute()
        yield from _folder("MLflow", database.parent, "name another database in MLFLOW_TRACKING_URI")
        if database.exists():
            yield _sqlite(database)
    else:
        probe("database", 15, f"start the database of MLFLOW_TRACKING_URI={store.address}, or mend that address")
        yield Finding("MLflow", True, f"{store.address} can be reached")


def _server(store: Store) -> Finding:
    mend = "start `mlflow server` there, or mend or unset MLFLOW_TRACKING_URI"
    try:
        with urlopen(f"{store.address.rstrip('/')}/health", timeout=3) as reply:
            return Finding("MLflow", True, f"{store.address} answers ({reply.status})")
    except HTTPError as error:
        sound = error.code in (401, 403)  # it wants the user and password that MLflow's client will send
        return Finding("MLflow", sound, f"{store.address} answers ({error.code}){'' if sound else f': {mend}'}")
    except (OSError, HTTPException) as fault:
        reason = getattr(fault, "reason", fault)
        return Finding("MLflow", False, f"{store.address} does not answer within 3 s ({reason}): {mend}")


def _sqlite(database: Path) -> Finding:
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=3)) as opened:
            runs = opened.execute("SELECT count(*) FROM runs").fetchone()[0]
    except sqlite3.Error as fault:
        mend = "move it away; `raypose restore` writes the runs of an experiment anew, from its own record"
        return Finding("MLflow", False, f"{database} is no sound MLflow database ({fault}): {mend}")
    return Finding("MLflow", True, f"{database} holds {runs} runs")


def _data(data: str | None) -> Iterator[Finding]:
    """The named folder as `raypose data check` sees it; without a name, what lies where it usually lies."""
    folder = DEMO_FOLDER if data == "demo" else Path(data or "")
    if data is None:
        there = [str(usual) for usual in (DEMO_FOLDER, Path("data/mpii")) if usual.is_dir()]
        none = f"neither {DEMO_FOLDER} nor data/mpii yet: `raypose tune` renders the demo set when it needs it"
        yield Finding("data", True, f"{' and '.join(there)} found; --data checks one" if there else none)
    elif data == "demo" and not folder.exists():
        yield Finding("data", True, f"no {folder} yet: `raypose tune` renders it when it needs it")
    else:
        yield _mpii(folder)


def _mpii(folder: Path) -> Finding:
    from raypose.datasets.mpii import check_mpii

    report = check_mpii(folder)
    text = (
        f"{folder}: {report.train_people} people in {report.train_images} images to train on, {report.val_people} in "
        f"{report.val_images} to validate; {len(report.problems)} problems"
    )
    if report.problems:
        text += f", such as {report.problems[0]}; see all with `raypose data check {shlex.quote(str(folder))}`"
    return Finding("data", not report.errors, text)


def _training() -> Iterator[Finding]:
    found = probe("training", 300, REINSTALL)
    cuda = f"built for CUDA {found['cuda']}" if found["cuda"] else "built without CUDA"
    text = f"torch {found['torch']} ({cuda}) and mmpose {found['mmpose']} imported in {found['seconds']:.1f} s"
    yield Finding("training", True, text)
    gpus = ", ".join(f"{name} ({_gib(memory)})" for name, memory in found["gpus"])
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpus:
        yield Finding("GPU", True, gpus)
    elif hidden is not None or not (os.path.exists("/proc/driver/nvidia/version") or shutil.which("nvidia-smi")):
        why = f" (CUDA_VISIBLE_DEVICES='{hidden}' hides any)" if hidden is not None else ""
        yield Finding("GPU", True, f"no GPU: training runs on CPU{why}")
    else:
        said = " ".join(" ".join(found["warnings"]).split()) or "it gives no reason"
        mend = f"install a driver for CUDA {found['cuda']}" if found["cuda"] else "install a torch that has CUDA"
        mend += ", start a container with `--gpus all`, or run `export CUDA_VISIBLE_DEVICES=` to train on CPU"
        yield Finding("GPU", False, f"an NVIDIA driver is there, but torch finds no GPU ({said}): {mend}")


def _ray() -> Iterator[Finding]:
    mode, address = os.environ.get("RAY_AUTH_MODE", "token"), os.environ.get("RAY_ADDRESS")
    if mode.lower() != "token":
        text = f"RAY_AUTH_MODE={mode}: whoever reaches Ray's ports can run programs here: run `unset RAY_AUTH_MODE`"
        yield Finding("Ray", False, text)
        return  # nothing of raypose speaks to Ray so
    logs = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), "ray/session_*/logs")
    start = f"mend what is BAD above, or set RAY_TMPDIR to a short path with room; Ray's own words: the newest {logs}"
    found = probe(
        "ray_cluster", 60, f"start that cluster, or run `unset RAY_ADDRESS` ({address})" if address else start
    )
    have = found["have"]
    done = f"joined RAY_ADDRESS={address}" if address else "started here"
    room = f"{have.get('CPU', 0):g} CPUs, {have.get('GPU', 0):g} GPUs, {_gib(have.get('memory', 0))}"
    lanes = f"up to {found['lanes']} concurrent trials"
    yield Finding("Ray", True, f"{found['version']} {done} and ran a task in {found['seconds']:.1f} s: {room}; {lanes}")


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"

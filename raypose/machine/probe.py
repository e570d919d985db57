"""What `raypose doctor` tries in a process of its own, which leaves nothing behind. Runs in: command line, its child.

`probe` starts the child and ends it with all that it started; the functions above it are what the child runs.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from raypose.errors import WorkError


def training() -> dict[str, Any]:
    """Import what training imports, and compute on each GPU; `gpus` holds their names and bytes of memory."""
    start = time.perf_counter()
    import torch

    import raypose.training  # noqa: F401

    seconds = time.perf_counter() - start
    with warnings.catch_warnings(record=True) as caught:  # in which PyTorch says why it finds no GPU
        warnings.simplefilter("always")
        gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    for number in range(len(gpus)):
        torch.ones(2, device=f"cuda:{number}").sum().item()
    return {
        "seconds": seconds,
        "torch": torch.__version__,
        "mmpose": version("mmpose"),
        "cuda": torch.version.cuda,
        "gpus": [(gpu.name, gpu.total_memory) for gpu in gpus],
        "warnings": [str(warning.message) for warning in caught],
    }


def ray_cluster() -> dict[str, Any]:
    """Start Ray, or join RAY_ADDRESS, as `raypose tune` does, and run an empty task; `lanes` is what fits at once."""
    start = time.perf_counter()
    from raypose.space.sections import Resources
    from raypose.tuning.cluster import capacity, cluster

    # isort: split
    import ray  # after raypose's settings are made, which it reads when it is imported

    with cluster(None):
        ray.get(ray.remote(num_cpus=0)(lambda: None).remote())
        return {
            "seconds": time.perf_counter() - start,
            "version": ray.__version__,
            "have": ray.cluster_resources(),
            "lanes": capacity(Resources(), sys.maxsize).lanes,
        }


def database() -> dict[str, Any]:
    """Connect to the database that MLFLOW_TRACKING_URI names."""
    import sqlalchemy

    sqlalchemy.create_engine(os.environ["MLFLOW_TRACKING_URI"]).connect().close()
    return {}


def probe(what: Literal["training", "ray_cluster", "database"], limit_s: int, mend: str) -> dict[str, Any]:
    """Run one of the functions above in a process of its own.

    Raises WorkError, with `mend`, if it fails or is not done in time.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        status = run_alone(["-m", "raypose.machine.probe", what, str(limit_s)], limit_s, output, errors)
        output.seek(0)
        errors.seek(0)
        if status != 0:
            raise WorkError(f"{_reason(status, errors.read(), limit_s)}: {mend}")
        found: dict[str, Any] = json.loads(output.read().splitlines()[-1])
        return found


def run_alone(arguments: list[str], limit_s: float, output: Any, errors: Any) -> int | None:
    """Run Python, and end all that it started; returns its exit status, or None if it was not done in time."""
    child = subprocess.Popen(
        [sys.executable, "-P", *arguments],  # -P: a torch.py in the current folder is not PyTorch
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )
    try:
        return child.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        child.kill()
        child.wait()
        _end_session(child.pid)


def _end_session(leader: int) -> None:
    """End all that the leader of a session started: Ray's processes leave its process group, not its session."""
    with suppress(ProcessLookupError, PermissionError):  # nobody is left in its group
        if leader != os.getpid():
            os.killpg(leader, signal.SIGKILL)
    while left := [pid for pid in _session(leader) if pid != os.getpid()]:
        for pid in left:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)  # and look again: one that was just being born can escape the first look


def _session(leader: int) -> list[int]:
    """The living processes of a session, where the system lists processes in /proc."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, _, _, session = file.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                found.append(int(file.parent.name))
    return found


def _reason(status: int | None, errors: str, limit_s: int) -> str:
    """The exception that ended a child, from its traceback, or what else ended it."""
    exceptions = re.findall(r"^(?:raypose\.errors\.\w+: )?([A-Za-z_-][\w.]*: .+)$", errors, re.M)
    if status is None:
        return f"not done within {limit_s} s"
    if status < 0:
        return f"ended by signal {-status}"
    return exceptions[-1] if exceptions else f"ended with status {status}"


def _give_up() -> None:
    """End this process, a leader, and all it started: the doctor, which should have done so, was itself killed."""
    _end_session(os.getpid())
    os._exit(1)


if __name__ == "__main__":
    overdue = threading.Timer(int(sys.argv[2]) + 5, _give_up)
    overdue.daemon = True
    overdue.start()
    print(json.dumps({"training": training, "ray_cluster": ray_cluster, "database": database}[sys.argv[1]]()))

"""What a study ran on: versions, machine and git commit. Runs in: driver."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("raypose", "torch", "mmpose", "mmengine", "mmcv-lite", "ray", "optuna", "mlflow", "numpy")


def environment() -> dict[str, object]:
    """Versions of Python and the libraries (None if absent), the platform and the number of CPUs."""
    packages = {name: _version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **packages, "platform": platform.platform(), "cpus": os.cpu_count()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_tags() -> dict[str, str]:
    """MLflow's tag of the current directory's commit and whether files differ from it; empty outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}
    dirty = _git("status", "--porcelain", "--untracked-files=no")
    return {"mlflow.source.git.commit": commit, "raypose.git_dirty": "true" if dirty else "false"}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):  # no git here, or a file system too slow to wait for
        return None
    return done.stdout.strip() if done.returncode == 0 else None

"""Whether raypose and what it needs are installed as they should be. Runs in: command line."""

import os
import platform
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

REINSTALL = "run `uv sync --reinstall` in raypose's folder"


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is sound, and what was seen or, if it is not sound, what mends it."""

    what: str
    sound: bool
    text: str


def python() -> Iterator[Finding]:
    """Whether this is a Python that raypose runs on."""
    wanted, have = metadata("raypose")["Requires-Python"], platform.python_version()
    sound = SpecifierSet(wanted).contains(have, prereleases=True)
    mend = "" if sound else f", and raypose needs {wanted}: run `uv sync --python 3.12` in raypose's folder"
    yield Finding("Python", sound, f"{have} at {sys.executable}{mend}")


def packages() -> Iterator[Finding]:
    """Raypose's direct dependencies and what their extras bring, such as Ray's dashboard, against their bounds."""
    direct = [Requirement(line) for line in requires("raypose") or []]
    faults = [fault for wanted in direct for fault in (_fault(wanted), *map(_fault, _of_extras(wanted))) if fault]
    for intruder, own in (("opencv-python", "opencv-python-headless"), ("mmcv", "mmcv-lite")):
        if _installed(intruder):
            faults.append(
                f"{intruder} is installed and overwrites files of {own}: "
                f"run `uv pip uninstall {intruder} && uv sync --reinstall-package {own}`"
            )
    for fault in faults:
        yield Finding("packages", False, fault)
    if not faults:
        yield Finding("packages", True, f"all {len(direct)} direct dependencies are within their bounds")


def _of_extras(wanted: Requirement) -> list[Requirement]:
    """What the extras that raypose asks of a package add to it."""
    if not wanted.extras or not _installed(wanted.name):
        return []
    lines = [Requirement(line) for line in requires(wanted.name) or []]
    return [r for r in lines if r.marker and any(r.marker.evaluate({"extra": extra}) for extra in wanted.extras)]


def _fault(wanted: Requirement) -> str | None:
    have = _installed(wanted.name)
    if have and wanted.specifier.contains(have, prereleases=True):
        return None
    seen = f"{wanted.name} {have} is installed" if have else f"{wanted.name} is not installed"
    plain = f"{wanted.name}{wanted.specifier}"
    return f"{seen}, {plain} is needed: run `uv sync`, or `uv pip install --python {sys.executable} '{plain}'`"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def bytecode() -> Iterator[Finding]:
    """Whether the large packages were compiled when they were installed; not what PYTHONDONTWRITEBYTECODE says."""
    found = {name: PathFinder.find_spec(name) for name in ("torch", "mmengine", "mmpose", "ray", "mlflow")}
    bare = [name for name, spec in found.items() if spec and spec.cached and not os.path.exists(spec.cached)]
    if bare:
        command = f"{sys.executable} -m compileall -q -j 0 {shlex.quote(sysconfig.get_path('purelib'))}"
        text = f"{', '.join(bare)} not compiled, so imports take three times as long: run `{command}`"
        yield Finding("bytecode", False, text)
    else:
        yield Finding("bytecode", True, "the installed packages are compiled")


def compiler() -> Iterator[Finding]:
    """Needed to build xtcocotools and for nothing else, so its absence does no harm once that is built."""
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    built = _installed("xtcocotools") is not None
    mend = "`apt install build-essential`, `dnf install gcc` or `xcode-select --install` brings one"
    if found:
        yield Finding("C compiler", True, found)
    elif built:
        yield Finding("C compiler", True, f"none, and none needed until the next installation; {mend}")
    else:
        yield Finding("C compiler", False, f"none, and xtcocotools must be built: {mend}; then run `uv sync`")

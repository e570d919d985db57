"""An experiment's folder: made whole, found by name, worked on by one process at a time. Runs in: driver, command line.

`<mlruns>/experiments/<name>/` holds `spec.json` (all that a restore needs), `study.db`, `lock`, and `trials/<number>/`;
where the best trials are repeated, `final/` holds the same again, and `verdict.json`.
"""

import difflib
import errno
import itertools
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from raypose.errors import ExperimentError
from raypose.record.epochs import copy_record
from raypose.record.files import read_json, read_whole, write_json

VERDICT = "verdict.json"
A_LOOK_S = 1.0  # far longer than whoever only asks whether an experiment is held holds it
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ExperimentFolder:
    """Where one experiment lives; the final of a search lives in the search's folder and has it as `parent`."""

    path: Path
    parent: "ExperimentFolder | None" = None

    @property
    def name(self) -> str:
        """The experiment's name, by which `restore` and `show` find it."""
        return f"{self.parent.name}/{self.path.name}" if self.parent else self.path.name

    @property
    def mlruns(self) -> Path:
        """Folder of all experiments and of MLflow's database."""
        return self.parent.mlruns if self.parent else self.path.parents[1]

    @property
    def final(self) -> "ExperimentFolder":
        """Where the best trials are repeated; it need not exist."""
        return ExperimentFolder(self.path / "final", self)

    @property
    def exists(self) -> bool:
        """Has the experiment been made?"""
        return (self.path / "spec.json").is_file()

    @property
    def verdict(self) -> dict[str, Any] | None:
        """What came out of a final, once it is known."""
        return read_whole(self.path / VERDICT)

    @property
    def saved(self) -> dict[str, Any]:
        """What was saved when the experiment was made: specification, base values, facts of the data."""
        return read_json(self.path / "spec.json")

    @property
    def study_file(self) -> Path:
        """The experiment's own SQLite database."""
        return self.path / "study.db"

    @property
    def study_url(self) -> str:
        """The address of its own database, as Optuna takes it."""
        return f"sqlite:///{self.study_file}"

    def require_own(self) -> None:
        """Raise ExperimentError if another user made what a restore would act on; root's is nobody else's.

        To look at an experiment is safe. To go on with it runs what its specification names, and Optuna unpickles what
        its CMA-ES sampler left in the study.
        """
        parts = [part for each in (self, self.final) for part in (each.path, each.path / "spec.json", each.study_file)]
        for file in parts:
            if file.exists() and file.stat().st_uid not in (os.geteuid(), 0):
                copy = f"cp -r {shlex.quote(str(self.path))} {shlex.quote(f'{self.path}-mine')}"
                raise ExperimentError(
                    f"{self.name}: {file} belongs to another user, who could have you run anything; if you trust them, "
                    f"make a copy of your own: {copy} && raypose restore {self.path.name}-mine"
                )

    def trial(self, number: int) -> Path:
        """Folder of one trial's config, log and checkpoints."""
        return self.path / "trials" / f"{number:04d}"

    def is_worked_on(self) -> bool:
        """Does a living process hold this experiment?"""
        if self.parent:
            return self.parent.is_worked_on()
        try:
            with FileLock(self.path / "lock", timeout=0):
                return False
        except Timeout:
            return True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the experiment against other processes; the system frees the lock of one that died.

        Raises ExperimentError if it is held already.
        """
        try:
            with FileLock(self.path / "lock", timeout=A_LOOK_S):
                yield
        except Timeout as fault:
            raise ExperimentError(
                f"{self.name}: another process is working on this experiment; `raypose show {self.name}` shows it"
            ) from fault


def check_name(mlruns: Path, name: str) -> None:
    """Raise ExperimentError if no experiment can be made under this name."""
    if not NAME.fullmatch(name):
        raise ExperimentError(f"--name: '{name}': use letters, digits, '.', '_', '-', and begin with a letter or digit")
    if (mlruns / "experiments" / name).exists():
        raise ExperimentError(f"--name: '{name}' exists; go on with `raypose restore {name}`, or choose another name")


def create_experiment(
    mlruns: Path,
    name: str | None,
    stem: str,
    saved: dict[str, Any],
    copied: Mapping[int, Path] | None = None,
    begin: Callable[[Path], None] | None = None,
) -> ExperimentFolder:
    """Make the folder with everything in it or not at all; without a name the first free `<stem>-<n>` is taken.

    `copied` are the folders of trials that are taken over, by the number each is to have here; `begin` fills the
    folder of trial 0.
    """
    if name is not None:
        check_name(mlruns, name)
    root = mlruns / "experiments"
    root.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    for number, trial in (copied or {}).items():
        copy_record(trial, ExperimentFolder(staging).trial(number))
    if begin:
        begin(ExperimentFolder(staging).trial(0))
    write_json(staging / "spec.json", saved)
    staging.chmod(0o755)
    for final in [root / name] if name else (root / f"{_clean(stem)}-{n}" for n in itertools.count(1)):
        try:
            os.rename(staging, final)  # refuses a folder that holds something, also one made this very moment
            return ExperimentFolder(final.resolve())
        except OSError as fault:
            if fault.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    shutil.rmtree(staging)
    raise ExperimentError(f"--name: '{name}' exists; another process has just made it")


def create_final(search: ExperimentFolder, saved: dict[str, Any]) -> ExperimentFolder:
    """Make the final of a search, which its `spec.json` brings into being."""
    search.final.path.mkdir(exist_ok=True)
    write_json(search.final.path / "spec.json", saved)
    return search.final


def find_experiment(mlruns: Path, name: str) -> ExperimentFolder:
    """The folder of an experiment. Raises ExperimentError with the nearest name that exists."""
    stem, _, final = name.partition("/")
    folder = ExperimentFolder((mlruns / "experiments" / stem).resolve())
    if NAME.fullmatch(stem) and folder.exists and (not final or name == folder.final.name and folder.final.exists):
        return folder.final if final else folder
    known = [f.name for f in experiments(mlruns)]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "`raypose list` shows those there are"
    raise ExperimentError(f"no experiment '{name}' in {mlruns}; {hint}")


def experiments(mlruns: Path) -> list[ExperimentFolder]:
    """All experiments, the oldest first."""
    specs = (mlruns / "experiments").glob("[!.]*/spec.json")
    return [ExperimentFolder(s.parent.resolve()) for s in sorted(specs, key=lambda s: s.stat().st_mtime)]


def latest_experiment(mlruns: Path, name: str | None, stem: str) -> ExperimentFolder | None:
    """The experiment of this name, or without one the `<stem>-<n>` that was made last; None if there is none."""
    pattern = re.compile(re.escape(name) if name else rf"{re.escape(_clean(stem))}-\d+")
    return next((f for f in reversed(experiments(mlruns)) if pattern.fullmatch(f.name)), None)


def _clean(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-._") or "experiment"

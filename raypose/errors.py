"""The tree of errors a user can cause or must hear of. Runs in: every process.

RayposeError
├── InputError            exit code 2: mend the input and start again
│   ├── SpecError         the specification file or an option that overrides it
│   ├── DataError         the data folder
│   ├── WeightsError      the weights to start from
│   ├── ExperimentError   the name of an experiment, or its folder
│   │   └── DamagedError  a file of the record was cut or changed
│   └── ResourceError     the cluster is smaller than what was asked for
└── WorkError             exit code 1: the work was begun and failed
    ├── DivergedError     a trial's loss or metric is no longer a finite number
    └── NoSpaceError      the disk has no room for what is to be written next

Stopped                   SIGINT or SIGTERM; no RayposeError, for nothing is wrong: exit code 130 or 143
"""

from pathlib import Path


class RayposeError(Exception):
    """Base of all errors that are told to the user in one line, without a traceback."""

    exit_code = 1


class InputError(RayposeError):
    """What the user gave cannot be used: nothing was begun."""

    exit_code = 2


class SpecError(InputError):
    """The specification is wrong; `problems` lists every fault found, each with its place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class DataError(InputError):
    """A data folder is missing, incomplete or not in the layout of its format."""


class WeightsError(InputError):
    """The weights cannot be read, or do not fit the model."""


class ExperimentError(InputError):
    """No such experiment, a name already taken, or another process works on it."""


class DamagedError(ExperimentError):
    """A file of the record was cut or changed since it was written."""

    def __init__(self, path: Path, remedy: str = "put it back from a copy") -> None:
        super().__init__(f"{path}: damaged; {remedy}")


class ResourceError(InputError):
    """The cluster cannot hold what the specification asks for."""


class WorkError(RayposeError):
    """The work itself failed."""


class DivergedError(WorkError):
    """A trial's loss or metric became NaN or infinite: its settings do not train."""


class NoSpaceError(WorkError):
    """The disk has no room for what is to be written next: free some, and restore."""


class Stopped(BaseException):
    """The user or the system wants the process to end; like KeyboardInterrupt, no `except Exception` catches it."""

    def __init__(self, signal_number: int, experiment: str | None = None) -> None:
        super().__init__(signal_number, experiment)
        self.exit_code = 128 + signal_number
        self.experiment = experiment

    def __str__(self) -> str:
        if self.experiment is None:
            return "stopped before an experiment was made"
        return f"stopped; every finished epoch is kept, and `raypose restore {self.experiment}` goes on"

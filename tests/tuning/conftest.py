"""A folder in which raypose runs as a program, and one search with all that may come between, for several tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from raypose.record.requests import STOP
from tests.home import START_S, Home

EPOCHS, SEED, HELD_OUT = 3, 5, 0.4
RULES = (
    *("search.start=[{lr: 2.0e-3}]", f"search.seed={SEED}", "search.hours=1"),
    *("final.top=1", "final.seeds=2", f"test={HELD_OUT}"),
    "resources.concurrent_trials=1",  # a lane's start takes more than what is trained here
)

LONG = pytest.mark.timeout(900)  # for the first test of the search, which waits for all of it


@pytest.fixture
def home(tmp_path: Path, tiny_data: Path) -> Home:
    """Where raypose starts its own Ray."""
    return Home(tmp_path, tiny_data)


@dataclass(frozen=True)
class Disturbed:
    """The search `exp` and its final, how it stood between, and what the verbs beside it said."""

    home: Home
    said: dict[str, tuple[int, str]]
    stopped: dict[str, Any]
    killed: dict[str, Any]
    committed: dict[Path, int]
    view: dict[str, Any]

    @property
    def repetitions(self) -> Path:
        """The folder of the final's trials."""
        return self.home.folder().final.path / "trials"


@pytest.fixture(scope="session")
def disturbed(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Disturbed:
    """Trial 1 is stopped, then all; extended and restored; trial 3 is stopped; the final is killed and restored."""
    home = Home(tmp_path_factory.mktemp("home"), tiny_data)
    folder, said, over = home.folder(), dict[str, tuple[int, str]](), home.path / "over"

    def at_work(trial: int, until: Path) -> Path:
        """The verbs take seconds to start, and find the trial in its second epoch."""
        return home.slow(folder.trial(trial) / "epoch_0001", until)

    first, second = at_work(1, folder.trial(1) / STOP), at_work(2, over)
    third = at_work(3, folder.trial(3) / STOP)
    driver = home.tune("--trials", "3", "--epochs", str(EPOCHS), *(f"--set={rule}" for rule in RULES))
    home.wait_for(first.exists, driver)
    said["stop --trial 1"] = home.verb("stop", "exp", "--trial", "1")
    home.wait_for(second.exists, driver)
    said["watch"] = home.verb("watch", "exp", "--once")
    said["stop"] = home.verb("stop", "exp")
    assert driver.wait(60) == 143, home.output()
    over.touch()
    said["stop again"] = home.verb("stop", "exp")
    stopped, committed = home.show(), inodes(home.epochs())
    said["extend"] = home.verb("extend", "exp", "--trials", "1")

    driver = home.start("restore", "exp")
    home.wait_for(third.exists, driver)
    said["stop --trial 3"] = home.verb("stop", "exp", "--trial", "3")
    repetitions = folder.final.path / "trials"
    home.wait_for(lambda: list(repetitions.glob("*/epoch_*")), driver)
    driver.kill()
    driver.wait()
    killed = home.show()
    committed |= inodes([*home.epochs(), *repetitions.glob("*/epoch_*")])

    driver = home.start("restore", "exp")
    home.wait_for(folder.is_worked_on, driver)
    said["watch to the end"] = home.verb("watch", "exp")
    assert driver.wait(START_S) == 0, home.output()
    return Disturbed(home, said, stopped, killed, committed, home.show())


def inodes(epochs: list[Path]) -> dict[Path, int]:
    """What tells a folder from another one of its name."""
    return {epoch: epoch.stat().st_ino for epoch in epochs}

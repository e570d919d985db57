"""An experiment's folder is made whole, found by name, and held by one process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raypose.errors import ExperimentError
from raypose.record.folder import create_experiment, experiments, find_experiment

SAVED = {"experiment": {"model": "rtmpose-n"}}
HOLD = """
import sys, time
from pathlib import Path
from raypose.record.folder import find_experiment
with find_experiment(Path(sys.argv[1]), "a").held():
    print("held", flush=True)
    time.sleep(60)
"""


def test_without_a_name_the_first_free_number_is_taken(tmp_path: Path) -> None:
    names = [create_experiment(tmp_path, None, "lr", SAVED).name for _ in range(3)]
    assert names == ["lr-1", "lr-2", "lr-3"]
    assert [f.name for f in experiments(tmp_path)] == names
    assert find_experiment(tmp_path, "lr-2").saved == SAVED


def test_an_odd_file_name_makes_a_usable_experiment_name(tmp_path: Path) -> None:
    name = create_experiment(tmp_path, None, "my search (2).v1", SAVED).name
    assert find_experiment(tmp_path, name).name == name == "my-search-2-v1-1"


def test_a_taken_name_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    create_experiment(tmp_path, "a", "lr", SAVED)
    with pytest.raises(ExperimentError, match="'a' exists; go on with `raypose restore a`"):
        create_experiment(tmp_path, "a", "lr", {"other": 1})
    assert [f.name for f in (tmp_path / "experiments").iterdir()] == ["a"]
    assert find_experiment(tmp_path, "a").saved == SAVED


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 65, "a b"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExperimentError, match="use letters"):
        create_experiment(tmp_path, name, "lr", SAVED)
    with pytest.raises(ExperimentError, match="no experiment"):
        find_experiment(tmp_path, name)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    create_experiment(tmp_path, "freeze-1", "lr", SAVED)
    with pytest.raises(ExperimentError, match="did you mean 'freeze-1'"):
        find_experiment(tmp_path, "freze-1")


def test_a_living_process_holds_an_experiment_and_a_dead_one_does_not(tmp_path: Path) -> None:
    folder = create_experiment(tmp_path, "a", "lr", SAVED)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert folder.is_worked_on()
    with pytest.raises(ExperimentError, match="another process"), folder.held():
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with folder.held():
        assert folder.is_worked_on()
    assert not folder.is_worked_on()

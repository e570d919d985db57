"""Machines that fail under an experiment: a node dies, a disk fills up, memory runs out, a trial never works."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from raypose.record.files import read_json
from tests.chaos.real import Chaos, Told, check, wait
from tests.chaos.simulation import violations
from tests.home import ray_head, ray_node

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


def kill_all(session: int) -> None:
    """A node with all its processes; Ray puts its workers into process groups of their own."""
    for pid in sorted(int(process.name) for process in Path("/proc").glob("[0-9]*")):
        with suppress(ProcessLookupError):
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)


def test_a_node_dies_and_its_trial_goes_on_on_another(tmp_path: Path, tiny_data: Path, unbroken: Told) -> None:
    with ray_head(cpus=0) as address:
        chaos = Chaos(tmp_path, tiny_data, address)
        join = ["start", f"--address={address}", "--block", "--num-cpus=2", "--resources"]
        with ray_node([*join, '{"a": 1}']) as one, ray_node([*join, '{"b": 1}']) as other:
            driver = chaos.begin()
            chaos.wait_for(chaos.epochs, driver)
            (pid, *_) = chaos.processes("RayTrainWorker")
            node = os.getsid(pid)
            assert node in (one.pid, other.pid)
            kill_all(node)
            assert wait(driver, chaos) == 0, chaos.output()
            check(chaos, unbroken)
            assert sum(trial["attempts"] for trial in chaos.show()["trials"]) == 3


def test_another_cluster_of_the_same_user_does_no_harm(tmp_path: Path, tiny_data: Path, unbroken: Told) -> None:
    with ray_head(cpus=0):
        chaos = Chaos(tmp_path, tiny_data, "local")
        assert wait(chaos.begin(), chaos) == 0, chaos.output()
        check(chaos, unbroken)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 160 MB for what an experiment writes."""
    place = tmp_path / "mlruns"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", place], check=False).returncode:
        pytest.skip("only root can mount a disk")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)  # MLflow's client in this process keeps its database open


def nearly_full(disk: Path) -> str:
    """Leave 30 MB: a checkpoint fits, the reserve does not. Returns what is then told."""
    (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 30 * 2**20))
    return "the next checkpoint needs"


def quite_full(disk: Path) -> str:
    """Leave no byte."""
    with (disk / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(2**16))
    return "raypose restore exp"


@pytest.mark.parametrize("fill", [nearly_full, quite_full])
def test_a_full_disk_stops_the_experiment_and_freed_it_goes_on(
    chaos: Chaos, unbroken: Told, small_disk: Path, fill: Callable[[Path], str]
) -> None:
    driver = chaos.begin()
    chaos.wait_for(chaos.epochs, driver)
    told = fill(small_disk)
    assert wait(driver, chaos) == 1, chaos.output()
    assert told in chaos.output() and "raypose restore exp" in chaos.output() and "Traceback" not in chaos.output()
    assert violations(chaos.folder()) == []
    (small_disk / "ballast").unlink()
    assert wait(chaos.restore(), chaos) == 0
    check(chaos, unbroken)


def test_a_trial_that_always_fails_is_given_up_and_the_others_go_on(chaos: Chaos) -> None:
    for attempt in range(4):
        chaos.fault("raise", "os.mkdir", r"0001/\.epoch_0002\.tmp", error=[5, f"broken for the {attempt + 1}. time"])
    assert wait(chaos.begin(), chaos) == 0, chaos.output()
    good, bad = chaos.show()["trials"]
    assert good["state"] == "complete" and bad["state"] == "failed" and bad["attempts"] == 4
    assert "broken for the 4. time" in bad["error"] and "attempt 4 of 4" in bad["error"]
    assert [epoch["number"] for epoch in bad["epochs"]] == [1]
    assert chaos.show()["state"] == "finished" and chaos.show()["best_trial"] == 0


def test_a_second_process_on_the_same_experiment_is_refused(chaos: Chaos, unbroken: Told) -> None:
    driver = chaos.begin()
    chaos.wait_for(chaos.epochs, driver)
    driver.send_signal(signal.SIGSTOP)  # else it might be done before the other one asks
    assert wait(chaos.restore(), chaos) == 2
    driver.send_signal(signal.SIGCONT)
    assert "another process is working on this experiment" in chaos.output()
    assert wait(driver, chaos) == 0
    check(chaos, unbroken)


LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import torch
from raypose.space.run import Run
from raypose.training.train import train

def trained(name, size, batch):
    folder = Path(sys.argv[2]) / name
    run = Run(model="rtmpose-n", weights="none", values={"input_size": size}, metric="PCK", epochs=1, batch_size=batch,
              loader_workers=0, amp=False, seed=0, workers=1, gpu=False, data=Path(sys.argv[1]), train_people=24,
              folder=folder)
    assert train(run, lambda metrics, folder: False)

torch.set_num_threads(1)
trained("warm", "64x64", 2)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 1000 * 2**20, resource.RLIM_INFINITY))
trained("large", "320x320", 24)
"""


def test_a_batch_that_the_machine_s_memory_does_not_hold_is_split(tmp_path: Path, tiny_data: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", LITTLE_MEMORY, tiny_data, tmp_path], check=True)
    kept = read_json(tmp_path / "large" / "batch.json")
    assert kept["batch_size"] * kept["accumulation"] == 24 and 1 <= kept["batch_size"] < 24
    assert "the effective batch stays 24" in (tmp_path / "large" / "train.log").read_text()

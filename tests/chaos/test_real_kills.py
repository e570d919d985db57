"""Whatever dies, whenever: the same experiment, to the last bit, with real Ray, real trainings and real MLflow."""

import random
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.real import EPOCHS, Chaos, Told, check, wait

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
OPENED = 12 + 4  # images that one of two workers opens in an epoch


@pytest.mark.parametrize("seed", range(10))
def test_the_driver_is_killed_at_a_random_moment(chaos: Chaos, unbroken: Told, seed: int) -> None:
    driver = chaos.begin()
    chaos.wait_for(lambda: "starting the workers" in chaos.output(), driver)
    time.sleep(random.Random(seed).uniform(0, 30))
    driver.kill()
    driver.wait()
    committed = {path: path.stat().st_ino for path in chaos.epochs()}
    assert wait(chaos.restore(), chaos) == 0
    assert all(path.stat().st_ino == inode for path, inode in committed.items()), "a committed epoch was trained again"
    check(chaos, unbroken)


@pytest.mark.parametrize(
    ("event", "match", "nth"),
    [("os.rename", "trial.json", 1), ("os.rename", "trial.json", 3), ("sqlite3.connect", "study.db", 2)],
)
def test_the_driver_is_killed_where_it_writes(chaos: Chaos, unbroken: Told, event: str, match: str, nth: int) -> None:
    chaos.fault("kill", event, match, nth)
    assert wait(chaos.begin(), chaos) == -signal.SIGKILL, chaos.output()
    assert wait(chaos.restore(), chaos) == 0
    check(chaos, unbroken)


POINTS = {
    "in a step": ("open", "/images/", 20, "0"),
    "in a step of the other rank": ("open", "/images/", 2 * OPENED + 5, "1"),
    "before a checkpoint": ("os.mkdir", r"\.epoch_0002\.tmp", 1, "0"),
    "in a checkpoint": ("open", r"\.epoch_0002\.tmp/weights\.pth", 1, "0"),
    "before its commit": ("os.rename", r"epoch_0002$|epoch_0002 ", 1, "0"),
    "between the new best and the end of the old one": ("os.rename", r"epoch_0001/\.meta", 1, "0"),
    "while the old one is freed": ("os.remove", "epoch_0001", 2, "0"),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_is_killed(chaos: Chaos, unbroken: Told, point: str) -> None:
    event, match, nth, rank = POINTS[point]
    killed = chaos.fault("kill", event, match, nth, env={"RANK": rank})
    assert wait(chaos.begin(), chaos) == 0, chaos.output()
    assert killed.exists(), "it was never there"
    check(chaos, unbroken)
    assert sum(trial["attempts"] for trial in chaos.show()["trials"]) == 3


@pytest.mark.parametrize("title", ["ImplicitFunc", "keep_lane", "TrainController"])
def test_a_process_that_speaks_for_a_trial_is_killed(chaos: Chaos, unbroken: Told, title: str) -> None:
    driver = chaos.begin()
    chaos.wait_for(chaos.epochs, driver)
    chaos.kill(title, driver)
    assert wait(driver, chaos) == 0, chaos.output()
    check(chaos, unbroken)


def test_the_broker_is_killed_and_a_restore_goes_on(chaos: Chaos, unbroken: Told) -> None:
    driver = chaos.begin()
    chaos.wait_for(chaos.epochs, driver)
    chaos.kill("Broker", driver)
    assert wait(driver, chaos) == 1 and "raypose restore exp" in chaos.output()
    assert wait(chaos.restore(), chaos) == 0
    check(chaos, unbroken)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_worker_that_hangs_is_replaced(chaos: Chaos, unbroken: Told, rank: str) -> None:
    stopped = chaos.fault("stop", "open", "/images/", nth=20, env={"RANK": rank})
    driver = chaos.begin(RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S="10")
    chaos.wait_for(stopped.exists, driver)
    began = time.monotonic()
    assert wait(driver, chaos) == 0, chaos.output()
    assert time.monotonic() - began < 120
    check(chaos, unbroken)
    assert chaos.show()["trials"][0]["attempts"] == 2


@pytest.mark.parametrize("step", [1, 20, 40])
def test_sigterm_in_an_epoch_saves_it_and_asks_to_be_requeued(chaos: Chaos, unbroken: Told, step: int) -> None:
    reached = chaos.fault("note", "open", "/images/", nth=step, env={"RANK": "0"})
    driver = chaos.begin()
    chaos.wait_for(reached.exists, driver)
    asked = time.monotonic()
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(60) == 128 + signal.SIGTERM and time.monotonic() - asked < 30
    assert chaos.gone()
    assert wait(chaos.restore(), chaos) == 0
    check(chaos, unbroken)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "file", ["study.db", "trials/0000/epoch_0002/state.safetensors", "trials/0000/epoch_0002/meta.json"]
)
def test_a_file_is_cut_while_nobody_works(chaos: Chaos, unbroken: Told, file: str) -> None:
    driver = chaos.begin()
    chaos.wait_for(lambda: len(chaos.epochs()) >= EPOCHS - 1, driver)
    driver.kill()
    driver.wait()
    assert chaos.gone()
    cut(chaos.folder().path / file)
    assert wait(chaos.restore(), chaos) == 0
    assert "warning: " in chaos.output() and "damaged" in chaos.output()
    check(chaos, unbroken)

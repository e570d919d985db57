"""A single training as a user runs it, beside the search whose trial it repeats: real Ray, killed, resumed."""

import json
import signal
from pathlib import Path

import pytest

from tests.home import START_S, Home

NAMES = ("state.safetensors", "state.json")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Home:
    """With a search of two trials, `search`."""
    home = Home(tmp_path_factory.mktemp("home"), tiny_data)
    options = ["--trials", "2", "--epochs", "2", "--data", str(tiny_data)]
    options += ["--set", "search.seed=5", "--set", "resources.concurrent_trials=1"]
    assert home.start("tune", "lr.yaml", "--name", "search", *options).wait(START_S) == 0, home.output()
    return home


def folder(home: Home, experiment: str, trial: int, epoch: int) -> Path:
    return home.path / f"mlruns/experiments/{experiment}/trials/{trial:04d}/epoch_{epoch:04d}"


def digests(epoch: Path) -> dict[str, str]:
    files = json.loads((epoch / "meta.json").read_text())["files"]
    return {name: files[name]["sha256"] for name in NAMES}


def test_a_repeated_trial_killed_and_resumed_has_the_same_weights_to_the_bit(home: Home) -> None:
    home.fault("kill", "open", r"exp/trials/0000/epoch_0001/meta\.json", env={"RANK": None})
    repeat = ["train", "--trial", "search/1", "--name", "exp", "--resume"]
    assert home.start(*repeat).wait(START_S) == -signal.SIGKILL, home.output()  # the driver, after its first epoch
    assert [epoch.name for epoch in home.epochs()] == ["epoch_0001"]
    assert home.start(*repeat).wait(START_S) == 0, home.output()

    ours, theirs = home.show(), home.show("search")
    (trial,), repeated = ours["trials"], theirs["trials"][1]
    assert (ours["state"], trial["state"], trial["seed"]) == ("finished", "complete", 5)
    assert trial["values"] == repeated["values"] and [e["number"] for e in trial["epochs"]] == [1, 2]
    assert digests(folder(home, "exp", 0, 2)) == digests(folder(home, "search", 1, 2))
    said = (home.path / "train.txt").read_text()
    assert f"PCK {trial['best']:.2f}, in epoch {trial['best_epoch']} of 2" in said
    assert f"checkpoint: {trial['checkpoint']}" in said and trial["run_id"]
    assert ours["origin"] == "search/1" and "begun from search/1" in said

    assert home.start(*repeat, "--values", "lr=1e-3").wait(START_S) == 2
    assert home.start(*repeat, "--epochs", "3").wait(START_S) == 2
    said = (home.path / "train.txt").read_text()
    assert "--resume: exp was begun with other fixed.lr; `raypose restore exp` goes on with it" in said
    assert "--resume: exp was begun with other train.epochs; " in said


def test_a_longer_training_goes_on_from_an_epoch_of_a_trial(home: Home) -> None:
    begun = folder(home, "search", 1, 2)
    home.fault("terminate", "open", r"search-train-1/.*report\.html")  # when all is trained
    assert home.start("train", "--resume", str(begun), "--epochs", "3").wait(START_S) == 143, home.output()
    assert "`raypose restore search-train-1` goes on" in (home.path / "train.txt").read_text()
    assert home.start("restore", "search-train-1").wait(START_S) == 0, home.output()
    (trial,) = home.show("search-train-1")["trials"]
    assert [epoch["number"] for epoch in trial["epochs"]] == [1, 2, 3] and trial["attempts"] == 1
    assert digests(folder(home, "search-train-1", 0, 2)) == digests(begun)
    assert home.start("train", "--resume", str(begun)).wait(START_S) == 2
    assert "--resume: epoch 2 is the last of 2; give more with --epochs" in home.output()

"""A single training as a user runs it, beside the search whose trial it repeats: real Ray, killed, resumed."""

import json
import signal
from pathlib import Path

from tests.home import START_S, Home
from tests.tuning.conftest import EPOCHS, LONG, SEED, Disturbed

pytestmark = LONG
NAMES = ("state.safetensors", "state.json")
TRIAL = 2  # of the search, in the middle of which that was stopped


def folder(home: Home, experiment: str, trial: int, epoch: int) -> Path:
    return home.folder(experiment).trial(trial) / f"epoch_{epoch:04d}"


def digests(epoch: Path) -> dict[str, str]:
    files = json.loads((epoch / "meta.json").read_text())["files"]
    return {name: files[name]["sha256"] for name in NAMES}


def test_a_repeated_trial_killed_and_resumed_has_the_same_weights_to_the_bit(disturbed: Disturbed) -> None:
    home = disturbed.home
    home.fault("kill", "open", r"again/trials/0000/epoch_0001/meta\.json", env={"RANK": None})
    repeat = ["train", "--trial", f"exp/{TRIAL}", "--name", "again", "--resume"]
    assert home.start(*repeat).wait(START_S) == -signal.SIGKILL, home.output()  # the driver, after its first epoch
    assert [epoch.name for epoch in home.folder("again").path.glob("trials/*/epoch_*")] == ["epoch_0001"]
    assert home.start(*repeat).wait(START_S) == 0, home.output()

    ours, repeated = home.show("again"), disturbed.view["trials"][TRIAL]
    (trial,) = ours["trials"]
    assert (ours["state"], trial["state"], trial["seed"]) == ("finished", "complete", SEED)
    assert trial["values"] == repeated["values"] and [e["number"] for e in trial["epochs"]] == [1, 2, 3]
    assert digests(folder(home, "again", 0, EPOCHS)) == digests(folder(home, "exp", TRIAL, EPOCHS))
    said = (home.path / "train.txt").read_text()
    assert f"PCK {trial['best']:.2f}, in epoch {trial['best_epoch']} of {EPOCHS}" in said
    assert f"checkpoint: {trial['checkpoint']}" in said and trial["run_id"]
    assert ours["origin"] == f"exp/{TRIAL}" and f"begun from exp/{TRIAL}" in said

    assert home.start(*repeat, "--values", "lr=1e-3").wait(START_S) == 2
    assert home.start(*repeat, "--epochs", "4").wait(START_S) == 2
    said = (home.path / "train.txt").read_text()
    assert "--resume: again was begun with other fixed.lr; `raypose restore again` goes on with it" in said
    assert "--resume: again was begun with other train.epochs; " in said


def test_a_longer_training_goes_on_from_an_epoch_of_a_trial(disturbed: Disturbed) -> None:
    home, begun = disturbed.home, folder(disturbed.home, "exp", TRIAL, EPOCHS)
    longer = "exp-train-1"
    home.fault("terminate", "open", rf"{longer}/.*report\.html")  # when all is trained
    assert home.start("train", "--resume", str(begun), "--epochs", "4").wait(START_S) == 143, home.output()
    assert f"`raypose restore {longer}` goes on" in (home.path / "train.txt").read_text()
    assert home.start("restore", longer).wait(START_S) == 0, home.output()
    (trial,) = home.show(longer)["trials"]
    assert [epoch["number"] for epoch in trial["epochs"]] == [1, 2, 3, 4] and trial["attempts"] == 1
    assert digests(folder(home, longer, 0, EPOCHS)) == digests(begun)
    assert home.start("train", "--resume", str(begun)).wait(START_S) == 2
    assert f"--resume: epoch {EPOCHS} is the last of {EPOCHS}; give more with --epochs" in home.output()

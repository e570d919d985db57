"""`raypose test` as a user meets it: a winner on all its data, comparisons, files, pictures, bad input in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from raypose.cli.app import main
from raypose.datasets.mpii import VAL, check_mpii
from raypose.datasets.split import split_rows
from raypose.display.against import OFFICIAL, read_against
from raypose.training.weights import read_weights
from tests.record.conftest import Records

SPEC: dict[str, Any] = {
    "space": {"lr": {"log_uniform": [1e-3, 1e-1]}},
    "fixed": {"input_size": "128x128"},
    "search": {"trials": 2},
    "test": 0.4,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A folder with an experiment, whose trials have the demo weights, as if they had been trained."""
    home = tmp_path_factory.mktemp("home")
    records = Records(home / "mlruns")
    folder = records.make(SPEC, {"lr": 4e-3}, data={"folder": str(tiny_data), "digest": check_mpii(tiny_data).digest})
    records.run(folder, lambda trial, epoch: {"PCK": 10.0 * trial.number + epoch})
    for epoch in folder.path.glob("trials/*/epoch_*"):
        torch.save({"state_dict": read_weights("demo"), "meta": {}}, epoch / "weights.pth")
    return home


@pytest.fixture(scope="module")
def winner(home: Path) -> subprocess.CompletedProcess[str]:
    """The winner's test, by its own program."""
    options = "--against official --out found.json --show-dir pictures --interval 2".split()
    command = [sys.executable, "-m", "raypose", "test", "exp-1", *options]
    one = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=home, env=one, capture_output=True, text=True, timeout=240, check=False)


def test_a_winner_is_tested_on_its_own_data_and_on_what_no_trial_saw(home: Path, winner: Any, tiny_data: Path) -> None:
    assert winner.returncode == 0, winner.stderr
    found = json.loads((home / "found.json").read_text())
    assert found["weights"]["name"] == "exp-1, best trial 1, epoch 3" and len(found["weights"]["sha256"]) == 64
    assert found["model"] == "rtmpose-n" and found["values"]["input_size"] == "128x128"
    people = [len(split_rows(tiny_data / VAL, 0.4, part)) for part in ("val", "test")]
    assert [each["people"] for each in found["sets"]] == people and sum(people) == 8
    assert [each["data"]["part"] for each in found["sets"]] == ["val", "test"]
    first = found["sets"][0]
    assert 100 * sum(first["hits"]["found"]) / sum(first["hits"]["counted"]) == pytest.approx(first["figures"]["PCK"])
    assert torch.__version__.startswith(found["machine"]["torch"])


def test_it_is_told_in_tables_and_nothing_else(winner: Any, home: Path) -> None:
    found = json.loads((home / "found.json").read_text())
    low, high = found["sets"][0]["intervals"]["PCK"]
    assert f"{found['sets'][0]['figures']['PCK']:.2f} [{low:.2f}, {high:.2f}]" in winner.stdout
    assert "held out" in winner.stdout and "0.45 heads" in winner.stdout and "AUC" in winner.stdout
    assert [line.split()[0] for line in winner.stderr.splitlines()] == ["loading", *["testing", "drawing"] * 2]


def test_the_official_figures_stand_beside_ours_with_the_difference_and_why_they_do_not_compare(
    winner: Any, home: Path
) -> None:
    ours = json.loads((home / "found.json").read_text())["sets"][0]["figures"]
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in winner.stdout.splitlines() if "│" in line]
    table = {row[0]: row[1:] for row in reversed(rows) if len(row) == 5}
    for name, (log, weights) in OFFICIAL.items():
        expected = [f"{log:.2f}", f"{weights:.2f}", f"{ours[name]:.2f}", f"{ours[name] - weights:+.2f}"]
        assert table[name] == expected
    assert "of rtmpose-m at 256x256, these of rtmpose-n at 128x128" in winner.stdout
    assert "of MPII's 2958 validation people, these of " in winner.stdout


def test_every_second_photo_is_drawn(winner: Any, home: Path) -> None:
    found = json.loads((home / "found.json").read_text())
    drawn = [sorted(file.stem for file in folder.iterdir()) for folder in sorted((home / "pictures").iterdir())]
    assert drawn == [[Path(name).stem for name in each["hits"]["names"][::2]] for each in found["sets"]]


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the verb, in this process."""
    monkeypatch.setattr(sys, "argv", ["raypose", "test", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_a_trial_is_compared_with_an_earlier_test_image_by_image(
    winner: Any, home: Path, tiny_data: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(home)
    code, out, _ = run(capsys, monkeypatch, "exp-1/0", "--against", "found.json")
    assert code == 0 and "exp-1, trial 0, epoch 3" in out and "held out" not in out
    assert "PCK gained on the same images: +0.00, 95 % interval [0.00, 0.00]" in out
    sets = ("--data", str(tiny_data), "--data", str(tiny_data))
    code, out, _ = run(capsys, monkeypatch, "demo", *sets, "--against", "found.json", "--json")
    found = json.loads(out)
    assert code == 0 and [each["people"] for each in found["sets"]] == [8, 8]
    assert found["sets"][0]["figures"] == found["sets"][1]["figures"]
    parts = read_against(str(home / "found.json"))
    assert parts is not None
    hits = {name: sum(sum(each["hits"][name]) for each in parts["sets"]) for name in ("found", "counted")}
    assert hits == {name: sum(found["sets"][0]["hits"][name]) for name in ("found", "counted")}


def test_other_images_are_said_to_be_others(
    winner: Any, home: Path, tiny_data: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(home)
    code, out, _ = run(capsys, monkeypatch, "demo", "--data", str(tiny_data), "--against", "found.json")
    assert code == 0 and "gained" not in out
    assert "not comparable: other images: these figures of exp-1, best trial 1, epoch 3 are of " in out


def test_weights_of_another_size_are_said_to_be_resampled(
    home: Path, tiny_data: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(home)
    code, out, _ = run(capsys, monkeypatch, "demo", "--data", str(tiny_data), "--set", "input_size=64x64")
    assert code == 0 and "rtmpose-n at 64x64" in out
    assert "3 tensors (head.mlp.1.weight ...) are of another input size than 64x64 and were resampled" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nix"], "no experiment 'nix' in "),
        (["exp-1/7"], "exp-1: no trial 7; it has 2, from 0 on"),
        (["nix.pth"], "nix.pth: no such file of weights"),
        (["demo", "--data", "nowhere"], "nowhere is not a sound MPII layout"),
        (["demo", "--set", "input_size=97x97"], "--set input_size: the side 97 of 97x97 is not a multiple of 32"),
        (["demo", "--set", "input_siez=96x96"], "--set input_siez: unknown knob; did you mean 'input_size'?"),
        (["demo", "--set", "input_size"], "--set: 'input_size': expected KEY=VALUE"),
        (["exp-1", "--model", "rtmpose-s"], "--model: exp-1 is an experiment, whose model is known"),
        (["demo", "--against", "oficial"], "--against: oficial: no such file or directory; give official"),
        (["demo", "--against", "mine.json"], "--against: mine.json: is not what `raypose test --out` writes"),
        (["demo", "--out", "nowhere/x.json"], "--out: nowhere/x.json: no file can be written there"),
        (["demo", "--show-dir", "mine.json"], "--show-dir: mine.json: is a file; name a folder"),
        (["demo", "--model", "mine.py"], "this is none of MMPose's: read it, and add --trust-config"),
        (["demo", "--model", "rtmpose-s", "--data", "TINY"], "weights: demo: "),
        (["mine.safetensors", "--data", "TINY"], "weights: mine.safetensors: cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_line(
    home: Path, tiny_data: Path, capsys: Any, monkeypatch: Any, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(home)
    (home / "mine.py").write_text("model = 1\n")
    (home / "mine.json").write_text('{"sets": [{"figures": {"PCK": "high"}}]}')
    (home / "mine.safetensors").write_text("mine")
    code, out, err = run(capsys, monkeypatch, *(str(tiny_data) if word == "TINY" else word for word in arguments))
    told = [line for line in err.splitlines() if line.startswith("raypose: ")]
    assert code == 2 and out == "" and said in told[0].replace(f"{home}/", "")
    assert "Traceback" not in err and (len(told) == 1 or "layout" in said)

"""`raypose data browse`, `prepare` and `split` as programs: files that show what they should, JSON, plain errors."""

import base64
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from raypose.datasets.browse import Guess, as_given, as_guessed, choose
from raypose.datasets.mpii import TRAIN, VAL
from raypose.datasets.portrait import JOINTS, PREDICTION, TRUTH, Portrait, Pose
from raypose.display.people_page import page
from raypose.record.epochs import commit_epoch, read_epochs, staging_folder
from raypose.record.folder import create_experiment
from raypose.record.study import Study
from raypose.space.load import parse_spec

SPEC = """
model: rtmpose-n
space: {input_size: {choice: [96x64]}}
search: {trials: 2, start: [{input_size: 96x64}]}
train: {batch_size: 8, epochs: 4}
"""
DEMO_WEIGHTS = Path(__file__).parents[2] / "raypose" / "training" / "demo_weights.safetensors"


def raypose(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command, one = [sys.executable, "-m", "raypose", "data", *arguments], {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=one, capture_output=True, text=True, timeout=240, check=False)


class Page(HTMLParser):
    """The elements of a page with their attributes, and all addresses that it names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        addresses = [a[name] for _, a in self.elements for name in ("src", "href", "srcset", "action") if name in a]
        self.addresses = [address or "" for address in addresses] + re.findall(r"url\(|@import|https?://\S+", text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def records(data: Path, name: str) -> Any:
    return json.loads((data / name).read_text())


def test_people_as_they_are_given(tiny_data: Path, tmp_path: Path) -> None:
    done = raypose("browse", str(tiny_data), "--count", "9", "--seed", "2", "--out", "o", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told, given = json.loads(done.stdout), records(tiny_data, TRAIN)
    assert [person["row"] for person in told["people"]] == choose(24, 9, 2)
    for person in told["people"]:
        record = given[person["row"]]
        assert person["image"] == record["image"] and person["labelled"] == sum(record["joints_vis"])
    assert sorted(file.name for file in (tmp_path / "o").iterdir()) == ["original-1.png", "original.html"]
    read = Page((tmp_path / told["page"]).read_text())
    assert all(address.startswith("data:image/jpeg;base64,") for address in read.addresses)
    assert len(read.all("figure")) == len(read.all("image")) == len(read.addresses) == 9
    assert cv2.imread(str(tmp_path / told["sheets"][0])).shape[1] > 1500


def test_joints_are_drawn_where_the_record_says(tiny_data: Path) -> None:
    given = records(tiny_data, VAL)
    for portrait in as_given(tiny_data, "val", 8, 0):
        record = given[portrait.row]
        left, _, right, _ = portrait.box or (0, 0, 0, 0)
        factor = (right - left) / (record["scale"] * 200)
        (pose,) = portrait.poses
        for place, joint, visible in zip(pose.joints, record["joints"], record["joints_vis"], strict=True):
            assert (place is None) == (not visible)
            if place is not None:
                across = (left + right) / 2 + (joint[0] - record["center"][0]) * factor
                assert place[0] == pytest.approx(across, abs=0.02)
        photo = cv2.imread(str(tiny_data / "images" / record["image"]), cv2.IMREAD_COLOR_RGB)
        assert max(portrait.size) == 400
        assert abs(portrait.pixels.mean(axis=(0, 1)) - photo.mean(axis=(0, 1))).max() < 40


def test_a_guess_is_drawn_over_the_truth_with_its_misses(tiny_data: Path) -> None:
    record = records(tiny_data, VAL)[3]
    off = [(x - 1 + 7, y - 1 + 1) for x, y in record["joints"]]
    found = tuple(-1 if joint in (6, 7) else joint % 2 for joint in range(16))
    (portrait,) = as_guessed(tiny_data, [Guess(3, 0.5, 1.25, tuple(off), found)])
    truth, prediction = portrait.poses
    assert (truth.colour, prediction.colour) == (TRUTH, PREDICTION)
    left, _, right, _ = portrait.box or (0, 0, 0, 0)
    factor = (right - left) / (record["scale"] * 200)
    for joint, (was, taken) in enumerate(zip(truth.joints, prediction.joints, strict=True)):
        if was is not None and taken is not None:
            assert np.subtract(taken, was) == pytest.approx([7 * factor, factor], abs=0.03)
            assert ((was, taken) in portrait.misses) == (found[joint] == 0) == (not prediction.filled[joint])
    assert portrait.text[0] == "7 of 14 joints missed (50%)" and "missed: right ankle" in portrait.text[2]


def test_names_from_files_are_text_and_never_a_part_of_the_page() -> None:
    name = '1"><script>alert(1)</script>.jpg'
    pose = Pose("label", ((1.0, 1.0),) * 16, (True,) * 15 + (False,))
    portrait = Portrait(name, 5, np.full((20, 10, 3), 200, np.uint8), (pose,), ("<b>bold</b>",), {"labelled": 15.0})
    text = page("a <title>", "b & c", [portrait], enlarged=True)
    read = Page(text)
    assert len(read.all("script")) == 1 and len(read.all("b")) == 1
    (figure,) = read.all("figure")
    assert figure["data-row"] == "5" and figure["data-labelled"] == "15" and name.lower() in (figure["data-text"] or "")
    (image,) = read.all("image")
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode((image["href"] or "").partition(",")[2]), np.uint8), 1)
    assert pixels.shape == (20, 10, 3) and abs(pixels.astype(int) - 200).max() < 4
    assert len(read.all("circle")) == 16 and "ring: a place, but no label" in text
    assert [joint for joint in JOINTS if f"label: {joint}" not in text] == []


def test_people_as_a_trial_sees_them(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "browse").mkdir()
    (tmp_path / "browse" / "transformed-9.png").touch()  # of an earlier, longer one
    (tmp_path / "browse" / "original-1.png").touch()
    options = ["--mode", "transformed", "--spec", "spec.yaml", "--trial", "1", "--count", "26", "--json"]
    done = raypose("browse", str(tiny_data), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["about"] == "trial 1 of rtmpose-n: input_size 96x64; epoch 1, 96x64, seed 0"
    assert len(told["people"]) == 24 and told["sheets"] == ["browse/transformed-1.png"]
    read = Page((tmp_path / "browse" / "transformed.html").read_text())
    assert {(image["width"], image["height"]) for image in read.all("image")} == {("96", "64")}
    files = ["original-1.png", "transformed-1.png", "transformed.html"]
    assert sorted(file.name for file in (tmp_path / "browse").iterdir()) == files


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A folder with an experiment, `exp-1`: its trial 1 is the best and has the demo's weights, 2 has only begun."""
    home = tmp_path_factory.mktemp("home")
    experiment = parse_spec(
        {"space": {"lr": {"choice": [1e-3, 2e-3]}}, "search": {"trials": 3}, "train": {"epochs": 1}}
    )
    saved = {
        "data": {"folder": str(tiny_data), "digest": ""},
        "uid": "a1b2",
        "experiment": experiment.model_dump(mode="json"),
        "base_values": {"lr": 4e-3},
    }
    folder = create_experiment(home / "mlruns", None, "exp", saved)
    study = Study(saved, folder)
    study.fill_queue()
    for pck in (20.0, 60.0):
        trial = study.next_trial()
        assert trial is not None
        study.begin_attempt(trial.number, 1)
        staging = staging_folder(folder.trial(trial.number), 1)
        state = load_file(DEMO_WEIGHTS) if pck == 60 else {}
        torch.save({"state_dict": state, "meta": {"epoch": 1}}, staging / "weights.pth")
        commit_epoch(staging, 1, {"PCK": pck}, 1.0)
        study.add_epoch(trial.number, read_epochs(folder.trial(trial.number))[-1])
        study.finish(trial.number)
    study.next_trial()
    return home


def test_the_hardest_people_of_an_experiments_best_and_of_the_same_weights_by_name(
    trained: Path, tiny_data: Path
) -> None:
    told = []
    for weights in ("exp-1", "demo"):
        options = ["--worst", "5", "--weights", weights, "--json", "--out", weights]
        done = raypose("browse", str(tiny_data), *options, cwd=trained)
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    assert told[0]["about"].startswith("exp-1, best trial 1, epoch 1: PCK ") and told[1]["about"].startswith(
        "demo: PCK "
    )
    assert told[0]["people"] == told[1]["people"] and len(told[0]["people"]) == 5
    missed = [person["missed"] for person in told[0]["people"]]
    assert missed == sorted(missed, reverse=True) and missed[0] > 0
    read = Page((trained / "exp-1" / "worst.html").read_text())
    assert [figure["data-missed"] for figure in read.all("figure")] == [f"{share:g}" for share in missed]
    toggles = [box["data-part"] for box in read.all("input") if "data-part" in box]
    assert toggles == ["truth", "prediction", "box", "misses"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nowhere"], "nowhere is not a sound MPII layout"),
        (["DATA", "--worst", "5"], "--worst N and --weights W|EXP[/N] belong together"),
        (["DATA", "--worst", "5", "--weights", "exp-2"], "no experiment 'exp-2' in "),
        (
            ["DATA", "--worst", "5", "--weights", "exp-1/2"],
            "exp-1: trial 2 (running) has no weights; name another one",
        ),
        (
            ["DATA", "--worst", "5", "--weights", "exp-1/7"],
            "exp-1: no trial 7; it has 3, from 0 on",
        ),
        (["DATA", "--worst", "5", "--weights", "exp-1", "--spec", "s.yaml"], "the experiment exp-1 has its own"),
        (["DATA", "--mode", "transformed", "--spec", "nix.yaml"], "nix.yaml: cannot be read: no such file"),
    ],
    ids=lambda value: " ".join(value)[-30:] if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_line(options: list[str], said: str, trained: Path, tiny_data: Path) -> None:
    done = raypose("browse", *[str(tiny_data) if o == "DATA" else o for o in options], "--out", "none", cwd=trained)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not (trained / "none").exists()


def test_a_split_tells_both_folders(tiny_data: Path, tmp_path: Path) -> None:
    done = raypose("split", str(tiny_data), "--holdout", "0.3", "--out", str(tmp_path / "parts"), cwd=tmp_path)
    if os.stat(tiny_data).st_dev != os.stat(tmp_path).st_dev:
        pytest.skip("two disks")
    assert done.returncode == 0, done.stderr
    people = [int(n) for n in re.findall(r"(\d+) people to train on .*, (?:\d+) to validate", done.stdout)]
    assert sum(people) == 24 and "In a specification: data: " in done.stdout
    again = raypose("split", str(tiny_data), "--holdout", "0.3", "--out", "parts", cwd=tmp_path)
    assert again.returncode == 2 and "parts: is there already, and is never overwritten" in again.stderr


@pytest.mark.parametrize("verb", ["browse", "prepare", "split"])
def test_every_verb_explains_itself_with_an_example(verb: str, tmp_path: Path) -> None:
    done = raypose(verb, "--help", cwd=tmp_path)
    assert done.returncode == 0 and f"Example: raypose data {verb} " in " ".join(done.stdout.split())

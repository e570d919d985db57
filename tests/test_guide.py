"""The guide, as a new user walks it: every command in it, in its order, in one folder, on archives of a small set."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import raypose
from raypose.datasets.demo import render_demo
from tests.datasets.test_prepare import annotations_archive, images_archive

GUIDE = Path(raypose.__file__).parent / "guide" / "README.md"
LIMIT_S = 240
PROMPT = re.compile(r"^\$ (.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archives and the search spaces, as the guide finds them."""
    folder = tmp_path_factory.mktemp("guide")
    render_demo(folder / "drawn", train=32, val=20)
    images_archive(folder / "drawn", folder / "mpii_human_pose_v1.tar.gz")
    annotations_archive(folder / "drawn", folder / "mpii_annotations.tar")
    shutil.copytree(GUIDE.parents[2] / "search_spaces", folder / "search_spaces")
    return folder


def test_every_command_does_what_it_says(place: Path) -> None:
    scripts = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    commands = PROMPT.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(commands) > 15
    for command in commands:
        program, *_ = command.split()
        assert program == "raypose"
        done = subprocess.run(
            [sys.executable, "-m", *command.split()],
            cwd=place,
            env={**os.environ, "PATH": scripts, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    _assert_the_end(place)


def _assert_the_end(place: Path) -> None:
    """What somebody has who has come to the end of it."""
    experiments = place / "mlruns" / "experiments"
    states = subprocess.run(
        [sys.executable, "-m", "raypose", "list", "--json"], cwd=place, capture_output=True, text=True, check=True
    )
    assert {each["name"]: each["state"] for each in json.loads(states.stdout)} == {
        "first": "finished",
        "again": "finished",
    }
    found = json.loads((place / "results.json").read_text())
    assert [each["people"] for each in found["sets"]] == [_people(place / "data" / "mpii_split" / "held_out")]
    assert list((place / "pictures").glob("*.jpg")) and (experiments / "first" / "report.html").is_file()
    assert (place / "browse" / "worst.html").is_file() and list((place / "events").rglob("events.out.tfevents.*"))


def _people(data: Path) -> int:
    return len(json.loads((data / "annotations" / "mpii_val.json").read_text()))


def test_every_picture_is_there() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert all((GUIDE.parent / link).is_file() for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link)

"""`raypose bench` measures what it says, on pictures like MPII's."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from raypose.bench.photos import PHOTOS, paint
from raypose.bench.turns import row_of
from raypose.datasets.mpii import TRAIN


def raypose(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "raypose", *arguments], capture_output=True, text=True, check=False)


def test_the_pictures_are_as_large_as_photos(tmp_path: Path) -> None:
    paint(tmp_path)
    files = sorted((tmp_path / "images").iterdir())
    assert len(files) == PHOTOS == len(json.loads((tmp_path / TRAIN).read_text()))
    assert all(80_000 < file.stat().st_size < 140_000 for file in files)
    image = cv2.imread(str(files[0]))
    assert image is not None and image.shape == (720, 1280, 3)


def test_ratios_are_of_the_same_round() -> None:
    row = row_of("ours", 100, spent=[1.0, 2.0, 4.0], reference=[3.0, 3.0, 8.0], megabytes=7)
    assert (row.per_second, row.ratio, row.low, row.high) == (50, 2, 1.5, 3)


def test_the_loaders_are_compared() -> None:
    done = raypose("bench", "loader", "--rounds", "1", "--json")
    (comparison,) = json.loads(done.stdout)["comparisons"]
    stock, fast, cached = comparison["rows"]
    assert stock["ratio"] == 1 < 1.2 < fast["ratio"] < cached["ratio"], "far below what it is, on a machine at rest"


@pytest.mark.slow
def test_the_steps_are_compared() -> None:
    done = raypose("bench", "step", "--rounds", "1")
    assert "the backbone frozen" in done.stdout and "torch 2" in done.stdout


def test_an_unknown_part() -> None:
    done = raypose("bench", "everything")
    assert done.returncode == 2 and done.stderr.startswith("raypose: ") and "none of loader, step" in done.stderr

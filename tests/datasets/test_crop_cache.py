"""Parts of images in one file: what is found in it is what the image holds, and what is not there is decoded."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from raypose.datasets.crop_cache import CropCache, Cut, build_cache
from raypose.datasets.photo import Box, CutPhoto, Photo

GB = 10**9
INSIDE: Box = (40.5, 20.5, 120.5, 100.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos, an empty file, and one that is no image."""
    rng = np.random.default_rng(0)
    for number in range(3):
        coarse = rng.integers(0, 256, (12, 20, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), cv2.resize(coarse, (200, 121)))
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no image")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.jpg"))


def cuts(folder: Path, density: float = 1.0, box: Box = INSIDE) -> list[Cut]:
    return [Cut(name, box, density) for name in [*names(folder), "missing.jpg"]]


def built(folder: Path, limit: int = GB, density: float = 1.0, box: Box = INSIDE, name: str = "a") -> CropCache:
    file = folder / "cache" / f"{name}.arrow"
    build_cache(file, folder, cuts(folder, density, box), limit, threads=2)
    return CropCache(file, str(folder))


def test_a_part_is_what_the_image_holds_there(folder: Path) -> None:
    cache = built(folder)
    for name in ("0.jpg", "1.jpg", "2.jpg"):
        found = cache.get(f"{folder}/{name}")
        assert found is not None and found.shape == (121, 200)
        assert (found.part.left, found.part.top) == (40, 20)
        assert np.array_equal(found.part.pixels[..., :3], cv2.imread(str(folder / name))[20:101, 40:121])
    assert all(
        cache.get(f"{folder}/{name}") is None for name in ("empty.jpg", "text.jpg", "missing.jpg", "unknown.jpg")
    )


@pytest.mark.parametrize("density", [1.0, 2.5, 4.0])
def test_a_crop_of_a_part_is_that_of_the_image(folder: Path, density: float) -> None:
    found = built(folder, density=density).get(f"{folder}/0.jpg")
    assert found is not None
    matrix = np.array([[0.4, 0.02, -20], [-0.02, 0.4, -8.0]])
    size, whole = (24, 24), Photo(folder / "0.jpg").picture(density, INSIDE)
    assert found.picture(density, INSIDE) is found.part and found.part.shrink == whole.shrink
    assert np.array_equal(found.part.warped(matrix, size), whole.warped(matrix, size))


@pytest.mark.parametrize("box", [(39, 21, 90, 90), (41, 19, 90, 90), (41, 21, 122, 90), (41, 21, 90, 102)])
def test_what_a_part_does_not_hold_is_decoded(folder: Path, box: Box) -> None:
    found = built(folder).get(f"{folder}/0.jpg")
    assert found is not None and not found.part.holds(box, found.shape)
    assert found.picture(1.0, box).pixels.shape == (121, 200, 3)


def test_outside_of_the_image_nothing_is_missing(folder: Path) -> None:
    found = built(folder, box=(-50, -50, 500, 500)).get(f"{folder}/0.jpg")
    assert found is not None and found.part.pixels.shape == (121, 200, 4)
    assert found.picture(1.0, (-400, -400, 900, 900)) is found.part


def test_what_goes_beyond_the_limit_is_left_out(folder: Path) -> None:
    one = 81 * 81 * 4
    cache = built(folder, limit=2 * one + 5000)
    assert [cache.get(f"{folder}/{number}.jpg") is not None for number in range(3)] == [True, True, False]


def test_the_least_used_make_room(folder: Path) -> None:
    for number, name in enumerate("ab"):
        built(folder, name=name)
        os.utime(folder / "cache" / f"{name}.arrow", (number, number))
    size = (folder / "cache" / "a.arrow").stat().st_size
    in_use = CropCache(folder / "cache" / "a.arrow", str(folder))
    built(folder, name="c", limit=2 * size)
    assert sorted(path.name for path in (folder / "cache").glob("*.arrow")) == ["b.arrow", "c.arrow"]
    assert isinstance(in_use.get(f"{folder}/0.jpg"), CutPhoto)


def test_it_is_built_once(folder: Path) -> None:
    built(folder)
    before = (folder / "cache" / "a.arrow").stat().st_ino
    built(folder)
    assert (folder / "cache" / "a.arrow").stat().st_ino == before


def test_a_builder_that_is_killed_leaves_nothing_that_counts(folder: Path) -> None:
    for number in range(3, 400):
        (folder / f"{number}.jpg").symlink_to(folder / "0.jpg")
    process = multiprocessing.get_context("spawn").Process(target=built, args=(folder,))
    process.start()
    while not list((folder / "cache").glob("*.tmp")):
        time.sleep(0.001)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert not list((folder / "cache").glob("*.arrow"))
    assert built(folder).get(f"{folder}/399.jpg") is not None
    assert not list((folder / "cache").glob("*.tmp"))


def test_a_place_that_cannot_be_written_to_is_told(folder: Path) -> None:
    (folder / "cache").symlink_to("/dev/full")
    with pytest.raises(OSError):
        built(folder)

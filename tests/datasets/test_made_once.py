"""Files and folders that are made once for a machine, and make room for each other."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from raypose.datasets.made_once import made_once


def folder_of(size: int, made: list[int]) -> Callable[[Path, int], None]:
    def make(staging: Path, room: int) -> None:
        made.append(room)
        staging.mkdir()
        (staging / "a").write_bytes(bytes(size // 2))
        (staging / "b").write_bytes(bytes(size - size // 2))

    return make


def test_the_least_used_of_any_kind_make_room(tmp_path: Path) -> None:
    for age, (name, size) in enumerate({"a.views": 100, "b.views": 300, "c.views": 200}.items()):
        made_once(tmp_path / name, 1000, folder_of(size, []))
        os.utime(tmp_path / name, (age, age))
    (tmp_path / "old.arrow").write_bytes(bytes(100))
    os.utime(tmp_path / "old.arrow", (0, 0))
    (tmp_path / "another's.txt").write_bytes(bytes(5000))
    made: list[int] = []
    made_once(tmp_path / "d.views", 600, folder_of(250, made))
    left = {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"}
    assert left == {"c.views", "d.views", "another's.txt"} and made == [600]
    made_once(tmp_path / "d.views", 600, folder_of(250, made))
    assert made == [600], "made once"


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(staging: Path, room: int) -> None:
        staging.mkdir()
        (staging / "a").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        made_once(tmp_path / "a.views", 1000, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]

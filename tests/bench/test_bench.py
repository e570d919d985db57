"""`raypose bench` measures what it says, on pictures like MPII's."""

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest

from raypose.bench.photos import PHOTOS, paint
from raypose.bench.processes import counted, memory
from raypose.bench.runs import small_run
from raypose.bench.stopwatch import Stopwatch
from raypose.bench.turns import compare, row_of
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


def test_parts_are_timed_one_inside_the_other() -> None:
    def outer() -> None:
        time.sleep(0.05)
        steps.inner()

    steps = SimpleNamespace(outer=outer, inner=lambda: time.sleep(0.2))
    watch = Stopwatch()
    for part in ("outer", "inner"):
        watch.watch(steps, part, part)
    watch.restart()
    steps.outer()
    time.sleep(0.1)
    seconds = {part: spent[0] for part, spent in {**watch.spent, "all else": watch.rest()}.items()}
    assert seconds["outer"] < seconds["inner"] and seconds["outer"] >= 0.05 and seconds["inner"] >= 0.2
    assert 0.1 <= seconds["all else"] < 0.3, "neither of the two"


def test_what_a_process_and_those_below_it_spend_is_counted_after_their_end() -> None:
    work = "import time; end = time.process_time() + 0.6\nwhile time.process_time() < end: pass"
    below = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}]); input()"
    with subprocess.Popen([sys.executable, "-c", below], stdin=subprocess.PIPE) as process:
        with counted(process.pid) as spent:
            deadline = time.monotonic() + 60
            while sum(spent().values()) < 0.5:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert memory(process.pid).resident >= memory(process.pid).own_part > 1
            time.sleep(0.5)
            assert 0.5 <= sum(spent().values()) < 3
        process.communicate(b"\n")


@pytest.mark.slow
def test_starts_are_measured() -> None:
    done = raypose("bench", "start", "--rounds", "1", "--json")
    command, tune, parts, trials = json.loads(done.stdout)["comparisons"]
    assert command["stages"][0]["cpu_seconds"] < 1
    assert {"driver", "worker"} == tune["megabytes"].keys() and tune["stages"][-1]["name"] == "trial 1 running, epoch 0"
    spent = {stage["name"]: stage["cpu_seconds"] for stage in parts["stages"]}
    assert spent["together"] < spent["the first trial's"] / 2 and spent["annotations"] < 0.1
    lane, second, _, run, _ = (stage["cpu_seconds"] for stage in trials["stages"])
    assert second < lane / 3 and second < run / 3


def test_trainings_at_once_are_measured_and_end_with_what_measures_them(tmp_path: Path) -> None:
    paint(tmp_path / "data")
    run = small_run(tmp_path, "64x64", batch_size=8, train_people=PHOTOS)
    (row,) = compare({"two": ("joined.together", run, 2, 1, 4)}, 4 * 8, 1, lambda done, rounds: None, "wall")
    assert row.per_second > 0 and not multiprocessing.active_children()


@pytest.mark.slow
def test_the_steps_are_compared() -> None:
    done = raypose("bench", "step", "--rounds", "1")
    assert "the backbone frozen" in done.stdout and "torch 2" in done.stdout


def test_an_unknown_part() -> None:
    done = raypose("bench", "everything")
    assert (
        done.returncode == 2
        and done.stderr.startswith("raypose: ")
        and "none of loader, step, epoch, start" in done.stderr
    )

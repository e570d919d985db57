"""Train the table that `raypose bench search` replays: every choice of three dimensions, all epochs of each.

`python tests/benchmarks/train_curves.py FOLDER` takes an hour and a half on two cores, and goes on where it was. Runs
in: command line, and a process for each core.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

LRS = tuple(1e-4 * 2**step for step in range(10))
FREEZES = ("none", "stage1", "stage2", "stage3", "backbone")
SIZES = ("64x64", "96x96", "128x128")
EPOCHS, BATCH, TRAIN_PEOPLE, VAL_PEOPLE = 18, 32, 256, 128


def main() -> None:
    """Train what is missing, and write all of it into one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("curves.json"))
    given = parser.parse_args()
    data = given.folder / "data"
    if not data.exists():
        from raypose.datasets.demo import render_demo

        render_demo(data, train=TRAIN_PEOPLE, val=VAL_PEOPLE)
    points = [(given.folder, *point) for point in itertools.product(SIZES, FREEZES, LRS)]
    with multiprocessing.get_context("spawn").Pool(given.processes, warnings.simplefilter, ("ignore",)) as pool:
        for count, _ in enumerate(pool.imap_unordered(_train, points, chunksize=1), 1):
            print(f"{count} of {len(points)}", flush=True)
    curves = [json.loads(file.read_text()) for file in sorted((given.folder / "curves").iterdir())]
    lines = ",\n".join(json.dumps(curve) for curve in curves)
    given.out.write_text(f'{{"epochs": {EPOCHS}, "curves": [\n{lines}\n]}}\n')


def _train(point: tuple[Path, str, str, float]) -> None:
    import torch

    from raypose.bench.runs import small_run
    from raypose.errors import RayposeError
    from raypose.training.train import train

    folder, size, freeze, lr = point
    file = folder / "curves" / f"{size}_{freeze}_{lr:g}.json"
    if file.exists():
        return
    torch.set_num_threads(1)
    trial = folder / "trials" / file.stem
    shutil.rmtree(trial, ignore_errors=True)
    figures, began, error = [], [time.process_time()], None

    def report(metrics: Any, _: Path) -> bool:
        figures.append((metrics["PCK"], time.process_time() - began[-1]))
        began.append(time.process_time())
        return False

    try:
        values = {"input_size": size, "freeze": freeze, "lr": lr}
        run = small_run(folder, size, values=values, folder=trial, epochs=EPOCHS)
        train(replace(run, batch_size=BATCH, train_people=TRAIN_PEOPLE), report)
    except RayposeError as fault:
        error = str(fault)
    shutil.rmtree(trial)
    file.parent.mkdir(exist_ok=True)
    curve = {"input_size": size, "freeze": freeze, "lr": lr, "error": error}
    curve["pck"] = [round(pck, 2) for pck, _ in figures]
    curve["cpu_seconds"] = [round(seconds, 2) for _, seconds in figures]
    file.write_text(json.dumps(curve))


if __name__ == "__main__":
    main()

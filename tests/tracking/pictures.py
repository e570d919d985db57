"""Takes the guide's pictures of MLflow's UI: `python -m tests.tracking.pictures`. Needs Chromium, as test_browser does.

They show a search that raypose's own study drew, with the figures of real trainings: for each trial those of the point
of `tests/benchmarks/curves.json` that is nearest to it.
"""

import tempfile
import time
from io import BytesIO
from pathlib import Path

from PIL import Image

import raypose.tracking
from raypose.bench.curves import CURVES, Curves, read_curves
from raypose.record.epochs import commit_epoch, read_epochs, staging_folder
from raypose.record.files import digest
from raypose.record.folder import create_experiment
from raypose.record.study import Study
from raypose.space.load import parse_spec
from raypose.space.trial import Trial
from raypose.tracking.mirror import Mirror
from raypose.tracking.store import open_store
from tests.tracking.test_browser import Page, chromium, served

GUIDE = Path(raypose.tracking.__file__).parent / "guide"
TRIALS, SETTLED_S = 24, 5.0  # plots are drawn after their texts can be read


def search(mlruns: Path, curves: Curves) -> Study:
    """A finished experiment."""
    space = {
        "lr": {"log_uniform": [2e-4, 1.6e-2]},
        "freeze": {"choice": curves.freezes},
        "input_size": {"choice": curves.sizes},
    }
    spec = parse_spec({"space": space, "search": {"trials": TRIALS}, "train": {"epochs": curves.epochs}})
    base = {"lr": 4e-3, "freeze": "none", "input_size": "128x128"}
    facts = {"uid": "replayed", "base_values": base, "data": {"digest": digest(CURVES)}}
    saved = {**facts, "experiment": spec.model_dump(mode="json")}
    study = Study(saved, create_experiment(mlruns, "lr-freeze-size", "", saved))
    study.fill_queue()
    while (trial := study.next_trial()) is not None:
        study.begin_attempt(trial.number, 1)
        train(study, trial, curves)
    return study


def train(study: Study, trial: Trial, curves: Curves) -> None:
    """Commit the epochs of the nearest point until the trial is over, or pruned."""
    values, folder = trial.values, study.folder.trial(trial.number)
    point = curves.nearest(float(str(values["lr"])), str(values["freeze"]), str(values["input_size"]))
    for number, figure in enumerate(curves.figures[point], 1):
        staging = staging_folder(folder, number)
        (staging / "weights.pth").write_bytes(f"{trial.number} {number}".encode())
        commit_epoch(staging, number, {"PCK": figure}, 3.0)
        if study.add_epoch(trial.number, read_epochs(folder)[-1]) and number < curves.epochs:
            study.finish(trial.number, pruned=True)
            return
    (folder / "config.py").write_text("# of a replayed trial\n")
    study.finish(trial.number)


def take(page: Page, name: str) -> None:
    """Keep what the page shows, in 128 colours, which takes a third of the room."""
    time.sleep(SETTLED_S)
    picture = Image.open(BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    picture.quantize(128).save(GUIDE / f"{name}.png", optimize=True)


def main() -> None:
    """All pictures."""
    GUIDE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        mlruns = Path(home) / "mlruns"
        Mirror(open_store(mlruns)).sync(search(mlruns, read_curves(CURVES)).view(worked_on=False))
        with served(mlruns) as (trials, charts, champions), chromium() as page:
            page.open(trials)
            page.until(lambda: page.all("button[aria-label=Close]"))[0].click()  # MLflow's assistant
            take(page, "trials")
            page.open(trials.replace("raypose-trials", "raypose-study"))
            page.until(lambda: page.all(".ag-row .ag-cell [data-component-id*=runnamecellrenderer]"))[0].click()
            take(page, "study")
            page.open(charts)
            page.until(lambda: page.all(".parcoords .axis .label"))
            take(page, "charts")
            page.open(champions)
            page.open(f"{page.link('rtmpose-n-demo')}?workflowType=machine_learning")
            page.shows("@ champion")
            take(page, "champion")


if __name__ == "__main__":
    main()

"""Score weights on the validation or test people of a data folder, with MMPose's own evaluator. Runs in: GPU worker."""

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from mmpose.evaluation.metrics import MpiiPCKAccuracy
from mmpose.registry import METRICS

from raypose.datasets.mpii import VAL
from raypose.datasets.split import Part, split_rows
from raypose.record.epochs import read_epochs
from raypose.record.files import read_whole, write_json
from raypose.record.view import RETEST, best_epoch
from raypose.space.run import Run
from raypose.training.base import COLLECT
from raypose.training.checkpoint import WEIGHTS
from raypose.training.config import build_config
from raypose.training.hasten import hastened
from raypose.training.model import build_model
from raypose.training.predictions import Hits, Predictions, gathered
from raypose.training.runner import build_runner, registered
from raypose.training.weights import Loaded

# MPII's joints by the figure that counts them; PCK leaves out pelvis (6) and thorax (7).
COUNTED = {
    "Head PCK": (9,),
    "Shoulder PCK": (12, 13),
    "Elbow PCK": (11, 14),
    "Wrist PCK": (10, 15),
    "Hip PCK": (2, 3),
    "Knee PCK": (1, 4),
    "Ankle PCK": (0, 5),
}
ALL_COUNTED = tuple(joint for joint in range(16) if joint not in (6, 7))


@dataclasses.dataclass(frozen=True)
class Score:
    """What weights reach: MpiiPCKAccuracy's figures, in percent, and on rank 0 the hits behind the run's own metric."""

    metrics: dict[str, float]
    images: Hits


@METRICS.register_module()
class MpiiHits(MpiiPCKAccuracy):
    """MMPose's PCKh, which also keeps, on rank 0, all predictions, and what one `figure` counts as found."""

    predictions: Predictions
    hits = Hits([], [], [])

    def __init__(self, figure: str = "PCK") -> None:
        super().__init__(collect_device=COLLECT)
        self.joints = COUNTED.get(figure, ALL_COUNTED)
        self.distance = 0.1 if figure == "PCK@0.1" else self.thr

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Note the image and the annotation's row beside each result."""
        super().process(data_batch, data_samples)
        for result, sample in zip(self.results[-len(data_samples) :], data_samples, strict=True):
            result["image"], result["row"] = sample["img_path"], int(sample["id"])

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """MMPose's figures over all ranks' results."""
        self.predictions = gathered(results)
        self.hits = self.predictions.hits(self.joints, self.distance)
        metrics: dict[str, float] = super().compute_metrics(results)
        return metrics


def evaluate(run: Run, part: Part = "val") -> dict[str, float]:
    """PCKh of `run.weights` as they are, by joint group and over all joints, in percent."""
    return score(run, part).metrics


def score(run: Run, part: Part = "val") -> Score:
    """Evaluate `run.weights` as they are, on the people that choose between trials or on those held out from them.

    Raises DataError for a part without images.
    """
    with validation(run, part) as (runner, _):
        metrics = runner.val()
        (evaluator,) = runner.val_loop.evaluator.metrics
    return Score({figure: float(value) for figure, value in metrics.items()}, evaluator.hits)


@contextmanager
def validation(run: Run, part: Part) -> Iterator[tuple[Runner, Loaded]]:
    """MMEngine's Runner, whose `val` evaluates `run.weights` on a part by MpiiHits, and what was loaded of them.

    Raises DataError for a part without images.
    """
    config = build_config(run)
    config.val_evaluator = {"type": MpiiHits.__name__, "figure": run.metric}
    if part == "test":
        config.val_dataloader.dataset.indices = split_rows(run.data / VAL, run.held_out, "test")
    with running(hastened(config, run), run) as both:
        yield both


@contextmanager
def running(config: Config, run: Run) -> Iterator[tuple[Runner, Loaded]]:
    """MMEngine's Runner around `run.weights` as they are, by a hastened config, and what was loaded of them."""
    with tempfile.TemporaryDirectory() as work_dir, registered(Path(work_dir) / "log", run.folder.name) as name:
        config.experiment_name = name
        model, _, loaded = build_model(config, dataclasses.replace(run, values={**run.values, "freeze": "none"}))
        yield build_runner(config, model, run, work_dir), loaded


def retest(run: Run) -> None:
    """Evaluate the exported weights of a training's best epoch, and write figures and hits into its folder once.

    All ranks of the training call it; it is the file that counts, not what was reported while training.
    """
    file, best = run.folder / RETEST, best_epoch(read_epochs(run.folder), run.metric)
    if read_whole(file) or best is None:
        return
    scored = score(dataclasses.replace(run, weights=str(best.folder / WEIGHTS)))
    if is_main_process():
        write_json(file, {"epoch": best.number, **dataclasses.asdict(scored)})

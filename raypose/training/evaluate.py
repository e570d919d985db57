"""Score weights on the validation people of a data folder, with MMPose's own evaluator. Runs in: GPU worker."""

import dataclasses
import tempfile
from pathlib import Path

from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.runner import build_runner, registered
from raypose.training.train import build_model


def evaluate(run: Run) -> dict[str, float]:
    """PCKh of `run.weights` as they are, by joint group and over all joints, in percent."""
    config = build_config(run)
    with tempfile.TemporaryDirectory() as work_dir, registered(Path(work_dir) / "log", run.folder.name) as name:
        config.experiment_name = name
        model, _, _ = build_model(config, dataclasses.replace(run, values={**run.values, "freeze": "none"}))
        metrics = build_runner(config, model, run, work_dir).val()
    return {figure: float(value) for figure, value in metrics.items()}

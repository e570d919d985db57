"""Make the weights that ship with raypose: `python -m raypose.training.pretrain`. Runs in: a process of its own.

RTMPose-n learns from people drawn as flat sketches; the demo set draws them otherwise, on textured grounds, so the
weights are a start for it and not its solution. Beside the weights go the settings and figures, which a test repeats.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import torch
from safetensors.torch import save_file

from raypose.datasets.demo import render_demo
from raypose.record.files import write_json
from raypose.space.run import Run
from raypose.training.evaluate import evaluate
from raypose.training.train import train
from raypose.training.weights import DEMO_WEIGHTS, read_weights

SKETCHES, DEMO = (
    {"train": 8000, "val": 200, "seed": 1},
    {"train": 8, "val": 200, "seed": 0},
)  # as render_demo takes them
# From random weights a gentler augmentation learns several times as much in the same time.
_PIPELINE = "train_dataloader.dataset.pipeline"
SETTINGS: dict[str, float | str] = {
    "lr": 1.5e-3,
    f"{_PIPELINE}.RandomBBoxTransform.rotate_factor": 30,
    f"{_PIPELINE}.Albumentation.transforms.CoarseDropout.p": 0.0,
}


def main() -> None:
    """Render, train, score on both styles, and write weights and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEMO_WEIGHTS)
    parser.add_argument("--epochs", type=int, default=11)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as scratch:
        weights, figures = pretrain(Path(scratch), arguments.epochs)
        save_file(weights, arguments.out)
    write_json(arguments.out.with_suffix(".json"), figures)


def pretrain(scratch: Path, epochs: int) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """The weights of the last epoch, and how they were made and how they score."""
    render_demo(scratch / "sketch", style="sketch", on_progress=None, **SKETCHES)
    render_demo(scratch / "street", style="street", on_progress=None, **DEMO)
    run = Run(
        model="rtmpose-n",
        weights="none",
        values=SETTINGS,
        metric="PCK",
        epochs=epochs,
        batch_size=32,
        loader_workers=1,
        amp=False,
        seed=0,
        workers=1,
        gpu=False,
        data=scratch / "sketch",
        train_people=SKETCHES["train"],
        folder=scratch / "trial",
    )
    run.folder.mkdir()
    last = scratch

    def report(metrics: Mapping[str, float], folder: Path) -> bool:
        nonlocal last
        last = folder
        print(folder.name, {name: round(value, 3) for name, value in metrics.items()}, flush=True)
        return False

    train(run, report)
    trained = dataclasses.replace(run, weights=str(last / "weights.pth"))
    figures: dict[str, object] = {
        "model": run.model,
        "sketches": SKETCHES,
        "settings": {**SETTINGS, "epochs": epochs, "batch_size": run.batch_size, "seed": run.seed},
        "sketch": evaluate(trained),
        "street": evaluate(dataclasses.replace(trained, data=scratch / "street")),
    }
    return read_weights(trained.weights), figures


if __name__ == "__main__":
    main()

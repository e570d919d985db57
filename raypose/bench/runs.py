"""What is trained to be measured: the smallest model on a folder's data. Runs in: command line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from raypose.space.run import Run


def small_run(folder: Path, size: str, **changes: Any) -> Run:
    """A trial of an epoch at an input size ("WxH"), on the data in `folder`/data, from the weights of the demo."""
    run = Run(
        model="rtmpose-n",
        weights="demo",
        values={"input_size": size},
        metric="PCK",
        epochs=1,
        batch_size=16,
        loader_workers=0,
        amp=False,
        seed=0,
        workers=1,
        gpu=False,
        data=folder / "data",
        train_people=1,
        folder=folder,
        data_digest=str(folder),
        cache_bytes=10**10,
    )
    return replace(run, **changes)

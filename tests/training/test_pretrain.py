"""The weights that ship with raypose score what is written beside them, and are made by the command that is named."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from raypose.datasets.demo import render_demo
from raypose.space.run import Run
from raypose.training.evaluate import evaluate
from raypose.training.pretrain import DEMO, SETTINGS, SKETCHES
from raypose.training.weights import DEMO_WEIGHTS

FIGURES: dict[str, Any] = json.loads(DEMO_WEIGHTS.with_suffix(".json").read_text())


def run(data: Path, folder: Path) -> Run:
    return Run(
        model="rtmpose-n",
        weights="demo",
        values={},
        metric="PCK",
        epochs=1,
        batch_size=32,
        loader_workers=0,
        amp=False,
        seed=0,
        workers=1,
        gpu=False,
        data=data,
        train_people=1,
        folder=folder,
    )


@pytest.mark.parametrize(("style", "drawn"), [("sketch", SKETCHES), ("street", DEMO)])
def test_the_figures_hold(style: Literal["sketch", "street"], drawn: dict[str, int], tmp_path: Path) -> None:
    render_demo(tmp_path / "set", train=1, val=drawn["val"], seed=drawn["seed"], style=style)
    scored = evaluate(run(tmp_path / "set", tmp_path / "trial"))
    written = FIGURES[style]
    assert scored.keys() == written.keys()
    for name, figure in scored.items():
        assert figure == pytest.approx(written[name], abs=0.5), name  # the last bits differ between processors


def test_the_weights_were_made_by_these_settings() -> None:
    assert FIGURES["settings"].items() >= SETTINGS.items() and FIGURES["sketches"] == SKETCHES
    assert DEMO_WEIGHTS.stat().st_size < 12_000_000

"""A search replayed on real learning curves into a real record, without any training."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raypose.bench.curves import CURVES, Curves, read_curves
from raypose.record.epochs import commit_epoch, read_epochs, staging_folder
from raypose.record.folder import ExperimentFolder, create_experiment
from raypose.record.study import Study
from raypose.space.load import parse_spec
from raypose.space.trial import Trial

JOINTS = {"Head": 14, "Shoulder": 8, "Elbow": -3, "Wrist": -11, "Hip": 4, "Knee": -4, "Ankle": -8}
COSTS = {"64x64": 0.03, "96x96": 0.07, "128x128": 0.12}
EPOCHS = 6
EVIL = "</script><script>document.title='evil'</script><img src=http://evil.example/x>"
SPACE = {
    "lr": {"log_uniform": [2.0e-4, 5.0e-3]},
    "freeze": {"choice": ["none", "stage1", "stage2", "backbone"]},
    "lr_mult.backbone": {"log_uniform": [0.05, 1.0], "when": {"freeze": ["none"]}},
    "input_size": {"choice": ["64x64", "96x96", "128x128"]},
}


class Replayed:
    """Experiments below one folder, their trials' figures from the table of real curves."""

    def __init__(self, mlruns: Path) -> None:
        self.mlruns, self.curves = mlruns, read_curves(CURVES)

    def make(
        self, name: str, trials: int = 24, fail: tuple[int, ...] = (), epochs: int = EPOCHS, **more: Any
    ) -> ExperimentFolder:
        """A search of so many trials at its end, of which those in `fail` have failed."""
        spec = {"space": SPACE, "search": {"trials": trials}, "train": {"epochs": epochs}, **more}
        base = {"lr": 0.0064, "freeze": "none", "lr_mult.backbone": 1.0, "input_size": "128x128"}
        base = {key: value for key, value in base.items() if key in spec["space"]}
        experiment = parse_spec(spec).model_dump(mode="json")
        saved = {"uid": "a1b2", "experiment": experiment, "base_values": base, "on_gpus": False}
        folder = create_experiment(self.mlruns, name, "exp", saved)
        study = Study(folder.saved, folder)
        study.fill_queue()
        while (trial := study.next_trial()) is not None:
            study.begin_attempt(trial.number, 1)
            _train(study, trial, self.curves, fail)
        return folder


def _train(study: Study, trial: Trial, curves: Curves, fail: tuple[int, ...]) -> None:
    size, home = str(trial.values.get("input_size", "128x128")), study.folder.trial(trial.number)
    point = curves.nearest(float(trial.values["lr"]), str(trial.values.get("freeze", "none")), size)  # type: ignore[arg-type]
    pruned, epochs = False, study.experiment.train.epochs
    for number, pck in enumerate(curves.figures[point][:epochs], 1):
        staging = staging_folder(home, number)
        (staging / "weights.pth").write_bytes(b"x")
        commit_epoch(staging, number, _metrics(pck, size), 4 + 40 * COSTS[size])
        if trial.number in fail:
            return study.finish(trial.number, error=f"OutOfMemoryError: {EVIL}")
        pruned = study.add_epoch(trial.number, read_epochs(home)[-1])
        if pruned:
            break
    diverged = None if pruned or len(curves.figures[point]) >= epochs else "PCK is nan"
    return study.finish(trial.number, pruned=pruned, error=diverged)


def _metrics(pck: float, size: str) -> dict[str, float]:
    joints = {f"{joint} PCK": min(100.0, max(0.0, pck + offset)) for joint, offset in JOINTS.items()}
    costs = {"gflops": COSTS[size], "latency_ms": 2 + 20 * COSTS[size], "parameters": 1.3e6, "images_per_s": 90.0}
    return {**joints, "PCK": pck, "PCK@0.1": pck / 4, "loss": 1.0, "lr": 1e-3, **costs}


@pytest.fixture(scope="session")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    """A folder of experiments that the tests of reports share."""
    mlruns = tmp_path_factory.mktemp("replayed") / "mlruns"
    yield Replayed(mlruns)
    shutil.rmtree(mlruns, ignore_errors=True)

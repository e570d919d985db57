"""Studies on disk, and trials that end as a function of their values, without any training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from raypose.record.epochs import commit_epoch, read_epochs, staging_folder
from raypose.record.folder import ExperimentFolder, create_experiment
from raypose.record.points import copied
from raypose.record.study import Study
from raypose.space.load import parse_spec
from raypose.space.trial import Trial

EPOCHS = 3


class Records:
    """Makes experiments below one folder and works them off."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def make(self, spec: Mapping[str, Any], base: Mapping[str, Any], **more: Any) -> ExperimentFolder:
        """An experiment from a specification and the base config's values."""
        experiment = parse_spec({"train": {"epochs": EPOCHS}, "prune": {"pruner": "none"}, **spec})
        saved = {"uid": "a1b2", "experiment": experiment.model_dump(mode="json"), "base_values": dict(base), **more}
        return create_experiment(self.root, None, "exp", saved, copied(saved, experiment))

    def run(self, folder: ExperimentFolder, figures: Any) -> Study:
        """Every trial to its end, with `figures(trial, epoch)` as its metrics."""
        study = Study(folder.saved, folder)
        study.fill_queue()
        while (trial := study.next_trial()) is not None:
            if not study.catch_up(trial.number):
                self.train(study, trial, figures)
        return study

    def train(self, study: Study, trial: Trial, figures: Any) -> None:
        """One trial as a lane and the driver do it together."""
        study.begin_attempt(trial.number, 1)
        home = study.folder.trial(trial.number)
        for number in range(1, study.experiment.train.epochs + 1):
            self.commit(home, number, figures(trial, number))
            study.add_epoch(trial.number, read_epochs(home)[-1])
        study.finish(trial.number)

    def commit(self, home: Path, number: int, metrics: Mapping[str, float]) -> None:
        """One epoch of a trial, as a worker writes it."""
        staging = staging_folder(home, number)
        (staging / "state").write_bytes(b"x")
        commit_epoch(staging, number, metrics, 1.0)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Experiments in a folder of the test's own."""
    return Records(tmp_path)

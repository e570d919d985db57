"""What lies in an experiment's folder is read as data, and goes on only for the user who made it."""

import os
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from raypose.cli.options import load_experiment
from raypose.errors import DataError, ExperimentError, RayposeError
from raypose.record.folder import ExperimentFolder, create_experiment
from raypose.record.study import Study, read_view
from raypose.training.checkpoint import PLAIN, TENSORS, load_state
from raypose.tuning.experiment import resume


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


class Quiet:
    """A screen that shows nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def progress(self, done: int, total: int) -> None:
        """Nothing."""

    def show(self, view: Any) -> None:
        """Nothing."""


@pytest.mark.parametrize("planted", [TENSORS, PLAIN])
@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_in_place_of_a_checkpoint_is_no_checkpoint(tmp_path: Path, planted: str, kind: str) -> None:
    trace = tmp_path / "ran"
    save_file({"model.a": torch.zeros(3)}, tmp_path / TENSORS)
    (tmp_path / PLAIN).write_text("{}")
    if kind == "torch":
        torch.save(Bomb(trace), tmp_path / planted)
    else:
        (tmp_path / planted).write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises((SafetensorError, ValueError, RayposeError)):
        load_state(None, tmp_path)  # type: ignore[arg-type]  # the files are read before the runner is looked at
    assert not trace.exists()


@pytest.fixture
def experiment(tmp_path: Path) -> ExperimentFolder:
    """An experiment that draws with CMA-ES, whose state Optuna keeps in the study as a pickle: here a planted one."""
    spec = tmp_path / "lr.yaml"
    spec.write_text("space: {lr: {log_uniform: [1.0e-4, 1.0e-2]}, layer_decay: {uniform: [0.5, 1]}}")
    options = ["search.sampler=cmaes", "search.trials=4", f"data={tmp_path}"]
    saved = {
        "uid": "a1b2",
        "experiment": load_experiment(spec, settings=options).model_dump(mode="json"),
        "base_values": {"lr": 4e-3, "layer_decay": 1.0},
        "data": {"folder": str(tmp_path), "digest": ""},
    }
    folder = create_experiment(tmp_path / "mlruns", "theirs", "", saved)
    study = Study(saved, folder)
    study.fill_queue()
    optimizer = pickle.dumps(Bomb(tmp_path / "ran")).hex()
    (loaded,) = optuna.get_all_study_summaries(folder.study_url)
    stored = optuna.load_study(study_name=loaded.study_name, storage=folder.study_url)
    trial = stored.ask({"lr": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)})
    stored._storage.set_trial_system_attr(trial._trial_id, "cma:optimizer:0", optimizer)
    stored.tell(trial, 1.0)
    return folder


def give_away(folder: ExperimentFolder, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make the files another user's; who is not root can only become another user in their stead."""
    if os.geteuid() == 0:
        for name in names:
            os.chown(folder.path / name, 12345, -1)
    else:
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)


@pytest.mark.parametrize("names", [("",), ("spec.json",), ("study.db",), ("", "spec.json", "study.db")])
def test_another_user_s_experiment_is_shown_and_not_gone_on_with(
    experiment: ExperimentFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: tuple[str, ...]
) -> None:
    give_away(experiment, monkeypatch, *names)
    with pytest.raises(ExperimentError, match="theirs: .*belongs to another user.* cp -r "):
        resume(experiment, None, Quiet())
    assert read_view(experiment).name == "theirs"
    assert not (tmp_path / "ran").exists()


def test_one_s_own_experiment_is_gone_on_with(experiment: ExperimentFolder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mpii_train.json"):  # the next thing that is wrong here
        resume(experiment, None, Quiet())
    study = Study(experiment.saved, experiment)
    assert not (tmp_path / "ran").exists()
    assert study.next_trial() and (tmp_path / "ran").exists(), "whose study it is matters"

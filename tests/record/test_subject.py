"""Weights by the name of their experiment: its winner, its best trial, any trial, and why there are none."""

import random
from pathlib import Path
from typing import Any

import pytest

from raypose.errors import ExperimentError, SpecError
from raypose.record.files import write_json
from raypose.record.final import repeat
from raypose.record.folder import VERDICT, create_final
from raypose.record.subject import find_subject
from raypose.space.trial import Trial

BASE = {"lr": 9e-2}


def pck(trial: Trial, epoch: int) -> dict[str, float]:
    return {"PCK": 50 - abs(float(str(trial.values["lr"])) - 0.01) * 100 + epoch % 3}


def search(records: Any, **changes: Any) -> Any:
    """A search of three trials, the second of them the best, each in its second epoch."""
    spec = {"space": {"lr": {"log_uniform": [1e-3, 1e-1]}}, "search": {"trials": 3, "start": [{"lr": 0.01}]}, **changes}
    return records.run(records.make(spec, BASE, data={"folder": "/some/set", "digest": "d1"}), pck)


def test_without_a_final_the_best_figure_wins(records: Any, tmp_path: Path) -> None:
    study = search(records, test=0.25)
    best = find_subject(tmp_path, "exp-1")
    assert (best.name, best.model, best.values) == ("exp-1, best trial 1, epoch 2", "rtmpose-n", {"lr": 0.01})
    assert best.weights == str(study.folder.trial(1) / "epoch_0002" / "weights.pth")
    assert (best.data, best.digest) == (Path("/some/set"), "d1")
    assert (best.held_out, best.unseen, best.is_winner) == (0.25, None, True)


def test_any_trial_by_its_number(records: Any, tmp_path: Path) -> None:
    study = search(records, test="/unseen", model="rtmpose-s")
    base = find_subject(tmp_path, "exp-1/0")
    assert (base.name, base.values, base.model) == ("exp-1, trial 0, epoch 2", BASE, "rtmpose-s")
    assert base.weights == str(study.folder.trial(0) / "epoch_0002" / "weights.pth")
    assert (base.held_out, base.unseen, base.is_winner) == (0.0, Path("/unseen"), False)


@pytest.mark.parametrize("name", ["exp-1", "exp-1/final"])
def test_the_winner_of_a_final_is_the_experiments(records: Any, tmp_path: Path, name: str) -> None:
    study = search(records, final={"top": 1, "seeds": 2})
    experiment, points = repeat(study.experiment, study.view(worked_on=True), 3)
    create_final(
        study.folder, {**study.folder.saved, "experiment": experiment.model_dump(mode="json"), "points": points}
    )
    records.run(study.folder.final, pck)
    assert find_subject(tmp_path, "exp-1").name.startswith("exp-1, best trial 1"), "there is no verdict yet"
    verdict = {"trial": 0, "values": BASE, "figures": [1.0, 2.0], "checkpoint": "/won/epoch_0003"}
    write_json(study.folder.final.path / VERDICT, verdict)
    won = find_subject(tmp_path, name)
    assert (won.name, won.values) == (f"{name}, winner over 2 seeds, trial 0", BASE)
    assert won.weights == "/won/epoch_0003/weights.pth" and won.is_winner
    assert find_subject(tmp_path, "exp-1/final/1").name == "exp-1/final, trial 1, epoch 2"


def test_what_has_no_weights_is_said(records: Any, tmp_path: Path) -> None:
    study = records.run(
        records.make({"space": {"lr": {"choice": [1]}}}, BASE, data={"folder": "/x", "digest": "d1"}), pck
    )
    with pytest.raises(ExperimentError, match=f"exp-1: no trial {study.total}; it has {study.total}, from 0 on"):
        find_subject(tmp_path, f"exp-1/{study.total}")
    for name in ("nix", "nix/3", "exp-1/x"):
        with pytest.raises(ExperimentError, match=f"no experiment '{name.removesuffix('/3')}'"):
            find_subject(tmp_path, name)


def test_before_its_first_epoch_an_experiment_has_none(records: Any, tmp_path: Path) -> None:
    records.make({"space": {"lr": {"choice": [1]}}}, BASE, data={"folder": "/x", "digest": "d1"})
    with pytest.raises(ExperimentError, match="exp-1: no trial has come to a figure that counts"):
        find_subject(tmp_path, "exp-1")


def test_a_config_that_changed_since_it_was_trusted_is_not_run(records: Any, tmp_path: Path) -> None:
    config = tmp_path / "mine.py"
    config.write_text(f"x = {random.random()}\n")
    search(records, model=str(config), trust_config="0" * 64)
    with pytest.raises(SpecError, match="changed since the experiment began"):
        find_subject(tmp_path, "exp-1/0")

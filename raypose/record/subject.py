"""Trained weights by the name of their experiment, with all that they are of. Runs in: command line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raypose.errors import ExperimentError
from raypose.record.folder import find_experiment
from raypose.record.study import read_view
from raypose.record.view import ExperimentView
from raypose.space.knobs import Value
from raypose.space.load import parse_spec
from raypose.space.trust import require_trusted


@dataclass(frozen=True)
class Subject:
    """Weights under a `name` for people, the model and values they are of, and the data that they were chosen by.

    Trials were chosen by the validation people of the folder `data`, without the share `held_out` of its images. What
    no trial saw, that share or the folder `unseen`, is for the winner alone: who looks at more trials there chooses.
    `digest` tells what the folder held then.
    """

    name: str
    weights: str
    model: str
    values: Mapping[str, Value]
    data: Path | None = None
    digest: str = ""
    held_out: float = 0.0
    unseen: Path | None = None
    is_winner: bool = False


def find_subject(mlruns: Path, name: str) -> Subject:
    """The weights of `EXP/N`, a trial, or of `EXP`'s winner: its final's, or without one that of its best figure.

    Raises ExperimentError if there are none, and SpecError if their config has changed since it was trusted.
    """
    exp, number = name.rpartition("/")[::2] if re.fullmatch(r".+/\d{1,9}", name) else (name, "")
    folder = find_experiment(mlruns, exp)
    saved = folder.saved
    experiment = parse_spec(saved["experiment"], empty_space=True)
    if experiment.trust_config:
        folder.require_own()
        require_trusted(experiment)
    view = read_view(folder)
    verdict = None if number else view.final.verdict if view.final else view.verdict
    what, checkpoint, values = _of_verdict(verdict) if verdict else _of_trial(view, number)
    return Subject(
        name=f"{exp}, {what}",
        weights=str(checkpoint / "weights.pth"),
        model=experiment.model,
        values=values,
        data=Path(saved["data"]["folder"]),
        digest=saved["data"]["digest"],
        held_out=experiment.test if isinstance(experiment.test, float) else 0.0,
        unseen=Path(experiment.test) if isinstance(experiment.test, str) else None,
        is_winner=not number,
    )


def _of_verdict(verdict: Mapping[str, Any]) -> tuple[str, Path, Mapping[str, Value]]:
    what = f"winner over {len(verdict['figures'])} seeds, trial {verdict['trial']}"
    return what, Path(verdict["checkpoint"]), verdict["values"]


def _of_trial(view: ExperimentView, number: str) -> tuple[str, Path, Mapping[str, Value]]:
    if number and int(number) >= len(view.trials):
        raise ExperimentError(f"{view.name}: no trial {number}; it has {len(view.trials)}, from 0 on")
    trial = view.trials[int(number)] if number else view.best
    if trial is None:
        raise ExperimentError(f"{view.name}: no trial has come to a figure that counts; `raypose show {view.name}`")
    if trial.checkpoint is None:
        raise ExperimentError(f"{view.name}: trial {trial.number} ({trial.state}) has no weights; name another one")
    return f"{'' if number else 'best '}trial {trial.number}, epoch {trial.best_epoch}", trial.checkpoint, trial.values

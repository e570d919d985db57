"""The trial of another experiment that a training repeats, or goes on from. Runs in: command line, driver."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raypose.errors import ExperimentError, SpecError
from raypose.record.epochs import is_intact
from raypose.record.files import flush
from raypose.record.folder import ExperimentFolder, find_experiment
from raypose.record.storage import keep_trial
from raypose.record.study import read_view
from raypose.record.view import Epoch, TrialView
from raypose.space.schema import Experiment


@dataclass(frozen=True)
class Origin:
    """A trial of an experiment, or of its final; to go on from, `epoch` is one that has all its state."""

    folder: ExperimentFolder
    trial: TrialView
    epoch: Epoch | None = None

    @property
    def name(self) -> str:
        """As the command line names it, such as lr-1/6."""
        return f"{self.folder.name}/{self.trial.number}"

    @property
    def spec(self) -> dict[str, Any]:
        """The specification it was trained by; whether its config may be run is to be said anew."""
        spec: dict[str, Any] = {**self.folder.saved["experiment"], "trust_config": None}
        if self.folder.parent:  # repetitions of a final draw anew in every epoch
            spec["train"] = {**spec["train"], "cached_views": 0}
        return spec


def origin_of(mlruns: Path, name: str) -> Origin:
    """The trial of this name, such as lr-1/6. Raises ExperimentError if there is none, or it has no values yet."""
    experiment, _, number = name.rpartition("/")
    if not experiment or not re.fullmatch("[0-9]{1,9}", number):
        raise ExperimentError(f"--trial: '{name}': expected an experiment and the number of a trial, such as lr-1/6")
    folder = find_experiment(mlruns, experiment)
    return Origin(folder, _trial(folder, int(number), "--trial"))


def origin_at(checkpoint: Path) -> Origin:
    """The trial and epoch of a checkpoint's folder. Raises ExperimentError unless all its state is there."""
    place = checkpoint.resolve()
    is_epoch = re.fullmatch(r".*/trials/\d+/epoch_\d+", str(place))
    if not is_epoch or not (place.parents[2] / "spec.json").is_file():
        example = "mlruns/experiments/lr-1/trials/0006/epoch_0006"
        raise ExperimentError(f"--resume: {checkpoint}: no epoch's folder of an experiment, such as {example}")
    path = place.parents[2]
    folder = ExperimentFolder(path, ExperimentFolder(path.parent) if path.name == "final" else None)
    trial = _trial(folder, int(place.parent.name), "--resume")
    epochs = [epoch for epoch in trial.epochs if epoch.folder.name <= place.name]
    if trial.origin or not epochs or epochs[-1].folder != place or not epochs[-1].has_weights:
        whole = [epoch.folder.name for epoch in trial.epochs if epoch.has_weights and trial.origin is None]
        kept = f"; of this trial these are kept: {', '.join(whole)}" if whole else ""
        raise ExperimentError(f"--resume: {checkpoint}: its weights and state are not there{kept}")
    if broken := [epoch.folder.name for epoch in epochs if epoch.has_weights and not is_intact(epoch)]:
        raise ExperimentError(
            f"--resume: {checkpoint}: damaged: {', '.join(broken)}; --trial {folder.name}/{trial.number} trains it anew"
        )
    return Origin(folder, trial, epochs[-1])


def _trial(folder: ExperimentFolder, number: int, option: str) -> TrialView:
    trials = read_view(folder).trials
    if number >= len(trials):
        raise ExperimentError(f"{option}: {folder.name} has no trial {number}; the last is {len(trials) - 1}")
    if trials[number].state == "waiting":
        raise ExperimentError(f"{option}: trial {number} of {folder.name} has not begun, and has no values yet")
    return trials[number]


def require_same(experiment: Experiment, origin: Origin) -> None:
    """Raise SpecError unless a training can go on from the origin's epoch as if it had been its own."""
    epoch, spec = origin.epoch, origin.spec
    assert epoch
    differ = [key for key in ("model", "weights") if getattr(experiment, key) != spec[key]]
    differ += [] if experiment.fixed == origin.trial.values else ["values"]
    if "unfreeze.at" in experiment.fixed and experiment.train.epochs != spec["train"]["epochs"]:
        differ.append("train.epochs, of which unfreeze.at is a share")
    if differ:
        text = f"{origin.name} was trained with other {', '.join(differ)}; --load-from takes its weights alone"
        raise SpecError([f"--resume: {text}"])
    if epoch.number >= experiment.train.epochs:
        text = f"epoch {epoch.number} is the last of {experiment.train.epochs}; give more with --epochs"
        raise SpecError([f"--resume: {text}"])
    if lacking := [
        name for name, _ in experiment.objectives if any(name not in e.metrics for e in origin.trial.epochs)
    ]:
        raise SpecError([f"--resume: {origin.name} has no figure {', '.join(lacking)}"])


def begin_from(origin: Origin, trial: Path) -> None:
    """Let a trial that is to be made go on from the origin's epoch: copy it and all before it as they are."""
    epoch = origin.epoch
    assert epoch
    for each in origin.trial.epochs[: epoch.number]:
        for file in shutil.copytree(each.folder, trial / each.folder.name).iterdir():
            flush(file)
    keep_trial(trial, {"point": {}, "attempts": 0, "state": "waiting", "error": None})

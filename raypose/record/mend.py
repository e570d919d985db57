"""What a damaged record can be made good from, and what is lost of it. Runs in: driver, before it goes on.

Every file is checked by its digest or by its database; what is damaged is set aside, never deleted and never used.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raypose.record.epochs import damage, tidy
from raypose.record.files import read_whole
from raypose.record.folder import ExperimentFolder
from raypose.record.spent import SPENT
from raypose.record.storage import is_sound, kept_trial
from raypose.record.study import Study


def mended(saved: Mapping[str, Any], folder: ExperimentFolder) -> tuple[Study, list[str]]:
    """The study, its database made anew if that was damaged or knows not all trials; what was lost, a line each."""
    lost: list[str] = []
    clock = folder.path / SPENT
    if clock.exists() and read_whole(clock) is None:
        lost.append(f"{_set_aside(clock)}: damaged; the time that was spent before does not count any more")
    own = saved["experiment"]["search"]["storage"] == "auto"  # another server looks after its own
    if own and not is_sound(folder.study_file):
        lost += _rebuild(saved, folder)
    study = Study(saved, folder)
    if own and study.drawn < _made(folder):
        lost += _rebuild(saved, folder)
        study = Study(saved, folder)
    for trial in _folders(folder):
        tidy(trial, study.experiment.primary)
    for number in study.begun:
        lost += [f"{line}; trial {number} goes on from what is whole" for line in damage(folder.trial(number))]
    return study, lost


def _folders(folder: ExperimentFolder) -> list[Path]:
    return sorted(trial for trial in (folder.path / "trials").glob("[0-9]*") if trial.name.isdigit())


def _made(folder: ExperimentFolder) -> int:
    """One more than the highest number of a trial's folder."""
    return max((int(trial.name) + 1 for trial in _folders(folder)), default=0)


def _rebuild(saved: Mapping[str, Any], folder: ExperimentFolder) -> list[str]:
    """A new database from what lies in the trials' own folders."""
    aside = _set_aside(folder.study_file)
    for journal in folder.path.glob("study.db-*"):
        _set_aside(journal)
    study, lost = Study(saved, folder), []
    for number in range(_made(folder)):
        kept = kept_trial(folder.trial(number))
        if kept is None and folder.trial(number).exists():
            lost.append(f"{_set_aside(folder.trial(number))}: damaged; trial {number} is drawn and trained anew")
        study.put_back(kept)
    return [f"{folder.study_file}: damaged, and made anew from the trials' own records; the old one is {aside}", *lost]


def _set_aside(path: Path) -> Path:
    """Give a damaged file or folder a name under which nothing looks for it."""
    free = (path.with_name(f"{path.name}.damaged-{n}") for n in itertools.count(1))
    aside = next(each for each in free if not each.exists())
    return path.rename(aside)

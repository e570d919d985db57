"""`raypose test`: weights on one data set after another, and what is told of all. Runs in: command line."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from raypose.datasets.formats import DataSet, SetScore
from raypose.datasets.people_set import PeopleSet
from raypose.record.files import digest
from raypose.record.subject import Subject
from raypose.training.overlay import draw_predictions
from raypose.training.predictions import Predictions
from raypose.training.scores import Scores, scored, to_test
from raypose.training.several_sets import score_sets
from raypose.training.weights import weights_file


class Screen(Protocol):
    """Whoever tells the user how things stand."""

    def say(self, text: str) -> None:
        """What is being done now."""

    def progress(self, done: int, total: int) -> None:
        """How far the thing last said has come."""


def test_all(
    subject: Subject,
    sets: Sequence[PeopleSet],
    others: Sequence[DataSet],
    pictures: Path | None,
    interval: int,
    screen: Screen,
) -> dict[str, Any]:
    """What `raypose test --out` writes, but for the machine: the weights, and of each set what Scores holds.

    Sets of other formats are tested in one go with the first of these. Into the folder `pictures`, if there is one, go
    every `interval`-th image's predictions; of several sets into a folder of its own each.
    """
    entries: list[dict[str, Any]] = []
    found, averages = _together(subject, sets[:1], others, screen) if others else ([], [])
    for number, each in enumerate(sets, 1):
        scores, predictions = found[0] if found and number == 1 else _alone(subject, each, screen)
        entries.append(_entry(each, scores))
        if pictures:
            screen.say(f"drawing predictions into {pictures}")
            folder = pictures / f"{number}_{each.report.folder.name}" if len(sets) > 1 else pictures
            draw_predictions(predictions, folder, interval, screen.progress)
    file = weights_file(subject.weights)
    return {
        "weights": {"name": subject.name, "source": subject.weights, "sha256": digest(file)},
        "model": subject.model,
        "values": dict(subject.values),
        "sets": entries,
        "other_formats": [_other_entry(each) for each in averages],
    }


def _alone(subject: Subject, tested: PeopleSet, screen: Screen) -> tuple[Scores, Predictions]:
    screen.say(f"testing {subject.name} on {tested.name}")
    run = to_test(subject.weights, subject.model, subject.values, tested.report.folder, tested.held_out)
    return scored(run, tested.part, screen.progress)


def _together(
    subject: Subject, first: Sequence[PeopleSet], others: Sequence[DataSet], screen: Screen
) -> tuple[list[tuple[Scores, Predictions]], list[SetScore]]:
    """What there is of the first set, if there is one, and of the others, by one look at all of their people."""
    sets = [*(DataSet("mpii", each.report.folder) for each in first), *others]
    screen.say(f"testing {subject.name} on {', '.join(map(str, sets))}")
    run = to_test(subject.weights, subject.model, subject.values, sets[0].folder, 0.0)
    together = score_sets(run, sets, screen.progress)
    return [together.mpii] if together.mpii else [], together.scores[len(first) :]


def _other_entry(score: SetScore) -> dict[str, Any]:
    data = {"format": score.data.format, "folder": str(score.data.folder.absolute())}
    joints = {"joints": score.joints, "left_out": score.left_out}
    return {
        "name": str(score.data),
        "data": data,
        "people": score.people,
        "figures": score.figures,
        **joints,
        "meaning": score.meaning,
    }


def _entry(tested: PeopleSet, scores: Scores) -> dict[str, Any]:
    data = {"folder": str(tested.report.folder), "digest": tested.report.digest, "part": tested.part}
    return {"name": tested.name, "data": {**data, "held_out": tested.held_out}, **dataclasses.asdict(scores)}

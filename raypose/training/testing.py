"""`raypose test`: weights on one data set after another, and what is told of all. Runs in: command line."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from raypose.datasets.people_set import PeopleSet
from raypose.record.files import digest
from raypose.record.subject import Subject
from raypose.training.overlay import draw_predictions
from raypose.training.scores import Scores, scored, to_test
from raypose.training.weights import weights_file


class Screen(Protocol):
    """Whoever tells the user how things stand."""

    def say(self, text: str) -> None:
        """What is being done now."""

    def progress(self, done: int, total: int) -> None:
        """How far the thing last said has come."""


def test_all(
    subject: Subject, sets: Sequence[PeopleSet], pictures: Path | None, interval: int, screen: Screen
) -> dict[str, Any]:
    """What `raypose test --out` writes, but for the machine: the weights, and of each set what Scores holds.

    Into the folder `pictures`, if there is one, go every `interval`-th image's predictions; of several sets into a
    folder of its own each.
    """
    entries: list[dict[str, Any]] = []
    for number, each in enumerate(sets, 1):
        screen.say(f"testing {subject.name} on {each.name}")
        run = to_test(subject.weights, subject.model, subject.values, each.report.folder, each.held_out)
        scores, predictions = scored(run, each.part, screen.progress)
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
    }


def _entry(tested: PeopleSet, scores: Scores) -> dict[str, Any]:
    data = {"folder": str(tested.report.folder), "digest": tested.report.digest, "part": tested.part}
    return {"name": tested.name, "data": {**data, "held_out": tested.held_out}, **dataclasses.asdict(scores)}

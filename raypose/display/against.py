"""What `raypose test` compares with: MMPose's published figures, or an earlier test's file. Runs in: command line."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raypose.errors import InputError

OFFICIAL_MODEL, OFFICIAL_SIZE, MPII_PEOPLE = "rtmpose-m", "256x256", 2958
OFFICIAL = {
    "Head PCK": (96.92412850307586, 97.135061),
    "Shoulder PCK": (96.35806671204901, 96.569293),
    "Elbow PCK": (90.5209635560393, 90.864083),
    "Wrist PCK": (85.3914664501284, 86.482026),
    "Hip PCK": (89.62707156720231, 90.219894),
    "Knee PCK": (86.81040481141916, 87.487638),
    "Ankle PCK": (83.01753443482589, 83.325446),
    "PCK": (90.2701715954728, 90.749415),
    "PCK@0.1": (33.90184120695922, 34.806141),
}
"""Of MMPose's rtmpose-m_8xb64-210e_mpii-256x256 on MPII's validation people.

First the last epoch of its published training log, then its published weights (rtmpose-m_simcc-mpii_pt-aic-coco_210e)
as MMPose's tools/test.py evaluates them, which its model zoo rounds to 0.907 and, at 0.1, 0.348.
"""

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Reference:
    """Figures to compare those of one data set with, in columns with headings, and what makes them not comparable.

    `gained` is the gain in PCK on the same images with its interval, where those of the reference are known.
    """

    name: str
    columns: Mapping[str, Figures]
    notes: Sequence[str] = ()
    gained: Mapping[str, Any] | None = None


def read_against(against: str) -> dict[str, Any] | None:
    """The earlier test in a file, None for `official`. Raises InputError for anything else."""
    if against == "official":
        return None
    try:
        earlier = json.loads(Path(against).read_text(encoding="utf-8"))
    except OSError as fault:
        why = (fault.strerror or str(fault)).lower()
        raise InputError(f"--against: {against}: {why}; give official, or what `raypose test --out` wrote") from fault
    except (ValueError, RecursionError):  # not JSON, or not UTF-8
        earlier = None
    if not isinstance(earlier, dict) or not _is_test(earlier):
        raise InputError(f"--against: {against}: is not what `raypose test --out` writes")
    return earlier


def _is_test(earlier: Mapping[str, Any]) -> bool:
    """Does it hold what a comparison reads?"""
    try:
        for each in earlier["sets"]:
            figures = [figure for figure in each["figures"].values() if figure is not None]
            counts = [*figures, *each["hits"]["found"], *each["hits"]["counted"], each["data"]["held_out"]]
            texts = [each["name"], each["data"]["digest"], each["data"]["part"], *each["hits"]["names"]]
            if not all(type(count) in (int, float) for count in counts) or not all(type(t) is str for t in texts):
                return False
        return bool(earlier["sets"]) and type(earlier["weights"]["name"]) is str
    except (KeyError, TypeError, AttributeError):
        return False


def references(found: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> Iterator[Reference]:
    """What each of the tested data sets is compared with, in their order."""
    for tested in found["sets"]:
        yield _earlier(tested, earlier) if earlier else _official(found["model"], tested)


def _official(model: str, tested: Mapping[str, Any]) -> Reference:
    notes = []
    if (model, tested["input_size"]) != (OFFICIAL_MODEL, OFFICIAL_SIZE):
        theirs = f"the official figures are of {OFFICIAL_MODEL} at {OFFICIAL_SIZE}"
        notes.append(f"{theirs}, these of {model} at {tested['input_size']}")
    if tested["people"] != MPII_PEOPLE:
        theirs = f"the official figures are of MPII's {MPII_PEOPLE} validation people"
        notes.append(f"{theirs}, these of {tested['people']} in {tested['data']['folder']}")
    log, weights = ({name: pair[column] for name, pair in OFFICIAL.items()} for column in (0, 1))
    return Reference("MMPose's published figures", {"official log": log, "official weights": weights}, notes)


def _earlier(tested: Mapping[str, Any], earlier: Mapping[str, Any]) -> Reference:
    """The earlier test's same images, or if it has none its first data set."""
    name = earlier["weights"]["name"]
    same = [each for each in earlier["sets"] if _same_images(each, tested)]
    if not same:
        first = earlier["sets"][0]
        return Reference(
            name, {name: first["figures"]}, [f"other images: these figures of {name} are of {first['name']}"]
        )
    from raypose.record.final import compare

    gained = compare(tested["hits"], same[0]["hits"]) if len(tested["hits"]["names"]) > 1 else None
    return Reference(name, {name: same[0]["figures"]}, gained=gained)


def _same_images(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """The same people of them, with the same labels; the folder's name does not count."""
    return all(one["data"][key] == other["data"][key] for key in ("digest", "part", "held_out"))

"""The verb `raypose test`: how good trained weights are, on one data set or several. Runs in: command line.

Heavy stages are imported inside it, so that help and wrong options are instant.
"""

import dataclasses
import json
import os
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from raypose.cli.options import (
    DEFAULT_MLRUNS,
    Json,
    Mlruns,
    TrustConfig,
    open_console,
    print_json,
    split_settings,
)
from raypose.errors import InputError, WeightsError

PRESET = "rtmpose-n"  # of the demo weights
FILES = (".pth", ".pt", ".safetensors")


def test(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS|EXP|EXP/N",
            help="demo, a file or URL of weights, an experiment (its winner), or one of its trials.",
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="demo, or a folder: DIR or mpii:DIR, coco:DIR, aic:DIR; may be repeated. Default: the experiment's."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write all that was found into this file (.json).")] = None,
    show_dir: Annotated[Path | None, typer.Option(help="Draw predictions over photos into this folder.")] = None,
    interval: Annotated[int, typer.Option(help="Draw every so many photos.", min=1)] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A knob's value: --set input_size=192x192")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="What the weights are of: rtmpose-n (default), t, s, m, l, x, or the path of a config."),
    ] = None,
    trust: TrustConfig = False,
    against: Annotated[
        str | None,
        typer.Option(help="Compare with official (MMPose's published figures on MPII), or with a file of --out."),
    ] = None,
    mlruns: Mlruns = DEFAULT_MLRUNS,
    as_json: Json = False,
) -> None:
    """Test weights: PCKh of all joints at half and at a tenth of a head, its curve, and 95 % intervals over images.

    An experiment's weights are tested with the values of their trial. Its winner, on its own data, is also tested on
    the images that no trial saw, if it has some. AUC is the area under the curve from 0 to half a head.

    Sets in COCO's and AI Challenger's formats, in the folders of MMPose's documentation, are tested in one go with one
    in MPII's: AP and AR of the joints that MPII has too, in annotated boxes.

    --json prints what --out writes: weights, model, values, machine, and of each data set its folder and digest,
    people, figures, intervals, curve, and the hits of PCK on each image.

    \b
    Example: raypose test lr-1 --data data/mpii --against official --show-dir pictures --interval 20

    \b
    Example: raypose test lr-1 --data data/mpii --data coco:data/coco --data aic:data/aic
    """
    from raypose.display.against import read_against, references
    from raypose.display.screen import LiveScreen

    earlier = read_against(against) if against else None
    _require_writable(out, show_dir)
    subject = _subject(what, model, trust, settings or [], mlruns.absolute())
    with LiveScreen(open_console(stderr=True)).open() as screen:
        sets, others = _sets(subject, data, screen)
        if not sets and (against or show_dir):
            raise InputError("--against and --show-dir are for sets in MPII's format: name one with --data, too")
        found = _found(subject, sets, others, show_dir, interval, screen)
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if as_json:
        print_json(found)
        return
    from raypose.display.scored import against_text, averages_text, scores_text

    console = open_console()
    if sets:
        console.print(scores_text(found), soft_wrap=True)
    if others:
        console.print(averages_text(found["other_formats"]), soft_wrap=True)
    if against:
        for tested, reference in zip(found["sets"], references(found, earlier), strict=True):
            console.print(against_text(tested, reference), soft_wrap=True)


def _found(
    subject: Any, sets: list[Any], others: list[Any], show_dir: Path | None, interval: int, screen: Any
) -> dict[str, Any]:
    """What --out writes."""
    from raypose.tracking.environment import environment

    screen.say("loading PyTorch and MMPose")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what MMPose and PyTorch will change some day
        from raypose.training.testing import test_all

        return {**test_all(subject, sets, others, show_dir, interval, screen), "machine": environment()}


def _require_writable(out: Path | None, show_dir: Path | None) -> None:
    """Raise InputError, before hours of work, for a place where nothing can be written."""
    if out and (os.path.isdir(out) or not os.path.isdir(out.absolute().parent)):
        raise InputError(f"--out: {out}: no file can be written there; name one in a folder that exists")
    if show_dir and os.path.exists(show_dir) and not os.path.isdir(show_dir):
        raise InputError(f"--show-dir: {show_dir}: is a file; name a folder")


def _subject(what: str, model: str | None, trust: bool, settings: list[str], mlruns: Path) -> Any:
    """The weights that are meant, and what they are of; options lie over what an experiment says."""
    from raypose.record.subject import Subject, find_subject
    from raypose.space.trust import trusted
    from raypose.space.values import parse_values

    values = parse_values(split_settings(settings, "--set", "input_size=192x192"), "--set")
    is_file = what == "demo" or "://" in what or what.endswith(FILES) or os.path.isfile(what)
    if not is_file:
        if model:
            raise InputError(f"--model: {what} is an experiment, whose model is known; leave it out")
        found = find_subject(mlruns, what)
        return dataclasses.replace(found, values={**found.values, **values})
    here = "://" not in what and what != "demo"
    if here and not os.path.isfile(what):
        raise WeightsError(f"{what}: no such file of weights")
    trusted(model or PRESET, trust)
    return Subject(Path(what).name, str(Path(what).absolute()) if here else what, model or PRESET, values)


def _sets(subject: Any, data: list[str] | None, screen: Any) -> tuple[list[Any], list[Any]]:
    """The data sets that are named, or an experiment's own: for its winner also what no trial saw.

    First those in MPII's format, then those in others.
    """
    from raypose.datasets.formats import parse_set, require_sound_sets
    from raypose.datasets.mpii import require_sound
    from raypose.datasets.people_set import PeopleSet, named_set

    if data or not subject.data:
        named = [parse_set(name) for name in data or ["demo"]]
        others = [each for each in named if each.format != "mpii"]
        require_sound_sets(others)
        folders = [str(each.folder) for each in named if each.format == "mpii"]
        return [named_set(folder, screen.say, screen.progress) for folder in folders], others
    report = require_sound(subject.data)
    if report.digest != subject.digest:
        screen.say(f"warning: {subject.data} no longer holds what {subject.name} was trained on")
    sets = [PeopleSet(str(subject.data), report, "val", subject.held_out)]
    if subject.is_winner and subject.held_out:
        sets.append(PeopleSet(f"{subject.data}, held out", report, "test", subject.held_out))
    if subject.is_winner and subject.unseen:
        sets.append(PeopleSet(str(subject.unseen), require_sound(subject.unseen)))
    return sets, []

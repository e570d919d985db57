"""The verb `raypose data browse`: people as they are given, as training sees them, or as weights fail on them.

Runs in: command line.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from raypose.cli.options import DEFAULT_MLRUNS, Json, Mlruns, TrustConfig, load_experiment, open_console, print_json
from raypose.errors import InputError

BASE = {"space": {"lr": {"choice": [0.004]}}}  # any: trial 0 has the base config's own values
Mode = Literal["original", "transformed"]
Part = Literal["train", "val"]


def browse(
    data: Annotated[Path, typer.Argument(help="Folder in MPII layout.")],
    mode: Annotated[Mode, typer.Option(help="The photos, or what a trial's pipeline makes of them.")] = "original",
    spec: Annotated[Path | None, typer.Option(help="Whose trial's pipeline; without, the preset rtmpose-n's.")] = None,
    trial: Annotated[int, typer.Option(help="The trial of --spec, as `raypose plan` draws it.", min=0)] = 0,
    epoch: Annotated[int, typer.Option(help="The epoch to draw as; the last ones have a milder pipeline.", min=1)] = 1,
    part: Annotated[Part, typer.Option(help="Training or validation people.")] = "train",
    count: Annotated[int, typer.Option(help="How many people.", min=1, max=2000)] = 48,
    seed: Annotated[int, typer.Option(help="The same seed picks the same people.", min=0)] = 0,
    worst: Annotated[
        int | None, typer.Option(help="Show the validation people that --weights fail on most.", min=1, max=2000)
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="W|EXP[/N]", help="A file, demo or official; or an experiment's winner, or its trial N."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the pictures; earlier ones of the same kind go.")] = Path(
        "browse"
    ),
    mlruns: Mlruns = DEFAULT_MLRUNS,
    trust: TrustConfig = False,
    as_json: Json = False,
) -> None:
    """Look at the people of a data folder: contact sheets (.png), and one page (.html) to filter, sort and enlarge.

    original     the photos with box and joints: filled is labelled, a ring is a place without a label.

    transformed  what a trial's own pipeline makes of them, at its input size, with the joints that the label says.

    --worst      the validation people that weights fail on most, by the share of joints missed at PCKh@0.5 and the
                 mean error in sizes of the head, with the prediction over the truth.

    \b
    Example: raypose data browse data/mpii --mode transformed --spec search_spaces/all.yaml --trial 2

    \b
    Example: raypose data browse data/mpii --worst 50 --weights lr-1
    """
    if (worst is None) != (weights is None):
        raise InputError("--worst N and --weights W|EXP[/N] belong together: how many people, and who fails on them")
    if weights and spec and not _is_weights(weights):
        raise InputError(f"--spec: the experiment {weights} has its own; leave --spec out, or name a file of weights")
    experiment = _experiment(spec, data, weights, trust) if worst or mode == "transformed" else None
    from raypose.display.screen import LiveScreen

    with LiveScreen(open_console(stderr=True)).open() as screen:
        if worst is not None and weights is not None:
            shown = _worst(experiment, trial, data, worst, weights, mlruns.absolute(), screen)
        elif experiment:
            shown = _transformed(experiment, trial, part, count, seed, epoch, screen)
        else:
            shown = _original(data, part, count, seed, screen)
        screen.say(f"drawing {len(shown.portraits)} people")
        written = _write(shown, out)
    if as_json:
        print_json({**written, "title": shown.title, "about": shown.about, "people": _plain(shown.portraits)})
    else:
        typer.echo(f"{len(shown.portraits)} people: {written['page']}, {', '.join(written['sheets'])}")


@dataclass(frozen=True)
class _Shown:
    """What is drawn, and how it is told of; `stem` is of the files' names."""

    stem: str
    title: str
    about: str
    portraits: list[Any]


def _experiment(spec: Path | None, data: Path, weights: str | None, trust: bool) -> Any:
    """What a specification describes, or the base config alone; its weights are those that are looked at."""
    from raypose.space.load import parse_spec

    given: dict[str, Any] = {"data": str(data.absolute())} | (
        {"weights": weights} if weights and _is_weights(weights) else {}
    )
    return parse_spec({**BASE, **given}) if spec is None else load_experiment(spec, settings=None, trust=trust, **given)


def _original(data: Path, part: Part, count: int, seed: int, screen: Any) -> _Shown:
    from raypose.datasets.browse import as_given
    from raypose.datasets.mpii import require_sound
    from raypose.space.sections import Failure

    screen.say(f"checking {data}")
    report = require_sound(data, Failure().bad_images)
    portraits = [*as_given(data, part, count, seed)]
    people = report.train_people if part == "train" else report.val_people
    return _Shown("original", f"{data}: {part}", f"{len(portraits)} of {people} people, seed {seed}", portraits)


def _transformed(experiment: Any, trial: int, part: Part, count: int, seed: int, epoch: int, screen: Any) -> _Shown:
    from raypose.space.knobs import values_text
    from raypose.tuning.browse import see_augmented

    values, portraits = see_augmented(experiment, trial, part, count, seed, epoch, screen)
    width, height = portraits[0].size
    about = f"trial {trial} of {experiment.model}: {values_text(values)}; epoch {epoch}, {width}x{height}, seed {seed}"
    return _Shown("transformed", f"{experiment.data}: {part}, as training sees it", about, portraits)


def _worst(experiment: Any, trial: int, data: Path, count: int, weights: str, mlruns: Path, screen: Any) -> _Shown:
    from raypose.datasets.browse import as_guessed
    from raypose.tuning.browse import see_hardest, see_hardest_of_experiment

    if _is_weights(weights):
        name, (metrics, guesses) = weights, see_hardest(experiment, trial, count, screen)
    else:
        name, metrics, guesses = see_hardest_of_experiment(mlruns, weights, data.absolute(), count, screen)
    about = f"{name}: PCK {metrics['PCK']:.2f}; ordered by the share of joints missed, then by the mean error"
    return _Shown("worst", f"{data}: the {len(guesses)} hardest", about, [*as_guessed(data, guesses)])


def _is_weights(text: str) -> bool:
    named = text in ("demo", "official") or "://" in text or text.endswith((".pth", ".safetensors"))
    return named or Path(text).is_file()


def _write(shown: _Shown, out: Path) -> dict[str, Any]:
    from raypose.display.people_page import page
    from raypose.display.people_sheets import draw_sheets

    enlarged = shown.stem == "transformed"
    out.mkdir(parents=True, exist_ok=True)
    for earlier in out.glob(f"{shown.stem}-*.png"):
        earlier.unlink()
    file = out / f"{shown.stem}.html"
    file.write_text(page(shown.title, shown.about, shown.portraits, enlarged), encoding="utf-8")
    sheets = draw_sheets(shown.title, shown.about, shown.portraits, enlarged, out, shown.stem)
    return {"page": str(file), "sheets": [str(sheet) for sheet in sheets]}


def _plain(portraits: list[Any]) -> list[dict[str, Any]]:
    return [{"image": each.image, "row": each.row, **each.figures, "text": each.text} for each in portraits]

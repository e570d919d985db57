"""The verbs of `raypose data`: make, check, split and look at data folders. Runs in: command line."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from raypose.cli.browse import browse
from raypose.cli.options import Json, open_console, print_json

data_app = typer.Typer(help="Make, check, split and look at data folders.", rich_markup_mode=None)
data_app.command("browse")(browse)


@data_app.command("demo")
def data_demo(
    folder: Annotated[Path, typer.Argument(help="Folder to render into; it must not exist or hold a demo set.")],
    train: Annotated[int, typer.Option(help="Training people.", min=1)] = 800,
    val: Annotated[int, typer.Option(help="Validation people.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.", min=0)] = 0,
) -> None:
    """Render the demo set: drawn people in MPII layout.

    \b
    Example: raypose data demo data/small --train 80 --val 20
    """
    from raypose.datasets.demo import ensure_demo
    from raypose.display.screen import LiveScreen
    from raypose.space.one_line import one_line

    with LiveScreen(open_console()).open() as screen:
        screen.say(f"rendering {train + val} people")
        rendered = ensure_demo(folder.absolute(), train=train, val=val, seed=seed, on_progress=screen.progress)
    typer.echo(one_line(f"{folder}: {'rendered' if rendered else 'is there already'}"))


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="Folder with images/ and annotations/.")],
    deep: Annotated[bool, typer.Option("--deep", help="Decode every image too.")] = False,
    as_json: Json = False,
) -> None:
    """Is this a sound MPII layout? Counts, and every problem.

    \b
    Example: raypose data check data/mpii --deep
    """
    from raypose.datasets.mpii import check_mpii

    report = check_mpii(folder, deep=deep)
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        _tell(report)
    raise typer.Exit(2 if report.errors else 0)


def _tell(report: Any) -> None:
    """Counts, and every problem."""
    from raypose.space.one_line import one_line

    counts = (
        f"{report.folder}: {report.train_people} people to train on in {report.train_images} images, "
        f"{report.val_people} to validate in {report.val_images}, {report.joints_labelled} joints; "
        f"{len(report.problems)} problems"
    )
    for line in (counts, *(f"  {problem.severity}: {problem}" for problem in report.problems)):
        typer.echo(one_line(line))


@data_app.command("prepare")
def data_prepare(
    layout: Annotated[Literal["mpii"], typer.Argument(help="What the archives hold.")],
    images: Annotated[Path, typer.Option(help="MPII's images, mpii_human_pose_v1.tar.gz, as downloaded.")],
    annotations: Annotated[Path, typer.Option(help="MMPose's mpii_annotations.tar, as downloaded.")],
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")] = Path("data/mpii"),
    images_sha256: Annotated[str | None, typer.Option(metavar="HEX", help="Refuse images with another digest.")] = None,
    annotations_sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="Refuse annotations with another digest.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Unpack MPII as downloaded into the layout that trainings read, and check it.

    The archives' digests are printed and kept in prepared.json; give the --...-sha256 that you know, and others are
    refused. Only images and annotations are taken out; links and paths that lead elsewhere are refused. Stopped at any
    instant, the same command goes on where it was.

    \b
    Example: raypose data prepare mpii --images mpii_human_pose_v1.tar.gz --annotations mpii_annotations.tar
    """
    from raypose.datasets.mpii import check_mpii
    from raypose.datasets.prepare import prepare_mpii
    from raypose.display.screen import LiveScreen

    expected = {"images": images_sha256, "annotations": annotations_sha256}
    with LiveScreen(open_console(stderr=True)).open() as screen:
        stamp = prepare_mpii(images, annotations, out, expected, screen)
        screen.say(f"checking {out}")
        report = check_mpii(out)
    if as_json:
        print_json({**stamp, "check": dataclasses.asdict(report)})
    else:
        for kind in expected:
            known = stamp[kind]["known_as"]
            typer.echo(f"{kind}: sha256 {stamp[kind]['sha256']}" + (f", {known} by the MD5" if known else ""))
        _tell(report)
    raise typer.Exit(2 if report.errors else 0)


@data_app.command("split")
def data_split(
    data: Annotated[Path, typer.Argument(help="Folder in MPII layout.")],
    out: Annotated[Path, typer.Option(help="Folder to make, for rest/ and held_out/; it must not exist.")],
    holdout: Annotated[float, typer.Option(help="The share of the images to hold out.", min=0.001, max=0.9)] = 0.1,
    seed: Annotated[int, typer.Option(help="The same seed holds out the same images.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Make a data folder into two by image: OUT/rest to tune on, OUT/held_out to test the winner on.

    An image goes to one of them with all its people. Training people stay training people, for without head boxes none
    can be tested on; validation people keep their head boxes, row by row. Images are hard links, which take no space.
    OUT/split.json holds share, seed and digests.

    With seed 0 those validation images are held out that `test: SHARE` holds out in a specification. That needs no
    other folder and keeps all training people; folders serve other programs too.

    \b
    Example: raypose data split data/mpii --holdout 0.1 --out data/mpii_split
    """
    from raypose.datasets.holdout import HELD_OUT, REST, split_folder

    made = split_folder(data, holdout, out, seed)
    parts = {REST: made.rest, HELD_OUT: made.held_out}
    if as_json:
        print_json({part: dataclasses.asdict(report) for part, report in parts.items()})
        return
    for report in parts.values():
        typer.echo(
            f"{report.folder}: {report.train_people} people to train on in {report.train_images} images, "
            f"{report.val_people} to validate in {report.val_images}"
        )
    typer.echo(f"In a specification: data: {made.rest.folder}, test: {made.held_out.folder}")

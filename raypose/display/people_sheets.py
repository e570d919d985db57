"""People on contact sheets, pictures of many side by side. Runs in: command line."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.collections import LineCollection  # noqa: E402
from matplotlib.patches import Patch, Rectangle  # noqa: E402
from matplotlib.patheffects import Normal, Stroke  # noqa: E402

from raypose.datasets.portrait import BOX, EDGE, MISSED, Portrait, Pose, legend  # noqa: E402

COLUMNS, ROWS = 6, 4
INCHES, BELOW = 2.6, 0.75  # a picture's side, and the room for the text below it
LONGEST = 42  # characters of a line of it


def draw_sheets(
    title: str, about: str, portraits: Sequence[Portrait], enlarged: bool, folder: Path, stem: str
) -> list[Path]:
    """Write `<stem>-1.png` and so on, 24 people each; `enlarged` pictures show their pixels as squares."""
    each, sheets = COLUMNS * ROWS, []
    for number, first in enumerate(range(0, len(portraits), each), 1):
        file = folder / f"{stem}-{number}.png"
        head = f"{title}, {first + 1} to {min(first + each, len(portraits))}\n{about}"
        _draw_sheet(head, portraits[first:][:each], enlarged, file)
        sheets.append(file)
    return sheets


def _draw_sheet(head: str, portraits: Sequence[Portrait], enlarged: bool, file: Path) -> None:
    rows = -(-len(portraits) // COLUMNS)
    size = (COLUMNS * INCHES, rows * (INCHES + BELOW) + 0.5)
    figure, axes = pyplot.subplots(rows, COLUMNS, squeeze=False, figsize=size, layout="constrained")
    figure.suptitle(head, x=0.01, ha="left", fontsize=10, parse_math=False)
    names = [pose.name for pose in portraits[0].poses]
    patches = [Patch(facecolor=colour, edgecolor=EDGE, label=name) for name, colour in legend(names)]
    figure.legend(handles=patches, loc="upper right", ncols=len(patches), frameon=False, fontsize=9)
    for axis, portrait in zip_longest(axes.flat, portraits):
        if portrait is None:
            axis.axis("off")
        else:
            _draw(axis, portrait, "nearest" if enlarged else "antialiased")
    figure.savefig(file, dpi=120, bbox_inches="tight")  # the layout forgets the last lines below a high picture
    pyplot.close(figure)


def _draw(axis: Axes, portrait: Portrait, interpolation: str) -> None:
    axis.imshow(portrait.pixels, interpolation=interpolation)
    if portrait.box:
        left, top, right, bottom = portrait.box
        axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=BOX, linestyle="--"))
    for pose in portrait.poses:
        _draw_pose(axis, pose)
    axis.add_collection(LineCollection(portrait.misses, colors=MISSED, linestyles=":", linewidths=1.2))
    width, height = portrait.size
    axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[], frame_on=False)
    text = [f"{portrait.image}  row {portrait.row}", *portrait.text]
    axis.set_xlabel("\n".join(_short(line) for line in text), fontsize=7, parse_math=False)


def _draw_pose(axis: Axes, pose: Pose) -> None:
    bones = list(pose.bones())
    lines = LineCollection([bone[:2] for bone in bones], colors=[bone[2] for bone in bones], linewidths=1.4)
    lines.set_path_effects([Stroke(linewidth=2.6, foreground=EDGE), Normal()])
    axis.add_collection(lines)
    for _, (x, y), colour, filled in pose.dots():
        axis.plot(
            x, y, "o", markersize=3.6, color=EDGE if filled else colour, markerfacecolor=colour if filled else "none"
        )


def _short(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."

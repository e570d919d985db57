"""People as one HTML page that holds all it shows and loads nothing. Runs in: command line."""

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template

import cv2

from raypose.datasets.portrait import BOX, JOINTS, MISSED, RINGS, Portrait, Pose, legend

QUALITY = 88  # of the JPEG images
DOT, RING = 1 / 110, 1.6  # a joint's radius, in longer sides of the picture; of a ring in those of a dot


def page(title: str, about: str, portraits: Sequence[Portrait], enlarged: bool) -> str:
    """The page; `enlarged` pictures show their pixels as squares."""
    parts = sorted({pose.name for each in portraits for pose in each.poses}, reverse=True)  # the truth first
    boxed, missed = any(each.box for each in portraits), any(each.misses for each in portraits)
    shown = [*parts, *(["box"] if boxed else []), *(["misses"] if missed else [])]
    colours = dict(legend(parts))
    rings = [part for part in parts if any(p.has_rings for each in portraits for p in each.poses if p.name == part)]
    return Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        about=escape(about),
        rendering="pixelated" if enlarged else "auto",
        box=BOX,
        missed=MISSED,
        hiding="\n".join(f".no-{part} g.{part} {{ display: none; }}" for part in shown),
        sorts=_sorts(portraits),
        toggles="\n".join(_toggle(part, colours.pop(part, None)) for part in shown),
        legend="".join(map(_swatch, colours.values(), colours))
        + "".join(f"<span>{RINGS[part]}</span>" for part in rings),
        figures="\n".join(_figure(number, portrait) for number, portrait in enumerate(portraits)),
    )


def _sorts(portraits: Sequence[Portrait]) -> str:
    """As they come, by row, or by any of their figures, both ways."""
    names = list(dict.fromkeys(name for each in portraits for name in each.figures))
    options = [("order 1", "order given"), ("row 1", "row")]
    for name in names:
        options += [(f"{name} -1", f"{name}, most first"), (f"{name} 1", f"{name}, least first")]
    return "".join(f'<option value="{value}">{text}</option>' for value, text in options)


def _toggle(part: str, colour: str | None) -> str:
    shown = part if colour is None else _swatch(colour, part)
    return f'<label><input type="checkbox" data-part="{part}" checked> {shown}</label>'


def _swatch(colour: str, name: str) -> str:
    return f'<span><span class="swatch" style="background:{colour}"></span> {name}</span>'


def _figure(number: int, portrait: Portrait) -> str:
    words = " ".join((portrait.image, f"row {portrait.row}", *portrait.text)).lower()
    figures = {"order": number, "row": portrait.row, **portrait.figures}
    data = " ".join(f'data-{name}="{value:g}"' for name, value in figures.items())
    lines = "".join(f"<div>{escape(line)}</div>" for line in portrait.text)
    return (
        f'<figure data-text="{escape(words)}" {data}>{"".join(_svg(portrait))}'
        f"<figcaption><b>{escape(portrait.image)}</b> <span>row {portrait.row}</span>{lines}</figcaption></figure>"
    )


def _svg(portrait: Portrait) -> Iterator[str]:
    width, height = portrait.size
    yield f'<svg viewBox="0 0 {width} {height}">'
    yield f'<image href="{_data_uri(portrait)}" width="{width}" height="{height}"/>'
    yield '<g transform="translate(0.5 0.5)">'  # a pixel's middle is at its number
    if portrait.box:
        left, top, right, bottom = portrait.box
        size = f'width="{right - left:g}" height="{bottom - top:g}"'
        yield f'<g class="box"><rect class="box" x="{left:g}" y="{top:g}" {size}/></g>'
    for pose in portrait.poses:
        yield f'<g class="{pose.name}">{"".join(_pose(pose, DOT * max(width, height)))}</g>'
    if portrait.misses:
        lines = (f'<line class="miss" {_ends(start, end)}/>' for start, end in portrait.misses)
        yield f'<g class="misses">{"".join(lines)}</g>'
    yield "</g></svg>"


def _pose(pose: Pose, radius: float) -> Iterator[str]:
    bones = list(pose.bones())
    yield from (f'<line class="edge" {_ends(start, end)}/>' for start, end, _ in bones)
    yield from (f'<line class="bone" stroke="{colour}" {_ends(start, end)}/>' for start, end, colour in bones)
    for number, (x, y), colour, filled in pose.dots():
        look = f'fill="{colour}"' if filled else f'class="ring" style="stroke:{colour}"'
        title = f"<title>{pose.name}: {JOINTS[number]}</title>"
        yield f'<circle cx="{x:g}" cy="{y:g}" r="{radius if filled else RING * radius:.2f}" {look}>{title}</circle>'


def _ends(start: tuple[float, float], end: tuple[float, float]) -> str:
    return f'x1="{start[0]:g}" y1="{start[1]:g}" x2="{end[0]:g}" y2="{end[1]:g}"'


def _data_uri(portrait: Portrait) -> str:
    pixels = cv2.cvtColor(portrait.pixels, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()

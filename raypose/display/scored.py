"""What `raypose test` found, in tables, and beside others' figures. Runs in: command line."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table

from raypose.display.against import Reference


def scores_text(found: Mapping[str, Any]) -> Group:
    """Figures of all data sets side by side, and below them their curves."""
    sets = found["sets"]
    figures = Table("PCKh, in percent")
    curves = Table("found up to")
    for each in sets:
        figures.add_column(f"{each['name']}\n{each['people']} people", justify="right")
        curves.add_column(each["name"], justify="right")
    for name in sets[0]["figures"]:
        figures.add_row(name, *(_with_interval(each["figures"][name], each["intervals"][name]) for each in sets))
    for row, threshold in enumerate(sets[0]["thresholds"]):
        curves.add_row(f"{threshold:.2f} heads", *(f"{each['curve'][row]:.2f}" for each in sets))
    return Group(_title(found), figures, *_notes(found), "\nThe curve of PCK", curves)


def averages_text(sets: Sequence[Mapping[str, Any]]) -> Group:
    """AP and AR of all sets in other formats side by side, and what they are of."""
    table = Table()
    for heading in ("AP and AR, from 0 to 1", *(f"{each['name']}\n{each['people']} people" for each in sets)):
        table.add_column(heading, justify="left" if heading.startswith("AP") else "right")
    for name in dict.fromkeys(name for each in sets for name in each["figures"]):
        table.add_row(name, *(f"{each['figures'][name]:.3f}" if name in each["figures"] else "-" for each in sets))
    return Group(table, *(f"{each['name']}: {each['meaning']}" for each in sets))


def _title(found: Mapping[str, Any]) -> str:
    return (
        f"{found['weights']['name']}: {found['model']} at {found['sets'][0]['input_size']}; 95 % intervals over images"
    )


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    first = found["sets"][0]
    if first["resampled"]:
        yield (
            f"{len(first['resampled'])} tensors ({first['resampled'][0]} ...) are of another input size than "
            f"{first['input_size']} and were resampled; --set input_size=WxH names their own"
        )


def against_text(tested: Mapping[str, Any], reference: Reference) -> Group:
    """One data set's figures beside the reference's columns, and their difference from the last of these."""
    table = Table()
    for heading in ("PCKh, in percent", *reference.columns, "ours", "difference"):
        table.add_column(heading, justify="left" if heading == "PCKh, in percent" else "right")
    columns = list(reference.columns.values())
    for name, ours in tested["figures"].items():
        if name in columns[-1]:
            theirs = columns[-1][name]
            difference = "-" if ours is None or theirs is None else f"{ours - theirs:+.2f}"
            table.add_row(name, *(_figure(column[name]) for column in columns), _figure(ours), difference)
    title = f"\n{tested['name']}, against {reference.name}"
    return Group(title, table, *_gained(reference), *(f"not comparable: {note}" for note in reference.notes))


def _gained(reference: Reference) -> Iterator[str]:
    if gained := reference.gained:
        ends = _ends(gained["gain_interval"])
        yield f"PCK gained on the same images: {gained['gain']:+.2f}, 95 % interval {ends}"


def _with_interval(figure: float | None, ends: list[float] | None) -> str:
    return _figure(figure) + (f" {_ends(ends)}" if ends else "")


def _ends(ends: list[float]) -> str:
    return f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def _figure(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2f}"

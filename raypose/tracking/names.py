"""Names, numbers and words in the form MLflow takes and shows. Runs in: driver."""

import posixpath
import re
from decimal import Decimal

from raypose.space.knobs import Value

_ILLEGAL = re.compile(r"[^A-Za-z0-9_\-.: /]", re.ASCII)
_LONGEST_NAME = 250
_LONGEST_VALUE = 6000


def legal_metric(name: str) -> str:
    """Name under which MLflow keeps a metric or a param: ``PCK@0.1`` becomes ``PCK_0.1``, ``Head PCK`` stays.

    MLflow takes letters, digits, ``_ - . : /`` and space, at most 250 characters, and no path that is not in its
    shortest form. ``@`` becomes ``_``; any other character becomes ``_x`` and its code in hexadecimal, so names stay
    apart unless they differ in nothing but ``@`` and ``_``.
    """
    legal = _ILLEGAL.sub(_escape, name)
    shortest = posixpath.normpath(legal)
    if shortest != legal or shortest.startswith(("/", "..")) or shortest == ".":
        legal = re.sub(r"[/.]", _escape, legal)
    return legal[:_LONGEST_NAME]


def _escape(found: re.Match[str]) -> str:
    return "_" if found[0] == "@" else f"_x{ord(found[0]):x}"


def plain(value: object) -> str:
    """A value as MLflow's charts sort it: numbers as plain decimals without an exponent, words as they are."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return str(value)[:_LONGEST_VALUE]


def trial_title(number: int, values: dict[str, Value]) -> str:
    """What a trial's run is called, such as ``trial 3: lr 0.0012, freeze stem``; dotted keys by their last part."""
    parts = [f"{key.rsplit('.', 1)[-1]} {_short(value)}" for key, value in values.items()]
    return f"trial {number}: {', '.join(parts)}"[:_LONGEST_NAME] if parts else f"trial {number}"


def _short(value: Value) -> str:
    return format(Decimal(f"{value:.3g}"), "f") if isinstance(value, float) else plain(value)

"""The valid name that a mistyped one most likely meant. Runs in: command line, driver."""

import difflib
from collections.abc import Iterable


def suggest(word: str, known: Iterable[str], beside: str = "") -> str:
    """The ending of a message about an unknown word: the nearest known one, or all of them and what goes beside."""
    names = list(known)
    near = difflib.get_close_matches(word.lower()[:100], names, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known are {', '.join(names)}{beside}"

"""Text of unknown origin as one line that a terminal shows as it is. Runs in: command line, driver."""

LONGEST = 600  # characters: a long path, a long key and what is wrong there
_TAIL = 150


def one_line(text: str) -> str:
    """Escapes line breaks, control characters and half surrogates, and takes the middle out of endless text."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - _TAIL]} ... {text[-_TAIL:]}"

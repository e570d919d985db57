"""The guide holds: each of its commands ends well and prints what is shown, but for numbers and what they decide."""

import doctest
import re
from pathlib import Path

import pytest

from tests.guide.run import GUIDE, do, make_archives, steps

DECIDED = (
    (r"\b([0-9a-f]{32}){1,2}\b", "DIGEST"),
    (r"[▁▂▃▄▅▆▇█]+", ""),  # a curve
    (r"(?m)(^trial \d+ (running|complete|pruned):.*\n(\.\.\.\n)?)+", "TRIALS\n"),  # as they come and go
    (r"\b(complete|pruned)\b", "ENDED"),
    (r"\bfreeze (none|stage2|backbone)\b", "FREEZE"),  # of the best trial
    (r"[+-]?\d+([.,]\d+)*(e[+-]?\d+)?", "#"),
    (r"#( #)+", "#"),  # one an epoch
    (r"[^\S\n]*\([^)\n]*GPU[^)\n]*\)", ""),  # one with a GPU says so
    (r"[─━│┃┏┓┗┛┡┩└┘┳┻╇┴┬┼╈]+", " "),
)


def undecided(text: str) -> str:
    """Without what differs from machine to machine, and by how many people there are."""
    for pattern, same in DECIDED:
        text = re.sub(pattern, same, text)
    return text


def test_every_command_prints_what_the_guide_shows(tmp_path: Path) -> None:
    make_archives(tmp_path, 40, 16)
    alike = doctest.OutputChecker()
    loose = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    commands = 0
    for step, shown in steps((GUIDE / "README.md").read_text()):
        output = do(step, shown, tmp_path)
        commands += step.startswith("raypose ")
        assert alike.check_output(undecided(shown), undecided(output), loose), f"{step}\n{undecided(output)}"
    assert commands > 15


@pytest.mark.parametrize("name", ["people", "seen", "worst", "report"])
def test_its_pictures_are_there(name: str) -> None:
    assert f"]({name}.png)" in (GUIDE / "README.md").read_text() and (GUIDE / f"{name}.png").is_file()

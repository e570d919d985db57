"""A folder in which raypose runs as a program, for the tests of whole experiments."""

from pathlib import Path

import pytest

from tests.home import Home


@pytest.fixture
def home(tmp_path: Path, tiny_data: Path) -> Home:
    """Where raypose starts its own Ray."""
    return Home(tmp_path, tiny_data)

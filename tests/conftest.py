"""Data that the tests of several stages share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo set of 24 training and 8 validation people, drawn once."""
    from raypose.datasets.demo import render_demo

    folder = tmp_path_factory.mktemp("data") / "tiny"
    render_demo(folder, train=24, val=8)
    return folder

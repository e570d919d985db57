"""Data that the tests of several stages share, and how they are shared out between two processes."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded images of the tests' data are not kept among the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo set of 24 training and 8 validation people, drawn once."""
    from raypose.datasets.demo import render_demo

    folder = tmp_path_factory.mktemp("data") / "tiny"
    render_demo(folder, train=24, val=8)
    return folder


LONGEST = ("tuning", "training", "tracking", "cli", "bench")
"""Folders whose files take longest, in this order: what is short comes last and lets both processes end together."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests stay together, as they share trainings; so do all those that start Ray, which share a search."""
    folders = {item: item.path.parent.name for item in items}
    items.sort(key=lambda item: LONGEST.index(folders[item]) if folders[item] in LONGEST else len(LONGEST))
    for item in items:
        item.add_marker(pytest.mark.xdist_group("ray" if folders[item] == "tuning" else str(item.path)))

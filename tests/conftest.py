"""Data that the tests of several stages share, and how they are shared out between two processes."""

import os
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


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


LONGEST = ("tuning", "guide", "training", "tracking", "cli", "bench")
"""Folders whose files take longest, in this order: what is short comes last and lets both processes end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that start Ray begin, as they take longest and are one group."""
    folders = [*LONGEST, *(item.path.parent.name for item in items)]  # both processes have to find the same order
    items.sort(key=lambda item: folders.index(item.path.parent.name))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Who gets which tests; marks of xdist_group are not seen by xdist 3.8 under pytest 9.2."""
    return TogetherScheduling(config, log)


class TogetherScheduling(LoadScopeScheduling):
    """A file's tests stay together, as they share trainings; so do all those that start Ray, which share a search."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "ray" if "/tuning/" in file else file

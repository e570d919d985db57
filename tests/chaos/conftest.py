"""Whole experiments with real Ray, real trainings and real MLflow, all on one Ray cluster."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.real import Chaos, Told, told
from tests.home import ray_head


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """A Ray cluster that outlives the experiments, and their deaths."""
    with ray_head(cpus=2) as address:
        yield address


@pytest.fixture
def chaos(tmp_path: Path, tiny_data: Path, cluster: str) -> Chaos:
    """An experiment that has not begun."""
    return Chaos(tmp_path, tiny_data, cluster)


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, cluster: str) -> Told:
    """How the same experiment ends when nobody disturbs it."""
    home = Chaos(tmp_path_factory.mktemp("unbroken"), tiny_data, cluster)
    assert home.begin().wait(300) == 0, home.output()
    view = home.show()
    print(json.dumps(view, indent=1))
    return told(view)

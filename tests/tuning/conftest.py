"""What the tests of whole experiments share: a folder of their own, and one Ray cluster that they join."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.home import Home, ray_head


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """A Ray cluster that is there already, as on a cluster of machines: a start costs 20 seconds of a CPU."""
    with ray_head(cpus=2) as address:
        yield address


@pytest.fixture
def home(tmp_path: Path, tiny_data: Path) -> Home:
    """Where raypose starts its own Ray."""
    return Home(tmp_path, tiny_data)


@pytest.fixture
def joined(tmp_path: Path, tiny_data: Path, cluster: str) -> Home:
    """Where raypose joins the cluster."""
    return Home(tmp_path, tiny_data, cluster)

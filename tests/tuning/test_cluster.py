"""Joining and starting Ray: what is said where it cannot be done."""

from pathlib import Path

import pytest

from raypose.errors import ResourceError
from raypose.tuning.cluster import cluster


def test_a_cluster_that_is_not_there() -> None:
    with pytest.raises(ResourceError, match="--address: no Ray cluster at '127.0.0.1:1': "), cluster("127.0.0.1:1"):
        pass


def test_ray_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("deep" * 30)))  # sockets' paths have 107 characters at most
    with pytest.raises(ResourceError, match="Ray does not start on this machine, .*107"), cluster(None):
        pass

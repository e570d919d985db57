"""What Ray Train leaves behind on a cluster."""

import time

from raypose.tuning.cluster import cluster  # first, as Ray reads its settings when it is imported
from raypose.tuning.trainer import Cleaner  # isort: split

import pytest
import ray


class Controller:
    """Lives until it is killed."""


def test_a_cleaner_ends_whose_controller_died_before_it_spoke_to_it() -> None:
    with cluster(None):
        controller = ray.remote(num_cpus=0)(Controller).remote()
        ray.get(controller.__ray_ready__.remote())
        dead = controller._actor_id.hex()
        ray.kill(controller)
        cleaner = ray.remote(num_cpus=0)(Cleaner).options(lifetime="detached").remote(dead, 0.1, 30, None)
        deadline = time.monotonic() + 60
        with pytest.raises(ray.exceptions.ActorDiedError):
            while time.monotonic() < deadline:
                ray.get(cleaner.__ray_ready__.remote())
                time.sleep(0.2)

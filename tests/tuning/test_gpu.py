"""Who sees a GPU: the workers that hold a part of one, and no other."""

import pytest
import torch

from raypose.tuning.cluster import cluster

# isort: split
import ray  # after raypose's settings are made, which it reads when it is imported

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]


def sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.mark.parametrize("held", [0, 0.5, 1])
def test_a_worker_sees_what_it_holds(held: float) -> None:
    with cluster(None):
        assert ray.get(ray.remote(num_gpus=held)(sees_gpu).remote()) is (held > 0)

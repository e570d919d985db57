"""How the workers of a lane meet, so that on one machine nobody else can join them.

Runs in: a lane's light process and its controller, which do without torch; `_join` and `_leave` in the GPU workers.
PyTorch's usual meeting point, a TCPStore, takes orders from whoever reaches its port, on all interfaces, and cannot be
told otherwise. Workers of one machine need none: they meet in a file.
"""

import uuid
from pathlib import Path
from typing import Any

import ray
from ray._private import worker as ray_worker
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.util import TrainingFramework

LEAVE_S = 30.0  # as Ray Train waits for it


def process_group() -> BackendConfig:
    """What Ray Train makes a lane's process group by; on a cluster the workers meet at a TCPStore on their network."""
    if ray.util.get_node_ip_address() in ("127.0.0.1", "::1"):  # raypose.tuning.cluster starts Ray there
        return FileGroup()
    from ray.train.torch import TorchConfig  # here, as it imports torch

    return TorchConfig()


class FileGroup(BackendConfig):
    """A process group whose workers, all on this machine, meet in a file."""

    @property
    def backend_cls(self) -> type:
        """Ray Train's name for what starts the group."""
        return _FileBackend

    @property
    def framework(self) -> TrainingFramework:
        """What Ray Train's own state says of it."""
        return TrainingFramework.TORCH


class _FileBackend(Backend):
    share_cuda_visible_devices = True  # as Ray's own for torch

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """As Ray's own does it, but for the meeting point, a new one each time that the workers are started."""
        gpu = worker_group.get_resources_per_worker().get("GPU", 0) > 0
        # In a folder of Ray, on this machine: files of the experiment may lie on a network disk, slow to lock.
        meeting = Path(ray_worker._global_node.get_session_dir_path()) / f"{uuid.uuid4().hex}.store"
        size = len(worker_group)
        joined = [
            worker_group.execute_single_async(rank, _join, "nccl" if gpu else "gloo", rank, size, meeting.as_uri())
            for rank in range(size)
        ]
        ray.get(joined)

    def on_shutdown(self, worker_group: Any, backend_config: BackendConfig) -> None:
        """As Ray's own: workers that are dead or hang are not waited for."""
        left = worker_group.execute_async(_leave, len(worker_group) > 1)
        ray.wait(left, num_returns=len(left), timeout=LEAVE_S)


def _join(backend: str, rank: int, size: int, meeting: str) -> None:
    from ray.train.torch import config

    config._set_torch_distributed_env_vars()
    config._setup_torch_process_group(backend, rank, size, meeting)


def _leave(destroy: bool) -> None:
    from ray.train.torch import config

    config._shutdown_torch(destroy)

"""How the workers of a lane meet, so that on one machine nobody else can join them. Runs in: a lane's light process.

PyTorch's usual meeting point, a TCPStore, takes orders from whoever reaches its port, on all interfaces, and cannot be
told otherwise. Workers of one machine need none: they meet in a file.
"""

import uuid
from pathlib import Path
from typing import Any

import ray
from ray._private import worker as ray_worker
from ray.train.torch import TorchConfig
from ray.train.torch import config as ray_torch


def process_group() -> TorchConfig:
    """What Ray Train makes a lane's process group by; on a cluster the workers meet at a TCPStore on their network."""
    here = ray.util.get_node_ip_address() in ("127.0.0.1", "::1")  # raypose.tuning.cluster starts Ray there
    return FileTorchConfig() if here else TorchConfig()


class FileTorchConfig(TorchConfig):
    """A process group whose workers, all on this machine, meet in a file."""

    @property
    def backend_cls(self) -> type:
        """Ray Train's name for what starts the group."""
        return _FileBackend


class _FileBackend(ray_torch._TorchBackend):
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        """As Ray's own does it, but for the meeting point, a new one each time that the workers are started."""
        worker_group.execute(ray_torch._set_torch_distributed_env_vars)
        gpu = worker_group.get_resources_per_worker().get("GPU", 0) > 0
        # In a folder of Ray, on this machine: files of the experiment may lie on a network disk, slow to lock.
        meeting = Path(ray_worker._global_node.get_session_dir_path()) / f"{uuid.uuid4().hex}.store"
        joined = [
            worker_group.execute_single_async(
                rank,
                ray_torch._setup_torch_process_group,
                backend="nccl" if gpu else "gloo",
                world_rank=rank,
                world_size=len(worker_group),
                init_method=meeting.as_uri(),
                timeout_s=backend_config.timeout_s,
            )
            for rank in range(len(worker_group))
        ]
        ray.get(joined)

"""Ray Train's trainer, without what a lane does not need, and with a cleaner that asks the right cluster.

Runs in: a lane's light process, its controller, its cleaner. TorchTrainer itself would have all three of them import
torch, four seconds of a CPU and 550 MB each.

Beside its controller Ray Train starts a process that outlives it, and that frees its workers' places once it is dead.
Ray 2.60's own asks the dashboard of the cluster that was last started on the machine by `ray start` whether the
controller lives, and where that is another one, which knows of no such controller, it ends workers in the middle of
their work. And it watches only when it is told to: where the controller dies before, it stays for ever.
"""

from typing import Any

from ray._private import state
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks import placement_group_callback as ray_callback
from ray.train.v2._internal.execution.controller import placement_group_cleaner as ray_cleaner
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


class Cleaner(ray_cleaner.PlacementGroupCleaner):
    """Ray's, watching from its first instant, and asking its own cluster, which needs no dashboard for that."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        ray_cleaner.is_actor_alive = _is_alive
        self.start_monitoring()


def _is_alive(actor_id: str, timeout: float) -> bool:
    """Ray's own function of this name asks the dashboard; what it is told, all of Ray knows."""
    return bool(state.actors(actor_id).get("State", "DEAD") != "DEAD")


class _CleanerCallback(ray_callback.PlacementGroupCleanerCallback):
    def after_controller_start(self, train_run_context: Any) -> None:
        """As Ray's own does it, in a process of its own, but for the class."""
        ray_callback.PlacementGroupCleaner = Cleaner
        super().after_controller_start(train_run_context)


class Trainer(DataParallelTrainer):
    """What TorchTrainer is made of, with that cleaner, and without the process that hands out Ray's data sets."""

    def _create_default_callbacks(self) -> list[Any]:
        """Ray's own, in their order."""
        rays = ray_callback.PlacementGroupCleanerCallback
        needed = [c for c in super()._create_default_callbacks() if type(c) is not DatasetsCallback]
        return [_CleanerCallback() if type(c) is rays else c for c in needed]

"""A lane: one long Ray Train run whose workers stay warm and train trial after trial.

Runs in: a light process for each lane (`keep_lane`), GPU worker (`serve`). The first start of the workers costs seconds
(imports, process group); every further trial on a lane costs none of it.
"""

import gc
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import ray
from ray import train as ray_train

from raypose.errors import DataError, NoSpaceError, RayposeError
from raypose.record.files import is_full_disk
from raypose.space.run import Run
from raypose.tuning.cluster import Capacity
from raypose.tuning.process_group import process_group
from raypose.tuning.trainer import Trainer

STARTS = 3
"""How often a lane's Ray Train run is started: the process that controls it may die like any other."""


def keep_lane(broker: Any, lane: int, capacity: Capacity, failures: int, scratch: str) -> None:
    """Keep a lane running until the broker closes; `failures` bounds how often its workers may die in all."""
    reason = ""
    for start in range(STARTS):
        try:
            _trainer(broker, lane, capacity, failures, f"{scratch}/lane-{lane}-{start}").fit()
            return
        except Exception as fault:  # the border to Ray Train: its errors have no common class, and all mean the same
            reason = " ".join(str(fault).split())[:500]
    ray.get(broker.lost.remote(lane, reason))


def _trainer(broker: Any, lane: int, capacity: Capacity, failures: int, scratch: str) -> Any:
    return Trainer(
        serve,
        train_loop_config={"broker": broker, "lane": lane, "cpus": capacity.cpus_per_worker},
        backend_config=process_group(),
        scaling_config=ray_train.ScalingConfig(
            num_workers=capacity.workers,
            use_gpu=capacity.gpus_per_worker > 0,
            resources_per_worker=capacity.per_worker,
        ),
        run_config=ray_train.RunConfig(
            name=Path(scratch).name,
            storage_path=str(Path(scratch).parent),
            failure_config=ray_train.FailureConfig(max_failures=failures, controller_failure_limit=3),
        ),
    )


def serve(settings: dict[str, Any]) -> None:
    """Train the trials that the broker hands out, all ranks in step, until it has none left."""
    import cv2
    import ray.train.torch
    import torch
    from mmengine import dist

    from raypose.training.memory import release  # here, as the driver imports this module and must stay light
    from raypose.training.train import train

    gc.freeze()  # what is imported stays; MMEngine and raypose collect garbage several times a trial
    torch.set_num_threads(settings["cpus"])
    if torch.cuda.is_available():
        torch.cuda.set_device(ray.train.torch.get_device())
    cv2.setNumThreads(0)  # samples are loaded one by one in as many processes as there are CPUs
    broker, lane = settings["broker"], settings["lane"]
    first = ray_train.get_context().get_world_rank() == 0
    pausing = threading.Event()
    if first:
        threading.Thread(target=_listen, args=(broker, pausing), daemon=True).start()
    while True:
        offer: list[Any] = [ray.get(broker.next_job.remote(lane)) if first else None]
        if dist.get_world_size() > 1:
            dist.broadcast_object_list(offer, src=0)
        if offer[0] == "wait":
            continue
        if offer[0] == "close":
            return
        number, run = offer[0]
        error, again = _train(partial(train, asked_to_pause=pausing.is_set), broker, lane, number, run)
        if first:
            ray.get(broker.end.remote(lane, number, error, again))
        release()


def _listen(broker: Any, pausing: threading.Event) -> None:
    """In a thread of its own: hear of the end while a trial is being trained."""
    ray.get(broker.closing.remote())
    pausing.set()


def _train(
    train: Callable[..., bool], broker: Any, lane: int, number: int, run: dict[str, Any]
) -> tuple[str | None, bool]:
    """Train one trial; its own failure is returned, with whether to try again, and the lane lives on.

    A trial that was paused is neither: the broker, which has closed, hears of no end.
    """

    from raypose.training.memory import is_out_of_memory

    def report(metrics: Mapping[str, float], folder: Path) -> bool:
        stop: bool = ray.get(broker.committed.remote(number, int(folder.name.rsplit("_", 1)[1])))
        return stop

    trial = Run(**run)
    try:
        train(trial, report)
    except Exception as fault:  # the border between a trial and its lane: whatever it was, it is told, not swallowed
        reason = f"{type(fault).__name__}: {' '.join(str(fault).split())}"[:2000]
        if is_full_disk(fault):
            ray.get(broker.halt.remote(str(fault)))
        again = not isinstance(fault, RayposeError)  # ours are verdicts on the trial's values; others may pass
        if trial.workers > 1 and (again or isinstance(fault, NoSpaceError | DataError)):
            # The other ranks wait in a collective call for this one: only a new group gets them out.
            if again:
                ray.get(broker.note.remote(number, reason, not is_out_of_memory(fault)))
            else:
                ray.get(broker.end.remote(lane, number, reason))
            raise
        return reason, again
    return None, False


def test_weights(run: dict[str, Any], part: Literal["val", "test"]) -> dict[str, Any]:
    """Metrics and hits per image of a run's weights; a task of its own outside any lane."""
    import torch

    from raypose.training.evaluate import score

    torch.set_num_threads(max(1, round(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))
    return asdict(score(Run(**run), part))

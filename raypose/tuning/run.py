"""Run an experiment from its record, first time and after any end alike. Runs in: driver."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray import train as ray_train
from ray import tune
from ray.exceptions import RayActorError
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raypose.errors import WorkError
from raypose.record.study import Study
from raypose.space.trial import Trial
from raypose.tuning.broker import Broker
from raypose.tuning.cluster import Capacity
from raypose.tuning.lane import serve
from raypose.tuning.search import StudyScheduler, StudySearcher, relay

TRIAL_PROCESS = {"CPU": 0.01}


def run_trials(study: Study, to_run: Callable[[Trial], Any], capacity: Capacity, changed: Callable[[], None]) -> None:
    """Run all trials that the study still wants, `changed` being called after every event.

    Raises WorkError if not all could be run; whatever ends this early, another call goes on from the record.
    """
    scratch = study.folder.path / "ray"  # Ray's own files: a cache, never read back
    shutil.rmtree(scratch, ignore_errors=True)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    broker = ray.remote(Broker).options(num_cpus=0, scheduling_strategy=here).remote(study.experiment.failure.retries)
    with _lanes(broker, capacity, study, scratch) as faults:
        tune.Tuner(
            tune.with_resources(relay, TRIAL_PROCESS),
            tune_config=tune.TuneConfig(
                num_samples=study.total,
                max_concurrent_trials=capacity.lanes,
                reuse_actors=True,
                search_alg=StudySearcher(study, broker, to_run, lambda: len(faults) == capacity.lanes),
                scheduler=StudyScheduler(study, broker, changed),
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(scratch),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=3),
            ),
        ).fit()
    if study.view(worked_on=True).state != "finished":
        reason = f"the workers could not be kept running: {faults[0]}" if faults else "Ray ended before the trials did"
        raise WorkError(f"{reason}; `raypose restore {study.folder.name}` goes on")
    shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _lanes(broker: Any, capacity: Capacity, study: Study, scratch: Path) -> Iterator[list[str]]:
    """Start the lanes, each watched by a thread, and close them in the end; yields the reasons of those that failed."""
    faults: list[str] = []

    def keep(lane: int) -> None:
        try:
            _trainer(broker, lane, capacity, study, scratch).fit()
        except Exception as fault:  # the border to Ray: its errors have no common class, and all mean the same here
            faults.append(" ".join(str(fault).split())[:500])
            ray.get(broker.lost.remote(lane))
            if len(faults) == capacity.lanes:
                ray.get(broker.close.remote())

    threads = [threading.Thread(target=keep, args=(n,), daemon=True) for n in range(capacity.lanes)]
    for thread in threads:
        thread.start()
    try:
        yield faults
    finally:
        with suppress(RayActorError):  # the broker is gone already: then so is everything that it would close
            ray.get(broker.close.remote())
    for thread in threads:
        thread.join(timeout=20)


def _trainer(broker: Any, lane: int, capacity: Capacity, study: Study, scratch: Path) -> TorchTrainer:
    failures = study.total * (study.experiment.failure.retries + 1)  # the broker bounds each trial's; this, the lane's
    return TorchTrainer(
        serve,
        train_loop_config={"broker": broker, "lane": lane, "cpus": capacity.cpus_per_worker},
        scaling_config=ray_train.ScalingConfig(
            num_workers=capacity.workers,
            use_gpu=capacity.gpus_per_worker > 0,
            resources_per_worker=capacity.per_worker,
        ),
        run_config=ray_train.RunConfig(
            name=f"lane-{lane}",
            storage_path=str(scratch),
            failure_config=ray_train.FailureConfig(max_failures=failures, controller_failure_limit=3),
        ),
    )

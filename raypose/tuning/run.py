"""Run an experiment from its record, first time and after any end alike. Runs in: driver."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError, RayError
from ray.tune.error import TuneError
from ray.tune.execution import experiment_state
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raypose.errors import WorkError
from raypose.record.study import Study
from raypose.space.trial import Trial
from raypose.tuning.broker import Broker
from raypose.tuning.cluster import Capacity
from raypose.tuning.lane import keep_lane
from raypose.tuning.relay import relay
from raypose.tuning.search import StudyScheduler, StudySearcher

CALLS, CALLS_A_LANE = 1000, 8
"""Calls to the broker that may wait at once: a lane's for a trial, verdict or end, its trial's for messages, and those
of workers that died. One more than Ray allows would wait for ever, and it allows 1000 if it is not told."""
TRIAL_PROCESS = {"CPU": 0.01}
GRACE_S = 15.0  # for the workers to save what they are at: Slurm, Kubernetes and spot machines give 30 seconds in all


def run_trials(study: Study, to_run: Callable[[Trial], Any], capacity: Capacity, changed: Callable[[], None]) -> None:
    """Run all trials that the study still wants, `changed` being called after every event.

    Raises WorkError if not all could be run; whatever ends this early, another call goes on from the record.
    """
    scratch = study.folder.path / "ray"  # Ray's own files: a cache, never read back
    shutil.rmtree(scratch, ignore_errors=True)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    retries = study.experiment.failure.retries
    own = {"num_cpus": 0, "scheduling_strategy": here, "max_concurrency": CALLS + CALLS_A_LANE * capacity.lanes}
    broker = ray.remote(Broker).options(**own).remote(retries, capacity.lanes)
    with _lanes(broker, capacity, study.total * (retries + 1), scratch):
        try:
            _tune(study, to_run, capacity, changed, broker, scratch)
            reason = ray.get(broker.why_closed.remote()) or "Ray ended before the trials did"
        except (RayError, TuneError) as fault:
            reason = " ".join(str(fault).split())[:500]
        if study.unfinished:
            raise WorkError(f"{reason}; `raypose restore {(study.folder.parent or study.folder).name}` goes on")
    shutil.rmtree(scratch, ignore_errors=True)


def _tune(
    study: Study,
    to_run: Callable[[Trial], Any],
    capacity: Capacity,
    changed: Callable[[], None],
    broker: Any,
    scratch: Path,
) -> None:
    # Tune cannot be kept from saving a state of its own, which nobody reads; on a full disk it would print a traceback.
    logging.getLogger(experiment_state.__name__).setLevel(logging.CRITICAL)
    tune.Tuner(
        tune.with_resources(relay, TRIAL_PROCESS),
        tune_config=tune.TuneConfig(
            num_samples=study.total,
            max_concurrent_trials=capacity.lanes,
            reuse_actors=True,
            search_alg=StudySearcher(study, broker, to_run, lambda: ray.get(broker.why_closed.remote()) is not None),
            scheduler=StudyScheduler(study, broker.decide.remote, changed),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=3),
        ),
    ).fit()


@contextmanager
def _lanes(broker: Any, capacity: Capacity, failures: int, scratch: Path) -> Iterator[None]:
    """Start the lanes and close them in the end; the broker bounds each trial's failures, `failures` a lane's."""
    keep = ray.remote(keep_lane).options(num_cpus=0, max_retries=3)
    lanes = [keep.remote(broker, n, capacity, failures, str(scratch)) for n in range(capacity.lanes)]
    try:
        yield
    finally:
        with suppress(RayActorError):  # the broker is gone already: then so is everything that it would close
            ray.get(broker.close.remote())
    ray.wait(lanes, num_returns=len(lanes), timeout=GRACE_S)

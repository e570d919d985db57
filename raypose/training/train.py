"""Train one trial with MMEngine's Runner and the official RTMPose recipe. Runs in: GPU worker, or under a debugger.

Nothing here knows of Ray, Optuna or MLflow: epochs go out through `report`, a plain callable.
"""

import dataclasses
import tempfile
from collections.abc import Callable

from mmengine.dist import is_main_process
from mmengine.logging import MMLogger

from raypose.record.epochs import last_whole
from raypose.record.files import write_json
from raypose.record.view import CACHED_VIEWS, RAN_WITH
from raypose.space.run import Run
from raypose.training.cache import add_cache
from raypose.training.checkpoint import bare_model
from raypose.training.config import build_config
from raypose.training.cost import trial_costs
from raypose.training.evaluate import retest
from raypose.training.freeze import KeepFrozenHook
from raypose.training.hasten import hastened
from raypose.training.hooks import BuffersHook, EpochHook, Report, SeedHook, UnreadableHook
from raypose.training.memory import describe, fitting, is_out_of_memory, keep_freed, release, split
from raypose.training.model import build_model
from raypose.training.pause import Paused, PauseHook
from raypose.training.ran_with import ran_with
from raypose.training.runner import build_runner, registered
from raypose.training.schedule import unfreeze_epoch
from raypose.training.seeds import compute_alike
from raypose.training.views import add_views
from raypose.training.weights import tell


def never() -> bool:
    """Nobody asks for a pause."""
    return False


def train(run: Run, report: Report, asked_to_pause: Callable[[], bool] = never) -> bool:
    """Train a trial to its end, or until `report` asks to stop; go on from its last epoch, or step, if there is one.

    Returns whether it is over. It is not if, after a step, `asked_to_pause` was true on rank 0, which asks it after
    each step: then all is saved, and the next call goes on with the step after.

    A batch that does not fit into memory is split, and the trial goes on; with several workers only when all of them
    call this anew. Raises DivergedError for a loss that is not finite, SpecError and WeightsError for values that
    cannot be used, DataError for images that cannot be read, on the rank that needs them, and WorkError for frozen
    tensors that moved and for memory that does not hold one person.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    keep_freed()
    compute_alike()
    finished = None
    while finished is None:
        fits = fitting(run)
        try:
            finished = _train_phases(fits, run, report, asked_to_pause)
        except Paused:
            return False
        except (MemoryError, RuntimeError) as fault:  # torch's own error for a GPU is a RuntimeError
            if not is_out_of_memory(fault):
                raise
            split(fits)
            if run.workers > 1:  # the others wait in a collective call for this worker
                raise
        release()  # here, where no traceback holds the tensors any more
    if finished and run.retest:
        retest(fits)
    return True


def _train_phases(run: Run, given: Run, report: Report, asked_to_pause: Callable[[], bool]) -> bool:
    """Train with the freeze set, then, if it is to be unfrozen, without; true if nobody asked to stop before the end.

    Each phase has a Runner of its own and goes on from the checkpoint of the one before, so that optimizer, DDP and
    moving average know the right parameters, in the first attempt as in any other.
    """
    at = unfreeze_epoch(run.values, run.epochs)
    unfrozen = dataclasses.replace(run, values={**run.values, "freeze": "none"})
    phases = [(run, run.epochs)] if at is None else [(run, at), (unfrozen, run.epochs)]
    last = last_whole(run.folder)
    with registered(run.folder / "train.log", run.folder.name) as name:
        if run != given:
            MMLogger.get_current_instance().warning(describe(given, run))
        for phase, end in phases:
            if last and last.number > end:  # not at its end: what was frozen is yet to be verified
                continue
            if _train_until(end, phase, report, asked_to_pause, name):
                return False
            release()
    return True


def _train_until(end: int, run: Run, report: Report, asked_to_pause: Callable[[], bool], name: str) -> bool:
    """Train to the end of an epoch; true if `report` asked to stop before the run's own end."""
    plain = build_config(run)
    config = hastened(plain, run)
    config.experiment_name = name
    kind = repr((config.model, run.channels_last, run.gpu))
    model, frozen, loaded = build_model(config, run)
    if run.weights != "none":
        tell(run.weights, model, loaded)
    views = add_views(config, model, run)
    if not views:
        add_cache(config, run)
    keep_frozen = KeepFrozenHook(model, frozen, str(run.values.get("freeze", "none")), run.folder)
    with tempfile.TemporaryDirectory() as work_dir:
        runner = build_runner(config, model, run, work_dir)
        costs = trial_costs(bare_model(runner), run.folder, kind) if is_main_process() else {}
        recorded = {**costs, **({CACHED_VIEWS: float(views)} if views else {})}
        pauses = PauseHook(run, end, asked_to_pause)
        ending = EpochHook(run, end, report, recorded, pauses)
        unreadable = UnreadableHook(run.folder, run.bad_images)
        buffers = BuffersHook(keep_frozen.loaded)
        for hook in (SeedHook(run.seed), unreadable, keep_frozen, buffers, ending, pauses):
            runner.register_hook(hook)
        if is_main_process():
            plain.dump(run.folder / "config.py")
            write_json(run.folder / RAN_WITH, ran_with(config, run))
        runner.train()
    return ending.stopped

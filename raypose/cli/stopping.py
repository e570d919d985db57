"""Ask the process that works on an experiment to stop, or to end one trial, and wait for it. Runs in: command line."""

import time
from collections.abc import Callable

from raypose.errors import ExperimentError
from raypose.record.folder import ExperimentFolder
from raypose.record.onlooker import Onlooker
from raypose.record.requests import ask_to_stop, forget_stop
from raypose.record.view import ExperimentView, TrialView

LOOK_S = 0.5


def stop_experiment(folder: ExperimentFolder, say: Callable[[str], None]) -> ExperimentView:
    """Stop as SIGTERM does: the running epochs are saved in their middle. Returns when all is saved.

    Raises ExperimentError if nobody works on it.
    """
    folder = folder.parent or folder
    _require_running(folder)
    ask_to_stop(folder.path)
    say(f"stopping {folder.name}: what its running epochs have done is saved")
    try:
        while folder.is_worked_on():
            time.sleep(LOOK_S)
    finally:
        forget_stop(folder.path)  # it may have ended before it heard
    return Onlooker(folder).look()


def stop_trial(folder: ExperimentFolder, number: int, say: Callable[[str], None]) -> TrialView:
    """End a trial with its running epoch: the sampler takes it for pruned. Returns it when it has ended.

    Raises ExperimentError if nobody works on the experiment, or the trial does not run.
    """
    _require_running(folder)
    onlooker = Onlooker(folder)
    _require_stoppable(onlooker.look(), number)
    ask_to_stop(folder.trial(number))
    say(f"trial {number} ends with its running epoch")
    while (view := onlooker.look()).state == "running" and view.trials[number].state == "running":
        time.sleep(LOOK_S)
    return view.trials[number]


def _require_running(folder: ExperimentFolder) -> None:
    if not folder.is_worked_on():
        raise ExperimentError(f"{folder.name}: it is not running; `raypose show {folder.name}` tells how it stands")


def _require_stoppable(view: ExperimentView, number: int) -> None:
    if view.name.endswith("/final") or view.final:
        raise ExperimentError(
            f"--trial: the search of {view.name} has ended, and its final compares whole trainings only"
        )
    if number >= len(view.trials):
        raise ExperimentError(f"--trial: {view.name} has no trial {number} yet; the last one is {len(view.trials) - 1}")
    if number == 0:
        raise ExperimentError("--trial: trial 0 is what all others are compared with, and runs to its end")
    if view.trials[number].state != "running":
        raise ExperimentError(f"--trial: trial {number} of {view.name} is {view.trials[number].state}, it does not run")

"""Raise the budgets of an experiment; a restore then goes on with it. Runs in: command line.

What is drawn for a trial follows from its number and the trials before, and rungs stand at epochs: nothing of either
depends on how many trials there are to be, so that 20 and then 20 more are the same trials as 40.
"""

import os
from typing import Any

from raypose.errors import ExperimentError, InputError
from raypose.record.distinct import no_more
from raypose.record.files import write_json
from raypose.record.folder import ExperimentFolder
from raypose.record.points import own_trials
from raypose.record.spent import Meter
from raypose.record.study import read_view
from raypose.record.view import ExperimentView
from raypose.space.load import parse_spec
from raypose.space.sections import Search


def extend(folder: ExperimentFolder, **more: float | None) -> ExperimentView:
    """Add to the budgets `trials`, `hours` and `gpu_hours` of a search; those that are None stay as they are.

    Time is added to what has been spent where that is more than the budget, as trials that run come to their ends.
    Raises ExperimentError where somebody works on it or its final has begun, and InputError for budgets it has not.
    """
    added = {name: amount for name, amount in more.items() if amount is not None}
    if not added:
        raise InputError("extend: by what? Give --trials, --hours or --gpu-hours")
    _require_open(folder)
    with folder.held():
        saved, spec = folder.saved, folder.path / "spec.json"
        before = parse_spec(saved["experiment"], empty_space=True)
        meter = Meter(folder.path, before.search)
        raised = {name: _raised(before.search, name, amount, meter) for name, amount in added.items()}
        changed: dict[str, Any] = {**saved["experiment"], "search": {**saved["experiment"]["search"], **raised}}
        after = parse_spec(changed)
        if "trials" in added and own_trials(saved, after) == (all_there_are := own_trials(saved, before)):
            raise InputError(
                f"extend: --trials: {no_more(all_there_are, before.search.trials)}; "
                "list more values, and take these over: tune --from"
            )
        made = spec.stat().st_mtime_ns
        write_json(spec, {**saved, "experiment": changed})
        os.utime(spec, ns=(made, made))  # it still tells when the experiment was made
    return read_view(folder)


def _require_open(folder: ExperimentFolder) -> None:
    """Raise ExperimentError unless trials can be added to the search."""
    name = (folder.parent or folder).name
    folder.require_own()
    if folder.is_worked_on():
        raise ExperimentError(f"{name}: it is running; stop it first, without loss: raypose stop {name}")
    if folder.parent or folder.final.exists:
        raise ExperimentError(
            f"{name}: its final has begun, and is not to be chosen from anew; start another search that takes over all "
            f"its trials: raypose tune SPEC --from {name}"
        )


def _raised(search: Search, name: str, amount: float, meter: Meter) -> float:
    """The new budget. Raises InputError if more of it would change nothing."""
    limit = getattr(search, name)
    if name == "trials":
        if search.sampler == "grid":
            raise InputError(
                "extend: --trials: a grid is what its space holds; list more values, and take these over: tune --from"
            )
        return int(limit + amount)
    if limit is None:
        raise InputError(
            f"extend: --{name.replace('_', '-')}: it has no such budget, only one of {search.trials} trials"
        )
    return float(max(limit, getattr(meter.spent(), name)) + amount)

"""What `tune` would do, found out without Ray, without training and without a trace. Runs in: driver."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raypose.errors import SpecError
from raypose.record.folder import ExperimentFolder
from raypose.record.points import different, own_trials
from raypose.record.study import Study
from raypose.space.schema import Experiment
from raypose.space.trial import Trial
from raypose.tuning.estimate import estimate
from raypose.tuning.prepare import (
    DEMO_FOLDER,
    Screen,
    examine,
    freeze_choices,
    measure,
    planned,
    prepare_data,
    training_process,
)


def plan(experiment: Experiment, numbers: Sequence[int], curves: bool, screen: Screen) -> dict[str, Any]:
    """What `start` would check, and what the trials of these numbers would do; `curves`: also each one's schedule.

    Raises SpecError if there is no trial of any of these numbers, and whatever `start` would.
    """
    report = prepare_data(experiment, DEMO_FOLDER.absolute(), screen)
    screen.say("checking model, weights and knobs")
    with training_process() as ask:
        found = examine(ask, experiment, report)
        screen.say("measuring a few steps")
        pace = measure(ask, experiment, report)
        drawn = draw(experiment, found["values"], numbers)
        screen.say("building the trials' models")
        runs = [planned(experiment, trial, report) for trial in drawn]
        base = planned(experiment, Trial(0, {}), report)
        plans = ask("plan.plan_trials", base, runs)
        frozen = ask("plan.plan_freeze", base, freeze_choices(experiment))
        schedules = [ask("lr_curve.lr_curves", run) for run in runs] if curves else []
    saved = {"base_values": found["values"]}
    trials = own_trials(saved, experiment)
    return {
        "data": asdict(report),
        "trust_config": experiment.trust_config,
        "base_values": found["values"],
        "total": trials,
        "different": different(saved, experiment),
        "freeze": frozen,
        "trials": [{"number": t.number, "values": t.values, **p} for t, p in zip(drawn, plans, strict=True)],
        "schedules": schedules,
        "estimate": asdict(estimate(experiment, trials, pace, found["full_epochs"])) if pace else None,
    }


def measure_range(experiment: Experiment, steps: int, screen: Screen) -> dict[str, Any]:
    """An LR range test of the fixed knobs' training; of several workers' batches one after another on one device."""
    report = prepare_data(experiment, DEMO_FOLDER.absolute(), screen)
    run = planned(experiment, Trial(0, experiment.fixed, experiment.search.seed), report)
    whole_batch = dataclasses.replace(run, workers=1, accumulation=run.accumulation * run.workers)
    screen.say(f"training {steps} steps with a growing learning rate")
    with training_process() as ask:
        return asdict(ask("lr_range.lr_range", whole_batch, steps))


def draw(experiment: Experiment, base: Mapping[str, Any], numbers: Sequence[int]) -> list[Trial]:
    """Those of these trials that there are, as `start` would draw them before any result is known.

    `base` are the base config's own values of the knobs. Raises SpecError if there is no trial of any of the numbers.
    """
    in_memory = experiment.model_copy(
        update={"search": experiment.search.model_copy(update={"storage": "sqlite:///:memory:"})}
    )
    saved = {"uid": "plan", "experiment": in_memory.model_dump(mode="json"), "base_values": dict(base)}
    study = Study(saved, ExperimentFolder(Path("planned")))
    study.fill_queue()
    if min(numbers) >= study.total:
        raise SpecError([f"--trial: there is no trial {min(numbers)}; the last of {study.total} is {study.total - 1}"])
    drawn = [study.next_trial() for _ in range(min(max(numbers) + 1, study.total))]
    return [trial for trial in drawn if trial is not None and trial.number in numbers]

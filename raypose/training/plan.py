"""What trials would do, found out without training them. Runs in: a child process of the command line."""

import copy
import difflib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from raypose.errors import SpecError
from raypose.space.knobs import Value
from raypose.space.run import Run
from raypose.training.base import FIGURES, base_config
from raypose.training.config import build_config
from raypose.training.freeze import frozen_modules
from raypose.training.keys import dotted
from raypose.training.knobs import base_value
from raypose.training.runner import registered
from raypose.training.train import build_model
from raypose.training.weights import Loaded


def examine(run: Run, knobs: Iterable[str], freeze_choices: Sequence[str]) -> dict[str, Value]:
    """The base config's own values of all knobs, after a model was built with the weights loaded.

    Raises SpecError for a metric, knobs and freeze sets that name nothing, WeightsError for weights that do not fit.
    """
    config, problems = base_config(run.model), []
    if run.metric not in FIGURES:
        near = difflib.get_close_matches(run.metric, FIGURES, n=1)
        problems.append(
            f"metric: the evaluator reports no '{run.metric}'; "
            + (f"did you mean '{near[0]}'?" if near else f"it reports {', '.join(FIGURES)}")
        )
    values: dict[str, Value] = {}
    for knob in knobs:
        try:
            values[knob] = _plain(knob, base_value(config, knob))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    _, model, _, _ = _built(run)
    for choice in freeze_choices:
        try:
            frozen_modules(model, choice)
        except SpecError as error:
            problems += error.problems
        if choice != "none" and run.weights == "none":
            problems.append(f"freeze: '{choice}' would freeze random weights; give weights, or take it out")
    if problems:
        raise SpecError(problems)
    return values


def _plain(knob: str, value: Any) -> Value:
    if value is not None and not isinstance(value, str | int | float | bool):
        raise SpecError([f"space.{knob}: its value in the base config is {value!r}; only single values can vary"])
    return value


def plan_trials(base: Run, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each run: config keys that differ from the base run's, parameters by what becomes of them, weights loaded."""
    before = dotted(build_config(base))
    return [_plan(before, run) for run in runs]


def _plan(before: Mapping[str, Any], run: Run) -> dict[str, Any]:
    config, model, frozen, loaded = _built(run)
    after = dotted(config)
    pairs = {key: (before.get(key), after.get(key)) for key in {**before, **after}}
    return {
        "differences": {key: [repr(old), repr(new)] for key, (old, new) in sorted(pairs.items()) if old != new},
        "parameters": _count(model),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "frozen_modules": len(frozen),
        "weights": asdict(loaded),
    }


def _built(run: Run) -> tuple[Config, nn.Module, list[nn.Module], Loaded]:
    """A run's config and model, without the lines that MMEngine logs about each tensor."""
    config = build_config(run)
    with tempfile.TemporaryDirectory() as folder, registered(Path(folder) / "log", "plan"):
        return config, *build_model(copy.deepcopy(config), run)


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())

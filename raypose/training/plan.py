"""What trials would do, found out without training them. Runs in: a child process of the command line."""

import copy
import difflib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from raypose.errors import SpecError
from raypose.space.knobs import Value
from raypose.space.run import Run
from raypose.training.base import FIGURES, base_config
from raypose.training.config import build_config
from raypose.training.cost import COSTS, training_flops
from raypose.training.freeze import fingerprint, freeze, frozen_tensors
from raypose.training.keys import dotted
from raypose.training.knobs import base_value
from raypose.training.layer_rates import check_groups, notices
from raypose.training.model import build_model, require_loaded
from raypose.training.runner import registered
from raypose.training.views import hindrance
from raypose.training.weights import Loaded


def examine(run: Run, knobs: Sequence[str], freeze_choices: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """The base config's own `values` of all knobs and its `full_epochs`, after a model was built and weights loaded.

    With them what a restore compares: every leaf of the base `config` by its path, and a digest of the `weights`.
    `freeze_choices` are all that a trial may have, those of starting points too. Raises SpecError for metrics, knobs
    and freeze sets that name nothing, the run's own values among them, for sets that leave nothing to train or freeze
    random weights, and WeightsError for weights that do not fit.
    """
    problems = [problem for index, name in enumerate(metrics) if (problem := _metric_problem(name, first=index == 0))]
    values: dict[str, Value] = {}
    for knob in knobs:
        try:
            values[knob] = _plain(knob, base_value(run, knob))
        except SpecError as error:
            problems += error.problems
    for knob in run.values:
        try:
            base_value(run, knob)
        except SpecError as error:
            problems += [_held(problem) for problem in error.problems]
    if problems:
        raise SpecError(problems)
    with _unlogged():
        _, model, _, loaded = _built(run)
    for check in (
        partial(check_groups, model, knobs),
        partial(_check_held, model, run),
        *(partial(_check_freeze, model, run, loaded, c) for c in freeze_choices),
    ):
        try:
            check()
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    base = base_config(run.model)
    return {
        "values": values,
        "full_epochs": base.train_cfg.max_epochs,
        "config": {path: repr(leaf) for path, leaf in dotted(base).items()},
        "weights": fingerprint(model.state_dict(), [*loaded.loaded, *loaded.resampled]),
    }


def _check_held(model: nn.Module, run: Run) -> None:
    """Raise SpecError, at their place, for values of the run whose group holds no parameter."""
    try:
        check_groups(model, run.values)
    except SpecError as error:
        raise SpecError([_held(problem) for problem in error.problems]) from None


def _held(problem: str) -> str:
    """What is said of a knob of the space, said of one that is fixed."""
    return problem.replace("space.", "fixed.", 1) if problem.startswith("space.") else problem


def _metric_problem(name: str, first: bool) -> str | None:
    known = FIGURES if first else (*FIGURES, *COSTS)
    if name in known:
        return None
    near = difflib.get_close_matches(name, known, n=1)
    return f"metric: nothing reports '{name}'; " + (
        f"did you mean '{near[0]}'?" if near else f"it is one of {', '.join(known)}"
    )


def _check_freeze(model: nn.Module, run: Run, loaded: Loaded, choice: str) -> None:
    shadow = copy.deepcopy(model)
    require_loaded(shadow, freeze(shadow, choice), choice, loaded, run.weights)


def _plain(knob: str, value: Any) -> Value:
    if value is not None and not isinstance(value, str | int | float | bool):
        raise SpecError([f"space.{knob}: its value in the base config is {value!r}; only single values can vary"])
    return value


def plan_trials(base: Run, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each run: config keys that differ from the base run's, parameters by what becomes of them, weights loaded."""
    before = dotted(build_config(base))
    with _unlogged():
        return [_plan(before, run) for run in runs]


def _plan(before: Mapping[str, Any], run: Run) -> dict[str, Any]:
    config, model, modules, loaded = _built(run)
    after = dotted(config)
    pairs = {key: (before.get(key), after.get(key)) for key in {**before, **after}}
    return {
        "differences": {key: [repr(old), repr(new)] for key, (old, new) in sorted(pairs.items()) if old != new},
        "peak_lr": config.optim_wrapper.optimizer.lr,
        "effective_batch": config.train_dataloader.batch_size * run.workers * run.accumulation,
        **_counts(model, modules),
        "weights": asdict(loaded),
        "notices": [*notices(model, config), *_views(config, model, run)],
    }


def _views(config: Config, model: nn.Module, run: Run) -> list[str]:
    if not run.cached_views:
        return []
    if reason := hindrance(config, model, run):
        return [f"train.cached_views is not used: {reason}"]
    return [f"trained on {run.cached_views} views of each person, through the frozen backbone once: other draws"]


def plan_freeze(run: Run, choices: Sequence[str]) -> list[dict[str, Any]]:
    """For each freeze set: parameters and buffers frozen and trainable, and the share of the training FLOPs saved."""
    if not choices:
        return []
    with _unlogged():
        config, whole, *_ = _built(run)
    width, height = config.model.head.input_size
    all_flops, plans = training_flops(whole, (width, height)), []
    for choice in choices:
        model = copy.deepcopy(whole)
        modules = freeze(model, choice)
        saved = 1 - training_flops(model, (width, height)) / all_flops
        plans.append({"choice": choice, **_counts(model, modules), "flops_saved": saved})
    return plans


def _built(run: Run) -> tuple[Config, nn.Module, list[nn.Module], Loaded]:
    config = build_config(run)
    return config, *build_model(copy.deepcopy(config), run)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Without the lines that MMEngine prints about each tensor."""
    with tempfile.TemporaryDirectory() as folder, registered(Path(folder) / "log", "plan"):
        yield


def _counts(model: nn.Module, modules: Sequence[nn.Module]) -> dict[str, int]:
    """Numbers in all parameters and buffers, and in those inside frozen modules."""
    names, frozen, state = dict(model.named_parameters()), set(frozen_tensors(model, modules)), model.state_dict()
    parameters = {name: tensor.numel() for name, tensor in state.items() if name in names}
    buffers = {name: tensor.numel() for name, tensor in state.items() if name not in names}
    return {
        "parameters": sum(parameters.values()),
        "frozen_parameters": sum(count for name, count in parameters.items() if name in frozen),
        "buffers": sum(buffers.values()),
        "frozen_buffers": sum(count for name, count in buffers.items() if name in frozen),
    }

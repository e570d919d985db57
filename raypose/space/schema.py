"""The specification as pydantic models; their docstrings are what editors show. Runs in: command line, driver."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
)
from pydantic_core import InitErrorDetails

from raypose.space.domain import Choice, Domain, Scalar, Strict, domain_problems, fault
from raypose.space.knobs import Value, name_problem, shown, value_problem
from raypose.space.nearest import suggest

PRESETS: Final = tuple(f"rtmpose-{size}" for size in "ntsmlx")
MAX_SEED: Final = 2**32 - 1  # NumPy's limit
MANY: Final = 1_000_000  # above every sensible count, below every overflow

Text = Annotated[str, Field(min_length=1, max_length=4096)]
Auto = Annotated[Literal["auto"], Tag("auto")]
_auto_or_number = Discriminator(lambda value: "auto" if value == "auto" else "number")


def _refuse(problems: list[tuple[tuple[str | int, ...], str]]) -> None:
    """Raises all these faults at once, each at its place below the value being checked."""
    if problems:
        details = [InitErrorDetails(type=fault(problem), loc=place, input=None) for place, problem in problems]
        raise ValidationError.from_exception_data("specification", details)


def _model_name(model: str) -> str:
    if model in PRESETS or model.endswith(".py"):
        return model
    raise fault(f"no preset '{shown(model)}'; {suggest(model, PRESETS, ', or the path of an MMPose config (.py)')}")


def _knob_name(name: str) -> str:
    if problem := name_problem(name):
        raise fault(problem)
    return name


def _with_names(knobs: object) -> object:
    """Gives each value its knob's name, because what is legal depends on it."""
    return {name: (name, value) for name, value in knobs.items()} if isinstance(knobs, dict) else knobs


def _domain_of_knob(named: tuple[str, object], check: Callable[[object], Any]) -> Any:
    """Checks a domain by itself, then against its knob; reports every bad option, not only the first."""
    name, raw = named
    domain = check(raw)
    _refuse([(("knob", *place), problem) for place, problem in domain_problems(name, domain)])
    return domain


def _value_of_knob(named: tuple[str, object], check: Callable[[object], Any]) -> Any:
    name, raw = named
    value = check(raw)
    if problem := value_problem(name, value):
        raise fault(problem)
    return value


KnobName = Annotated[str, AfterValidator(_knob_name)]


class Search(Strict):
    """How values are drawn, and how often."""

    sampler: Literal["tpe", "random", "grid", "gp", "cmaes"] = "tpe"
    """Who draws: tpe learns from finished trials, random does not, grid tries all, gp and cmaes suit numbers."""
    trials: int = Field(default=12, ge=1, le=MANY)
    """Number of trials in all; trial 0 is always the base config's own values."""
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of the drawing and of the trainings."""
    storage: Text = Field("auto", examples=["auto", "postgresql://user@host/db"])
    """Where Optuna keeps the study: auto (SQLite in the experiment's folder) or any Optuna storage URL."""


class Prune(Strict):
    """When a trial that falls behind is stopped early."""

    pruner: Literal["asha", "hyperband", "median", "none"] = "asha"
    """Who decides: asha and hyperband by successive halving, median against earlier trials, none never stops one."""
    min_epochs: int = Field(default=2, ge=1, le=MANY)
    """Epochs that every trial may run before it can be stopped."""
    reduction: int = Field(default=3, ge=2, le=MANY)
    """Of so many trials at a rung one goes on (asha and hyperband)."""


class Train(Strict):
    """One trial's training."""

    epochs: int = Field(default=8, ge=1, le=MANY)
    """Epochs of a trial that is not stopped early; the schedule is built for them."""
    batch_size: int = Field(default=32, ge=1, le=MANY)
    """Images a step for each worker; the effective batch is this times resources.workers."""
    loader_workers: Annotated[Auto | Annotated[int, Field(ge=0, le=MANY), Tag("number")], _auto_or_number] = "auto"
    """Processes that load images for each worker, or auto: as many as its CPUs allow."""
    amp: bool = False
    """Automatic mixed precision."""


class Resources(Strict):
    """What one trial gets of the cluster, and how many trials run at once."""

    workers: int = Field(default=1, ge=1, le=MANY)
    """Training processes of one trial, each with a full copy of the model."""
    cpus_per_worker: int = Field(default=1, ge=1, le=MANY)
    """CPU cores for each worker."""
    gpus_per_worker: Annotated[
        Auto | Annotated[float, Field(ge=0, le=MANY, allow_inf_nan=False), Tag("number")], _auto_or_number
    ] = "auto"
    """GPUs for each worker; a fraction lets several trials share one; auto: 1 if the cluster has GPUs, else 0."""
    concurrent_trials: Annotated[Auto | Annotated[int, Field(ge=1, le=MANY), Tag("number")], _auto_or_number] = "auto"
    """Trials that run at once, or auto: as many as the cluster holds."""

    @field_validator("gpus_per_worker")
    @classmethod
    def _shareable(cls, gpus: float | str, info: ValidationInfo) -> float | str:
        if isinstance(gpus, str) or gpus == int(gpus):
            return gpus
        if gpus > 1:
            raise fault(f"more than one GPU is a whole number of them, got {shown(gpus)}")
        if info.data.get("workers", 1) != 1:
            raise fault("a part of a GPU is possible with one worker only: NCCL needs a whole GPU for each of several")
        return gpus


class Failure(Strict):
    """What happens when a trial's process dies."""

    retries: int = Field(default=2, ge=0, le=MANY)
    """How often a trial is taken up again from its last epoch before it counts as failed."""


class Experiment(Strict):
    """A search over fine-tunings of RTMPose: what varies, what is held, how long and on what it runs."""

    model: Annotated[Text, AfterValidator(_model_name)] = Field(default="rtmpose-n", examples=list(PRESETS))
    """Preset (rtmpose-n, t, s, m, l, x) or the path of any MMPose RTMPose config (.py)."""
    weights: Text = Field(default="demo", examples=["demo", "none", "official"])
    """demo (shipped with raypose), none, official (the config's own), or a file or URL (.safetensors, .pth)."""
    data: Text = Field(default="demo", examples=["demo", "data/mpii"])
    """demo (rendered by raypose) or a folder in MPII layout."""
    metric: Text = Field(default="PCK", examples=["PCK", "PCK@0.1", "Head PCK", "Wrist PCK"])
    """The figure to raise, as the evaluator names it."""
    space: Annotated[
        dict[KnobName, Annotated[Domain, WrapValidator(_domain_of_knob)]], BeforeValidator(_with_names)
    ] = Field(min_length=1)
    """The knobs to explore: lr, freeze, input_size, or any dotted key of the base config."""
    fixed: Annotated[
        dict[KnobName, Annotated[Scalar, WrapValidator(_value_of_knob)]], BeforeValidator(_with_names)
    ] = {}
    """Knobs held at one value in all trials."""
    search: Search = Search()
    prune: Prune = Prune()
    train: Train = Train()
    resources: Resources = Resources()
    failure: Failure = Failure()

    @field_validator("metric")
    @classmethod
    def _a_name(cls, metric: str) -> str:
        if not re.fullmatch(r"\S(.*\S)?", metric):
            raise fault("expected the name of a figure, such as PCK or PCK@0.1")
        return metric

    @field_validator("fixed")
    @classmethod
    def _held_or_varied(cls, fixed: dict[str, Value], info: ValidationInfo) -> dict[str, Value]:
        both = [name for name in fixed if name in info.data.get("space", {})]
        _refuse([((name,), "also in space; take it out of one of them") for name in both])
        return fixed

    @field_validator("search")
    @classmethod
    def _sampler_fits(cls, search: Search, info: ValidationInfo) -> Search:
        space: dict[str, Domain] = info.data.get("space", {})
        ranges = {name: domain for name, domain in space.items() if not isinstance(domain, Choice)}
        endless = [name for name, domain in ranges.items() if domain.step is None and not domain.integer]
        if search.sampler == "grid" and endless:
            _refuse([(("sampler",), f"grid tries every value of {endless[0]}; list them with choice, or add a step")])
        if search.sampler == "cmaes" and space and not ranges:
            _refuse([(("sampler",), "cmaes draws numbers, but the space holds choices only; use tpe")])
        return search

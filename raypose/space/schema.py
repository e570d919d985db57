"""The specification as pydantic models; their docstrings are what editors show. Runs in: command line, driver."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from raypose.space.base import Strict, fault, listed, refuse
from raypose.space.by_knob import Domains, Values
from raypose.space.conditions import condition_problems, start_problems, tie_problems
from raypose.space.domain import Choice, Domain
from raypose.space.knobs import Value, quoted, shown
from raypose.space.nearest import suggest
from raypose.space.sections import LONGEST, Failure, FinalRound, LrRule, Prune, Resources, Search, Text, Train

PRESETS: Final = tuple(f"rtmpose-{size}" for size in "ntsmlx")
Mode = Literal["max", "min"]
MAY_BE_EMPTY: Final = "the space may be empty"
"""The context in which an Experiment is validated that may be a single training."""


def _model_name(model: str) -> str:
    if model in PRESETS or model.endswith(".py"):
        return model
    raise fault(f"no preset '{shown(model)}'; {suggest(model, PRESETS, ', or the path of an MMPose config (.py)')}")


def _without_password(address: str) -> str:
    if re.search(r"://[^/?#]*@", address):
        raise fault("an address with a user or password would be shown to others; download the file, and name it here")
    return address


def _folder_or_share(test: object) -> object:
    is_folder = isinstance(test, str) and 0 < len(test) <= LONGEST
    is_share = isinstance(test, float) and 0 < test <= 0.5
    if test is None or is_folder or is_share:
        return test
    raise fault(f"expected a folder, or a share of the validation images above 0 and at most 0.5, got {quoted(test)}")


def _one_or_two(metric: object) -> object:
    names = listed(metric)
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"\S(.{0,98}\S)?", name):
            raise fault(f"expected the name of a figure, such as PCK or PCK@0.1, got {quoted(name)}")
    if not isinstance(metric, list | tuple):
        return metric
    if len(names) != 2:
        raise fault(f"expected one name or a list of two, got a list of {len(names)}")
    if names[0] == names[1]:
        raise fault(f"both are {quoted(names[0])}; name two different figures, or one without brackets")
    return tuple(names)


class Experiment(Strict):
    """A search over fine-tunings of RTMPose: what varies, what is held, how long and on what it runs."""

    model: Annotated[Text, AfterValidator(_model_name)] = Field(default="rtmpose-n", examples=list(PRESETS))
    """Preset (rtmpose-n, t, s, m, l, x) or the path of any MMPose RTMPose config (.py)."""
    weights: Annotated[Text, AfterValidator(_without_password)] = Field(
        default="demo", examples=["demo", "none", "official"]
    )
    """demo (shipped with raypose), none, official (the config's own), or a file or URL (.safetensors, .pth)."""
    trust_config: str | None = None
    """Not for the file: sha256 of the config that model names, kept when an experiment is made with --trust-config."""
    data: Text = Field(default="demo", examples=["demo", "data/mpii"])
    """demo (rendered by raypose) or a folder in MPII layout."""
    test: Annotated[Annotated[float, Field(gt=0, le=0.5)] | Text | None, BeforeValidator(_folder_or_share)] = Field(
        default=None, examples=[0.2, "data/mpii_test"]
    )
    """Images that no trial sees: a folder in MPII layout, or a share of the validation images; null: none."""
    metric: Annotated[Text | tuple[Text, Text], BeforeValidator(_one_or_two)] = Field(
        default="PCK", examples=["PCK", "PCK@0.1", "Head PCK", ["PCK", "latency_ms"]]
    )
    """The figure to raise, as the evaluator names it, or two with their mode; the first of two chooses the epochs."""
    mode: Mode | tuple[Mode, Mode] = Field(default="max", validate_default=True, examples=["max", ["max", "min"]])
    """Of two metrics whether each is to rise (max) or to fall (min); the first one rises."""
    fixed: Values = {}  # before space, whose conditions look at it
    """Knobs held at one value in all trials."""
    space: Domains = Field(json_schema_extra={"minProperties": 1})
    """The knobs to explore: named ones such as lr or lr_mult.backbone, or any dotted key of the base config."""
    lr_rule: LrRule = LrRule()
    search: Search = Search()
    prune: Prune = Field(default=Prune(), validate_default=True)
    train: Train = Train()
    resources: Resources = Resources()
    failure: Failure = Failure()
    final: FinalRound | None = None
    """The best trials trained again over seeds once the search is done; null: the search is the end."""

    @property
    def primary(self) -> str:
        """The figure by which epochs and trials are ranked; it is to rise."""
        return self.objectives[0][0]

    @property
    def objectives(self) -> tuple[tuple[str, Mode], ...]:
        """Each metric and whether it is to rise or to fall."""
        return tuple(zip(listed(self.metric), listed(self.mode), strict=True))

    @field_validator("mode", mode="before")
    @classmethod
    def _one_for_each(cls, mode: object, info: ValidationInfo) -> object:
        if "metric" not in info.data:
            return "max"
        modes, metric = listed(mode), info.data["metric"]
        for word in modes:
            if word not in ("max", "min"):
                raise fault(f"expected max or min, got {quoted(word)}")
        if isinstance(metric, str):
            if mode != "max":
                raise fault("one metric is always raised; leave mode out, or name two metrics")
            return mode
        if len(modes) != 2:
            raise fault("say for both metrics whether they are to rise or to fall, as in mode: [max, min]")
        if modes[0] == "min":
            raise fault(f"epochs are chosen by the first metric, which is to rise; name {metric[0]} second")
        return tuple(modes)

    @field_validator("space")
    @classmethod
    def _fits_together(cls, space: dict[str, Domain], info: ValidationInfo) -> dict[str, Domain]:
        if not space and info.context != MAY_BE_EMPTY:
            raise fault("no knob is left to explore; name at least one, such as lr: {log_uniform: [2.0e-4, 1.6e-2]}")
        fixed: dict[str, Value] | None = info.data.get("fixed")
        if fixed is not None:
            both = [((name,), "also in fixed; take it out of one of them") for name in space if name in fixed]
            faults = [*condition_problems(space, fixed), *tie_problems(space, fixed)]
            refuse([*both, *(((name, "knob", *place), problem) for (name, *place), problem in faults)])
        return space

    @field_validator("search")
    @classmethod
    def _sampler_fits(cls, search: Search, info: ValidationInfo) -> Search:
        space: dict[str, Domain] = info.data.get("space", {})
        ranges = {name: domain for name, domain in space.items() if not isinstance(domain, Choice)}
        endless = [name for name, domain in ranges.items() if domain.count is None]
        if search.sampler == "grid" and endless:
            refuse([(("sampler",), f"grid tries every value of {endless[0]}; list them with choice, or add a step")])
        if search.sampler == "cmaes" and space and not ranges:
            refuse([(("sampler",), "cmaes draws numbers, but the space holds choices only; use tpe")])
        if search.sampler == "cmaes" and isinstance(info.data.get("metric"), tuple):
            refuse([(("sampler",), "cmaes follows one metric; with two use tpe, gp, random or grid")])
        return search

    @field_validator("search")
    @classmethod
    def _starts_inside(cls, search: Search, info: ValidationInfo) -> Search:
        if "space" in info.data and "fixed" in info.data:
            faults = start_problems(search.start, info.data["space"], info.data["fixed"])
            refuse((("start", *place), problem) for place, problem in faults)
        return search

    @field_validator("prune")
    @classmethod
    def _prunes_by_one_metric(cls, prune: Prune, info: ValidationInfo) -> Prune:
        if prune.pruner == "none" or not isinstance(info.data.get("metric"), tuple):
            return prune
        if "pruner" in prune.model_fields_set:
            message = f"{prune.pruner} compares trials by one metric; with two write none, or leave pruner out"
            refuse([(("pruner",), message)])
        return prune.model_copy(update={"pruner": "none"})

    @field_validator("final")
    @classmethod
    def _has_a_winner(cls, final: FinalRound | None, info: ValidationInfo) -> FinalRound | None:
        if final and isinstance(info.data.get("metric"), tuple):
            raise fault("the winner of two metrics is a front; take final out, or name one metric")
        return final

"""The sections of a specification, each with its own checks. Runs in: command line, driver."""

import math
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from raypose.space.base import Strict, fault
from raypose.space.by_knob import Values
from raypose.space.knobs import quoted, shown

MAX_SEED: Final = 2**32 - 1  # NumPy's limit
MANY: Final = 1_000_000  # above every sensible count, below every overflow
LONGEST: Final = 4096  # characters of a path

Text = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Auto = Annotated[Literal["auto"], Tag("auto")]
_auto_or_number = Discriminator(lambda value: "auto" if value == "auto" else "number")


def _point(values: object) -> object:
    if isinstance(values, dict) and values:
        return values
    raise fault(f"expected knobs with values, such as {{lr: 1.0e-3}}, got {'none' if values == {} else quoted(values)}")


class LrRule(Strict):
    """How the learning rate follows the effective batch: workers x batch_size x accumulation."""

    rule: Literal["none", "linear", "sqrt"] = "none"
    """The peak is lr (none), lr x effective batch / reference_batch (linear), or lr x the root of that ratio (sqrt)."""
    reference_batch: int | None = Field(default=None, ge=1, le=MANY, validate_default=True)
    """The effective batch at which lr is the peak as it stands; for linear and sqrt only."""

    @field_validator("reference_batch")
    @classmethod
    def _wanted(cls, batch: int | None, info: ValidationInfo) -> int | None:
        rule = info.data.get("rule")
        if rule in ("linear", "sqrt") and batch is None:
            raise fault(f"missing; the rule {rule} needs the effective batch at which lr is the peak, such as 512")
        if rule == "none" and batch is not None:
            raise fault("without a rule no batch is a reference; take it out, or choose rule linear or sqrt")
        return batch


class Search(Strict):
    """How values are drawn, and how often."""

    sampler: Literal["tpe", "random", "grid", "gp", "cmaes"] = "tpe"
    """Who draws: tpe learns from finished trials, random does not, grid tries all, gp and cmaes suit numbers."""
    trials: int = Field(default=12, ge=1, le=MANY)
    """Number of trials in all, none of them twice; trial 0 is always the base config's own values."""
    hours: float | None = Field(default=None, gt=0, le=MANY, allow_inf_nan=False, examples=[8])
    """Hours after which no more trials begin, over all restores; those that run come to their ends. null: no limit."""
    gpu_hours: float | None = Field(default=None, gt=0, le=MANY, allow_inf_nan=False, examples=[32])
    """The same of hours times GPUs held. The final round comes on top of both."""
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of the drawing and of the trainings."""
    start: tuple[Annotated[Values, Field(json_schema_extra={"minProperties": 1}), BeforeValidator(_point)], ...] = (
        Field(default=(), strict=False, examples=[[{"lr": 1.0e-3}]])
    )
    """Points to try right after trial 0, also outside the ranges; knobs that a point leaves out are drawn."""
    storage: Text = Field("auto", examples=["auto", "postgresql://user@host/db"])
    """Where Optuna keeps the study: auto (SQLite in the experiment's folder) or any Optuna storage URL."""

    @field_validator("start")
    @classmethod
    def _all_are_tried(cls, start: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        trials, needed = info.data.get("trials", MANY), len(start) + 1
        if needed > trials:
            raise fault(f"trial 0 and these points are {needed} trials, but trials is {trials}")
        return start


class Prune(Strict):
    """When a trial that falls behind is stopped early."""

    pruner: Literal["asha", "hyperband", "median", "none"] = "asha"
    """Who decides: asha and hyperband by successive halving, median against earlier trials, none never stops one."""
    min_epochs: Annotated[Auto | Annotated[int, Field(ge=1, le=MANY), Tag("number")], _auto_or_number] = "auto"
    """Epochs that every trial may run before it can be stopped, or auto: a sixth of all, and two at least."""
    reduction: int = Field(default=3, ge=2, le=MANY)
    """Of so many trials at a rung one goes on (asha and hyperband)."""

    def first(self, epochs: int) -> int:
        """The first epoch, of so many of a full trial, after which one can be stopped.

        A share, as schedules are made of shares. On the table of `raypose bench search` a quarter spends more than a
        sixth, and a ninth stops the winners where early ranks mislead, as they do at its smallest input size.
        """
        return min(epochs, max(2, math.ceil(epochs / 6))) if self.min_epochs == "auto" else self.min_epochs


class Train(Strict):
    """One trial's training."""

    epochs: int = Field(default=8, ge=1, le=MANY)
    """Epochs of a trial that is not stopped early."""
    schedule: Literal["compressed", "full"] = "compressed"
    """compressed fits the whole schedule into these epochs; full follows the base config's own and stops after them."""
    batch_size: int = Field(default=32, ge=1, le=MANY)
    """Images of one batch of each worker; the effective batch is this times resources.workers times accumulation."""
    accumulation: int = Field(default=1, ge=1, le=MANY)
    """Batches whose gradients are summed for one step: a large effective batch on little memory."""
    loader_workers: Annotated[Auto | Annotated[int, Field(ge=0, le=MANY), Tag("number")], _auto_or_number] = "auto"
    """Processes that load images for each worker, or auto: as many as its CPUs, or its GPU's share of all, allow."""
    amp: bool = False
    """Automatic mixed precision."""
    transforms: Literal["fast", "stock"] = "fast"
    """fast: raypose's own for the recipe's, with the same random draws; stock: MMPose's, to compare."""
    channels_last: Literal["auto"] | bool = "auto"
    """Whether images and weights lie in memory pixel by pixel; auto: on CPUs, where that is faster."""
    fused: bool = True
    """Whether optimizer and moving average work on all parameters at once; false: one after another, to compare."""
    cache_gb: float = Field(default=20, ge=0, le=MANY, allow_inf_nan=False)
    """Gigabytes of decoded images and of views that a machine keeps for all trainings, in ~/.cache/raypose; 0: none."""
    cached_views: int = Field(default=0, ge=0, le=MANY)
    """Augmentations of each person that a trial with a frozen backbone repeats, to compute its output once; 0: none.

    An epoch trains on one of them: as many as there are epochs change nothing. Never in the final round.
    """


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
    """What is done about processes that die, and images that cannot be read."""

    retries: int = Field(default=2, ge=0, le=MANY)
    """How often a trial is taken up again from its last epoch before it counts as failed."""
    bad_images: float = Field(default=0.001, ge=0, lt=1, allow_inf_nan=False)
    """Share of the training images that may be missing or damaged and are then left out; none of validation may be."""


class FinalRound(Strict):
    """The best trials trained again at the full budget, over seeds, to tell the winner from the lucky one."""

    top: int = Field(default=3, ge=1, le=MANY)
    """How many of the best trials."""
    seeds: int = Field(default=3, ge=1, le=MANY)
    """How often each is trained, with seeds that the search has not used."""

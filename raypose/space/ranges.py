"""Ranges of numbers, each form written by its own key: `{log_uniform: [low, high]}`. Runs in: command line, driver."""

from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from raypose.space.base import Form, fault, reasonable
from raypose.space.knobs import Value, quoted, shown

MOST_STEPS: Final = 1_000_000


def _two(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) == 2:
        return value
    raise fault(f"expected two numbers, [low, high], got {quoted(value)}")


Number = Annotated[float, BeforeValidator(lambda v: reasonable(v) if type(v) in (int, float) else v)]
Whole = Annotated[int, BeforeValidator(lambda v: reasonable(v) if type(v) is int else v)]
Bounds = Annotated[tuple[Number, Number], Field(strict=False), BeforeValidator(_two)]
WholeBounds = Annotated[tuple[Whole, Whole], Field(strict=False), BeforeValidator(_two)]


class Range(Form):
    """Numbers from `low` to `high`, both included; `log` draws their logarithm evenly, `integer` whole numbers only."""

    log: ClassVar[bool] = False
    integer: ClassVar[bool] = False

    bounds: tuple[float, float]
    step: float | None = None

    @property
    def low(self) -> float:
        """Least value; an int if the range is one of whole numbers."""
        return self.bounds[0]

    @property
    def high(self) -> float:
        """Greatest value; an int if the range is one of whole numbers."""
        return self.bounds[1]

    @property
    def count(self) -> int | None:
        """How many values there are; None if there is no end of them."""
        if self.step is None and not self.integer:
            return None
        return round((self.high - self.low) / (self.step or 1)) + 1

    def value(self, index: int) -> float:
        """The value of this index, of a range that has a count."""
        return self.low + index * (self.step or 1)

    def contains(self, value: Value) -> bool:
        """Whether a sampler could draw this value."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high or (self.integer and value != int(value)):
            return False
        return self.step is None or _between(self.low, value) % Decimal(str(self.step)) == 0

    @field_validator("bounds")
    @classmethod
    def _ordered(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        low, high = bounds
        if low >= high:
            raise fault(f"the low end {shown(low)} is not below the high end {shown(high)}")
        if cls.log and low <= 0:
            raise fault(f"a log range lies above 0, but its low end is {shown(low)}")
        return bounds

    @field_validator("step")
    @classmethod
    def _divides(cls, step: float | None, info: Any) -> float | None:
        if step is None or "bounds" not in info.data:
            return step
        low, high = info.data["bounds"]
        if step <= 0:
            raise fault(f"expected a step above 0, got {shown(step)}")
        if (high - low) / step > MOST_STEPS:
            raise fault(f"a step of {shown(step)} cuts the range into more than a million values; leave step out")
        if _between(low, high) % Decimal(str(step)) != 0:
            raise fault(f"{shown(low)} to {shown(high)} is not a whole number of steps of {shown(step)}")
        return step


def _between(low: float, high: float) -> Decimal:
    """The distance as written: 0.3 - 0.1 is 0.2, which binary fractions miss."""
    return Decimal(str(high)) - Decimal(str(low))


class Uniform(Range):
    """Any number from low to high, or with `step` every step-th."""

    bounds: Bounds = Field(alias="uniform", title="uniform", examples=[[0.0, 0.1]])
    """Low and high end, both included."""
    step: Number | None = Field(default=None, title="step", exclude_if=lambda step: step is None)
    """Distance between neighbouring values; divides the range without remainder."""


class LogUniform(Range):
    """Any positive number from low to high, as often between 0.001 and 0.01 as between 0.01 and 0.1."""

    log: ClassVar[bool] = True

    bounds: Bounds = Field(alias="log_uniform", title="log_uniform", examples=[[2.0e-4, 1.6e-2]])
    """Low and high end, both included and above 0."""
    step: SkipJsonSchema[None] = Field(default=None, exclude=True)


class IntUniform(Range):
    """Any whole number from low to high, or with `step` every step-th."""

    integer: ClassVar[bool] = True

    bounds: WholeBounds = Field(alias="int_uniform", title="int_uniform", examples=[[8, 64]])
    """Low and high end, both included."""
    step: Whole | None = Field(default=None, title="step", exclude_if=lambda step: step is None)
    """Distance between neighbouring values; divides the range without remainder."""


class IntLogUniform(Range):
    """Any positive whole number from low to high, small ones as often as large ones."""

    log: ClassVar[bool] = True
    integer: ClassVar[bool] = True

    bounds: WholeBounds = Field(alias="int_log_uniform", title="int_log_uniform", examples=[[8, 512]])
    """Low and high end, both included and above 0."""
    step: SkipJsonSchema[None] = Field(default=None, exclude=True)

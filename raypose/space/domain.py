"""The set of values one knob may take: a range of numbers or a choice. Runs in: command line, driver.

Each form is written by its own key, `{log_uniform: [low, high]}` or `{choice: [...]}`, here and in the saved copy.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from raypose.space.knobs import Value, quoted, shown, value_problem

LARGEST: Final = 1e15  # up to here doubles hold every whole number, and differences of bounds stay exact enough
MOST_STEPS: Final = 1_000_000


def fault(message: str) -> PydanticCustomError:
    """A validation error with exactly this text."""
    return PydanticCustomError("fault", "{message}", {"message": message})


class Strict(BaseModel):
    """Base of all parts of a specification: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
        field_title_generator=lambda name, _: name,
    )


def _two(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) == 2:
        return value
    raise fault(f"expected two numbers, [low, high], got {quoted(value)}")


def _reasonable(value: float) -> float:
    if abs(value) <= LARGEST:  # false for NaN
        return value
    raise fault(f"expected a finite number of at most 1e15 in size, got {shown(value)}")


Number = Annotated[float, BeforeValidator(lambda v: _reasonable(v) if type(v) in (int, float) else v)]
Whole = Annotated[int, BeforeValidator(lambda v: _reasonable(v) if type(v) is int else v)]
Bounds = Annotated[tuple[Number, Number], Field(strict=False), BeforeValidator(_two)]
WholeBounds = Annotated[tuple[Whole, Whole], Field(strict=False), BeforeValidator(_two)]


class Range(Strict):
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


def _scalar(value: object) -> object:
    if value is not None and type(value) not in (str, int, float, bool):
        raise fault(f"expected one value (text, a number, true, false or null), got {quoted(value)}")
    if isinstance(value, int | float):
        _reasonable(value)
    if isinstance(value, str) and not value.isprintable():
        raise fault("expected text without line breaks and control characters")
    return value


def _not_empty(values: object) -> object:
    if isinstance(values, list | tuple) and not values:
        raise fault("expected at least one value, got an empty list")
    return values


Scalar = Annotated[Value, BeforeValidator(_scalar)]


class Choice(Strict):
    """One of the listed values; their order means nothing."""

    options: Annotated[tuple[Scalar, ...], Field(strict=False), BeforeValidator(_not_empty)] = Field(
        alias="choice", title="choice", json_schema_extra={"minItems": 1, "uniqueItems": True}
    )
    """The values: text, numbers, true, false or null."""

    def contains(self, value: Value) -> bool:
        """Whether a sampler could draw this value; true is not the number 1."""
        return any(option == value and isinstance(option, bool) is isinstance(value, bool) for option in self.options)

    @field_validator("options")
    @classmethod
    def _distinct(cls, options: tuple[Value, ...]) -> tuple[Value, ...]:
        for index, option in enumerate(options):
            if option in options[:index]:  # samplers compare with ==, to which 1, 1.0 and true are the same
                first = options[options.index(option)]
                raise fault(f"listed twice: {quoted(first)}" + _also(first, option))
        return options


def _also(first: Value, option: Value) -> str:
    return "" if quoted(first) == quoted(option) else f", again as {quoted(option)}, which is the same to a sampler"


DOMAINS: Final[dict[str, type[Range] | type[Choice]]] = {
    "choice": Choice,
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "int_uniform": IntUniform,
    "int_log_uniform": IntLogUniform,
}


def domain_key(domain: object) -> str | None:
    """The key that says which form this is, or None where no form or more than one is named."""
    if isinstance(domain, dict):
        keys = [key for key in DOMAINS if key in domain]
        return keys[0] if len(keys) == 1 else None
    return next((key for key, form in DOMAINS.items() if type(domain) is form), None)


Domain = Annotated[
    Annotated[Choice, Tag("choice")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("log_uniform")]
    | Annotated[IntUniform, Tag("int_uniform")]
    | Annotated[IntLogUniform, Tag("int_log_uniform")],
    Discriminator(domain_key),
]


def domain_problems(name: str, domain: Choice | Range) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What forbids this domain for this knob: pairs of the place within the domain and the message."""
    key = str(domain_key(domain))
    if isinstance(domain, Choice):
        for index, option in enumerate(domain.options):
            if problem := value_problem(name, option):
                yield (key, index), problem
    elif name in ("freeze", "input_size"):
        yield (key,), f"{name} is no number; list its values, as in {{choice: [...]}}"
    elif problem := value_problem(name, domain.low):
        yield (key, 0), problem

"""What all parts of a specification are made of: strict models, plain values, faults that say where.

Runs in: command line, driver.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from raypose.space.knobs import DOTTED, Value, canonical, quoted, shown

LARGEST: Final = 1e15  # up to here doubles hold every whole number, and differences of bounds stay exact enough
Place = tuple[str | int, ...]


def fault(message: str) -> PydanticCustomError:
    """A validation error with exactly this text."""
    return PydanticCustomError("fault", "{message}", {"message": message})


def refuse(problems: Iterable[tuple[Place, str]]) -> None:
    """Raises all these faults at once, each at its place below the value being checked."""
    details = [InitErrorDetails(type=fault(problem), loc=place, input=None) for place, problem in problems]
    if details:
        raise ValidationError.from_exception_data("specification", details)


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


def reasonable(value: float) -> float:
    """The same number. Raises a fault if it is not finite, or too large to be counted with."""
    if abs(value) <= LARGEST:  # false for NaN
        return value
    raise fault(f"expected a finite number of at most 1e15 in size, got {shown(value)}")


def _scalar(value: object) -> object:
    if value is not None and type(value) not in (str, int, float, bool):
        raise fault(f"expected one value (text, a number, true, false or null), got {quoted(value)}")
    if isinstance(value, int | float):
        reasonable(value)
    if isinstance(value, str) and not value.isprintable():
        raise fault("expected text without line breaks and control characters")
    return value


def listed(value: Any) -> list[Any]:
    """The items of a list; a lone value is a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _not_empty(values: object) -> object:
    if isinstance(values, list | tuple) and not values:
        raise fault("expected at least one value, got an empty list")
    return values


def _alternatives(when: object) -> object:
    if isinstance(when, dict):
        return {name: tuple(canonical(name, value) for value in listed(values)) for name, values in when.items()}
    raise fault(f"expected knobs with the values they must have, such as {{freeze: [none, stem]}}, got {quoted(when)}")


Scalar = Annotated[Value, BeforeValidator(_scalar)]
Scalars = Annotated[tuple[Scalar, ...], Field(strict=False), BeforeValidator(_not_empty)]
When = Annotated[
    dict[str, Scalars],
    BeforeValidator(_alternatives, json_schema_input_type=dict[str, Scalar | list[Scalar | list[str]]]),
]


class Form(Strict):
    """What all forms of a domain share: when the knob exists, and what else follows it."""

    when: When = Field(default={}, exclude_if=lambda when: not when)
    """The knob exists only in trials where each of these other knobs has the value, or one of the values."""
    also: tuple[Annotated[str, Field(json_schema_extra={"pattern": DOTTED})], ...] = Field(
        default=(), strict=False, exclude_if=lambda also: not also
    )
    """Further dotted keys of the config that the drawn value is written to."""

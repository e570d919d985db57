"""The set of values one knob may take: a range of numbers or a choice. Runs in: command line, driver.

Each form is written by its own key, `{log_uniform: [low, high]}` or `{choice: [...]}`, here and in the saved copy.
"""

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Discriminator, Field, Tag, field_validator

from raypose.space.base import Form, Place, Scalars, fault
from raypose.space.knobs import Value, quoted, same, value_problem
from raypose.space.ranges import IntLogUniform, IntUniform, LogUniform, Range, Uniform


class Choice(Form):
    """One of the listed values; their order means nothing."""

    options: Scalars = Field(alias="choice", title="choice", json_schema_extra={"minItems": 1, "uniqueItems": True})
    """The values: text, numbers, true, false or null."""

    @property
    def count(self) -> int | None:
        """How many values there are."""
        return len(self.options)

    def value(self, index: int) -> Value:
        """The value of this index."""
        return self.options[index]

    def contains(self, value: Value) -> bool:
        """Whether a sampler could draw this value; true is not the number 1."""
        return any(same(option, value) for option in self.options)

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


def domain_problems(name: str, domain: Choice | Range) -> Iterator[tuple[Place, str]]:
    """What forbids this domain for this knob: pairs of the place within the domain and the message."""
    key = str(domain_key(domain))
    if isinstance(domain, Range) and name in ("freeze", "input_size"):
        yield (key,), f"{name} is no number; list its values, as in {{choice: [...]}}"
        return
    for index, value in enumerate(domain.options if isinstance(domain, Choice) else domain.bounds):
        if problem := value_problem(name, value):
            yield (key, index), problem

"""One drawn set of values. Runs in: driver, workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from raypose.space.knobs import Value, shown


@dataclass(frozen=True)
class Trial:
    """A trial's number, the value of every knob, drawn or fixed, and the seed of its training.

    Knobs not named keep the base config's values.
    """

    number: int
    values: Mapping[str, Value] = field(default_factory=dict)
    seed: int = 0

    def describe(self) -> str:
        """One line for people, such as `lr 0.0012, freeze stem`."""
        return ", ".join(f"{name} {shown(value)}" for name, value in self.values.items()) or "the base config's values"

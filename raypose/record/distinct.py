"""Trials that differ in what they train: which of them have been tried, which are left. Runs in: driver, command line.

All trials of a search have its seed, so the same values train the same weights, to the last bit: one of two is wasted.
"""

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from raypose.space.conditions import draw_order, holds
from raypose.space.domain import Choice, Domain
from raypose.space.knobs import Value
from raypose.space.ranges import Range
from raypose.space.schema import Experiment

LISTED: Final = 10_000
"""Values of a range that are put in a random order; of more, only where to begin is random."""


class Tried:
    """Values that trials have had; where they name no knob, the `base` config's own value is what was trained."""

    def __init__(self, base: Mapping[str, Value]) -> None:
        self._base = dict(base)
        self._known: set[frozenset[tuple[str, str]]] = set()

    def add(self, values: Mapping[str, Value]) -> None:
        """A trial has these, however it ends: one that failed would fail again."""
        self._known.add(self._whole(values))

    def __contains__(self, values: Mapping[str, Value]) -> bool:
        return self._whole(values) in self._known

    def _whole(self, values: Mapping[str, Value]) -> frozenset[tuple[str, str]]:
        return frozenset((name, _text(value)) for name, value in {**self._base, **values}.items())


def _text(value: Value) -> str:
    """One text for one value: 1 is 1.0 but not true, and steps of a range come with errors of rounding."""
    return f"{value:.15g}" if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)


def completions(
    experiment: Experiment, given: Mapping[str, Value], options: Callable[[Domain], Iterable[Value]]
) -> Iterator[dict[str, Value]]:
    """The values of all trials with those `given`, and of every other knob that exists there one of its `options`."""
    space = experiment.space

    def below(order: Sequence[str], values: dict[str, Value]) -> Iterator[dict[str, Value]]:
        if not order:
            yield values
            return
        name, domain = order[0], space[order[0]]
        if not holds(domain.when, values):
            yield from below(order[1:], values)
            return
        for value in [given[name]] if name in given else options(domain):
            tied = {key: given.get(key, value) for key in domain.also}
            yield from below(order[1:], {**values, name: value, **tied})

    return below(draw_order(space), dict(experiment.fixed))


def whole(experiment: Experiment, given: Mapping[str, Value]) -> dict[str, Value] | None:
    """The values of a trial that is given all of them; None if some are left to be drawn."""
    return next(completions(experiment, given, lambda domain: ()), None)


def left(
    experiment: Experiment, tried: Tried, given: Mapping[str, Value], draw: random.Random
) -> Iterator[dict[str, Value]]:
    """The values of all trials with those `given` that nobody has tried, in a random order; maybe without an end."""
    found = completions(experiment, given, lambda domain: _in_random_order(domain, draw))
    return (values for values in found if values not in tried)


def count(experiment: Experiment, tried: Tried, given: Sequence[Mapping[str, Value]]) -> int | None:
    """How many different trials there can be, with those that are `given` to trials; None if there is no end of them.

    More than the search asks for are not counted. `tried` has the values of those of `given` that leave nothing open.
    """
    space, most = experiment.space, experiment.search.trials
    if any(domain.count is None for domain in space.values()):  # each exists somewhere, whatever its condition
        return None
    untried = sum(1 for _ in itertools.islice(left(experiment, tried, {}, random.Random(0)), most))
    drawn = [
        point
        for point in given
        if whole(experiment, point) is None and all(space[name].contains(value) for name, value in point.items())
    ]
    return len(given) + max(untried - len(drawn), 0)


def no_more(different: int, asked: int) -> str:
    """What is told of a search that asks for more trials than differ."""
    return f"the space holds no more than {different} different trials to train (search.trials: {asked})"


def _in_random_order(domain: Domain, draw: random.Random) -> Iterable[Value]:
    values = domain.count
    if values is None:
        assert isinstance(domain, Range)
        return iter(lambda: _anywhere(domain, draw), None)
    if isinstance(domain, Choice) or values <= LISTED:
        return map(domain.value, draw.sample(range(values), values))
    first = draw.randrange(values)
    return map(domain.value, itertools.chain(range(first, values), range(first)))


def _anywhere(domain: Range, draw: random.Random) -> float:
    low, high = domain.bounds
    value = math.exp(draw.uniform(math.log(low), math.log(high))) if domain.log else draw.uniform(low, high)
    return min(max(value, low), high)

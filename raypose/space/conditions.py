"""Knobs that hang on others: those that exist only beside certain values, and the keys that follow a knob.

Runs in: command line, driver.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from raypose.space.base import Place
from raypose.space.domain import Domain, domain_problems
from raypose.space.knobs import Value, name_problem, quoted, same, shown, value_problem

Space = Mapping[str, Domain]
Values = Mapping[str, Value]
When = Mapping[str, Collection[Value]]


def draw_order(space: Space) -> list[str]:
    """The order in which a trial's values are drawn: that of the file, but a knob after those it hangs on."""
    order: dict[str, None] = {}
    while left := [name for name in space if name not in order]:
        order[next(name for name in left if all(p in order or p not in space for p in space[name].when))] = None
    return list(order)


def holds(when: When, values: Values) -> bool:
    """Whether a knob with this condition exists beside these values; a knob without a value fulfils nothing."""
    return all(name in values and _one_of(values[name], options) for name, options in when.items())


def _one_of(value: Value, options: Collection[Value]) -> bool:
    return any(same(value, option) for option in options)


def condition_problems(space: Space, fixed: Values) -> Iterator[tuple[Place, str]]:
    """What is wrong with the knobs' `when`: pairs of the place below space and the message."""
    faults = [
        ((name, "when", parent), problem)
        for name, domain in space.items()
        for parent, options in domain.when.items()
        if (problem := _parent_problem(name, parent, options, space, fixed))
    ]
    yield from faults or _cycle(space) or _impossible(space)


def _parent_problem(name: str, parent: str, options: Collection[Value], space: Space, fixed: Values) -> str | None:
    if parent == name:
        return "a knob cannot hang on itself"
    if parent in fixed:
        wrong = [problem for option in options if (problem := value_problem(parent, option))]
        if not wrong and not _one_of(fixed[parent], options):
            return f"never holds: {parent} is fixed at {quoted(fixed[parent])}"
        return next(iter(wrong), None)
    if parent not in space:
        return name_problem(parent) or "neither in space nor in fixed; add it to one of them"
    never_drawn = [option for option in options if not space[parent].contains(option)]
    return f"{parent} never has the value {quoted(never_drawn[0])}" if never_drawn else None


def _cycle(space: Space) -> list[tuple[Place, str]]:
    try:
        TopologicalSorter({name: domain.when for name, domain in space.items()}).prepare()
    except CycleError as error:
        first, *others = reversed(error.args[1])
        return [((first, "when"), f"hangs on itself: {first} needs {', which needs '.join(others)}")]
    return []


def _impossible(space: Space) -> list[tuple[Place, str]]:
    """Conditions that exclude each other: a knob needs what it names and all that those need in turn."""
    needs: dict[str, dict[str, Collection[Value]]] = {}
    faults: list[tuple[Place, str]] = []
    for name in draw_order(space):
        needed: dict[str, Collection[Value]] = dict(space[name].when)
        for parent in space[name].when:
            for knob, options in needs.get(parent, {}).items():
                needed[knob] = [option for option in needed.get(knob, options) if _one_of(option, options)]
        excluded = [knob for knob, options in needed.items() if not options]
        if excluded:
            faults.append(((name, "when"), f"never holds: the knobs named here need different values of {excluded[0]}"))
        needs[name] = {} if excluded else needed
    return faults


def tie_problems(space: Space, fixed: Values) -> Iterator[tuple[Place, str]]:
    """What is wrong with the knobs' `also`: pairs of the place below space and the message."""
    owners: dict[str, str] = {}
    for name, domain in space.items():
        for index, key in enumerate(domain.also):
            place = (name, "also", index)
            if problem := name_problem(key):
                yield place, problem
            elif "." not in key:
                yield place, f"{key} is a knob of its own; only dotted keys can follow another one"
            elif key in space or key in fixed:
                yield place, f"{key} is also in {'space' if key in space else 'fixed'}; take it out of one of them"
            elif key in owners:
                yield place, f"{key} follows {owners[key]} already"
            else:
                yield from ((place, problem) for _, problem in domain_problems(key, domain))
            owners[key] = name


def start_problems(start: Sequence[Values], space: Space, fixed: Values) -> Iterator[tuple[Place, str]]:
    """What is wrong with starting points whose values are legal by themselves: pairs of the place and the message."""
    for index, point in enumerate(start):
        for name in point:
            if name not in space:
                yield (index, name), "not in space; a starting point gives values to the knobs that are explored"
            elif not holds(space[name].when, {**fixed, **point}):
                yield (index, name), f"exists only with {_described(space[name].when)}; give that too"


def _described(when: When) -> str:
    return " and ".join(f"{name} {' or '.join(map(shown, options))}" for name, options in when.items())

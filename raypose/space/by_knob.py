"""Domains and values under the names of their knobs, on which depends what is legal. Runs in: command line, driver."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WrapValidator

from raypose.space.base import Scalar, fault, refuse
from raypose.space.domain import Domain, domain_problems
from raypose.space.knobs import canonical, name_problem, value_problem

_Named = tuple[str, Any]


def _knob_name(name: str) -> str:
    if problem := name_problem(name):
        raise fault(problem)
    return name


def _with_names(knobs: object) -> object:
    return {name: (str(name), value) for name, value in knobs.items()} if isinstance(knobs, dict) else knobs


def _domain_of_knob(named: _Named, check: Callable[[object], Any]) -> Any:
    """Checks a domain by itself, then against its knob; reports every bad option, not only the first."""
    name, raw = named
    if name_problem(name):  # already refused; of a knob that does not exist nothing is known
        return raw
    if isinstance(raw, dict) and isinstance(raw.get("choice"), list | tuple):
        raw = {**raw, "choice": [canonical(name, option) for option in raw["choice"]]}
    domain = check(raw)
    refuse((("knob", *place), problem) for place, problem in domain_problems(name, domain))
    return domain


def _value_of_knob(named: _Named, check: Callable[[object], Any]) -> Any:
    name, raw = named
    if name_problem(name):
        return raw
    value = check(canonical(name, raw))
    if problem := value_problem(name, value):
        raise fault(problem)
    return value


_KnobName = Annotated[str, AfterValidator(_knob_name)]
Domains = Annotated[dict[_KnobName, Annotated[Domain, WrapValidator(_domain_of_knob)]], BeforeValidator(_with_names)]
Values = Annotated[dict[_KnobName, Annotated[Scalar, WrapValidator(_value_of_knob)]], BeforeValidator(_with_names)]

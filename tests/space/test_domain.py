"""Domains know which values they hold."""

import pytest
from pydantic import TypeAdapter

from raypose.space import Choice, Domain, Range, Trial
from raypose.space.knobs import Value

DOMAIN: TypeAdapter[Choice | Range] = TypeAdapter(Domain)


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        ({"uniform": [0, 1]}, [0, 0.5, 1.0], [-0.1, 1.1, "0.5", None, True, float("nan")]),
        ({"uniform": [0.1, 1], "step": 0.3}, [0.1, 0.4, 0.7, 1], [0.2, 0.5]),
        ({"log_uniform": [1e-4, 1e-2]}, [1e-4, 4e-3, 1e-2], [0, 1.1e-2]),
        ({"int_uniform": [8, 64]}, [8, 9, 64, 9.0], [7, 8.5, 65]),
        ({"int_uniform": [8, 64], "step": 8}, [8, 16], [9]),
        ({"int_log_uniform": [1, 512]}, [1, 3, 512], [0, 2.5]),
        ({"choice": ["none", 1, 0.5, None]}, ["none", 1, 1.0, 0.5, None], ["stem", True, 0, False]),
        ({"choice": [True]}, [True], [1, 1.0, "true"]),
    ],
)
def test_contains(domain: dict[str, object], inside: list[Value], outside: list[Value]) -> None:
    held = DOMAIN.validate_python(domain)
    assert [value for value in inside if not held.contains(value)] == []
    assert [value for value in outside if held.contains(value)] == []


def test_range_tells_samplers_what_they_need() -> None:
    domain = DOMAIN.validate_python({"int_log_uniform": [1, 512]})
    assert isinstance(domain, Range)
    assert (domain.low, domain.high, domain.step, domain.log, domain.integer) == (1, 512, None, True, True)
    assert isinstance(domain.low, int)
    assert domain.model_dump(mode="json") == {"int_log_uniform": [1, 512]}


def test_trial_describes_itself() -> None:
    values: dict[str, Value] = {"lr": 0.00123456789, "freeze": "stem", "a.b": 8, "c.d": True, "e.f": None}
    assert Trial(3, values).describe() == "lr 0.00123457, freeze stem, a.b 8, c.d true, e.f null"
    assert Trial(0, {}).describe() == "the base config's values"

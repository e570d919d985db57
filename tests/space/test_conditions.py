"""Knobs that hang on others: in which order they are drawn, beside which values they exist, and when they never do."""

import itertools
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypose.errors import SpecError
from raypose.space import Experiment, parse_spec
from raypose.space.conditions import draw_order, holds
from raypose.space.knobs import Value


def test_parents_are_drawn_first_and_else_the_file_decides(load: Callable[..., Experiment]) -> None:
    text = """\
space:
  a.a: {choice: [1], when: {c.c: 1, f.f: 0}}
  b.b: {choice: [1]}
  c.c: {choice: [1], when: {e.e: 1}}
  d.d: {choice: [1], when: {b.b: 1}}
  e.e: {choice: [1]}
fixed: {f.f: 0}
"""
    assert draw_order(load(text).space) == ["b.b", "d.d", "e.e", "c.c", "a.a"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"freeze": "stem", "a.b": 1}, True),
        ({"freeze": "stage1", "a.b": 1.0}, True),
        ({"freeze": "stem", "a.b": True}, False),
        ({"freeze": "stem", "a.b": 2}, False),
        ({"freeze": "none", "a.b": 1}, False),
        ({"a.b": 1}, False),
    ],
)
def test_all_conditions_must_hold(values: Mapping[str, Value], expected: bool) -> None:
    assert holds({"freeze": ("stem", "stage1"), "a.b": (1,)}, values) is expected
    assert holds({}, values)
    assert not holds({"c.d": (None,)}, values)  # which has no value at all


def test_condition_on_a_fixed_knob_and_on_several_freeze_sets(load: Callable[..., Experiment]) -> None:
    text = """\
space:
  unfreeze.at: {uniform: [0.2, 1], when: {freeze: [stem, [stem, norms]], e.f: 1.0}}
  freeze: {choice: [none, stem, stem + norms]}
fixed: {e.f: 1}
"""
    experiment = load(text)
    when = experiment.space["unfreeze.at"].when
    assert when == {"freeze": ("stem", "stem+norms"), "e.f": (1.0,)}
    assert holds(when, {**experiment.fixed, "freeze": "stem+norms"})
    assert draw_order(experiment.space) == ["freeze", "unfreeze.at"]


def test_a_single_value_needs_no_list_and_what_is_empty_is_not_saved(load: Callable[..., Experiment]) -> None:
    terms = "when: {a.b: 2}, also: [x.y, unfreeze.at, lr_mult.head.gau]"
    experiment = load(f"space: {{a.b: {{choice: [1, 2]}}, c.d: {{uniform: [0.1, 1], {terms}}}}}")
    assert experiment.model_dump(mode="json")["space"] == {
        "a.b": {"choice": [1, 2]},
        "c.d": {"uniform": [0.1, 1.0], "when": {"a.b": [2]}, "also": ["x.y", "unfreeze.at", "lr_mult.head.gau"]},
    }
    assert load("space: {a.b: {choice: [1], when: {}, also: []}}").space["a.b"].model_dump() == {"choice": (1,)}


def test_starting_points_may_leave_the_ranges_but_not_the_conditions(load: Callable[..., Experiment]) -> None:
    text = """\
space:
  lr: {log_uniform: [1e-3, 1e-2]}
  freeze: {choice: [none, stem]}
  unfreeze.at: {uniform: [0.2, 1], when: {freeze: stem}}
  a.b: {choice: [1, 2], when: {c.d: x}}
fixed: {c.d: x}
search:
  trials: 4
  start:
  - {lr: 0.5, a.b: 3}
  - {unfreeze.at: 0.1, freeze: stem}
  - {freeze: [stem, norms]}
"""
    points = load(text).search.start
    assert points == ({"lr": 0.5, "a.b": 3}, {"unfreeze.at": 0.1, "freeze": "stem"}, {"freeze": "stem+norms"})


NAMES = ("a.a", "b.b", "c.c", "d.d")
WHENS = [st.dictionaries(st.sampled_from(NAMES[:i]), st.sampled_from([[1], [2], [1, 2]])) for i in range(1, len(NAMES))]


@settings(max_examples=200, deadline=None)
@given(st.tuples(*WHENS))
def test_a_condition_is_refused_if_and_only_if_it_never_holds(whens: tuple[dict[str, list[int]], ...]) -> None:
    conditions = dict(zip(NAMES, ({}, *whens), strict=True))
    reached: set[str] = set()
    for drawn in itertools.product([1, 2], repeat=len(NAMES)):
        values: dict[str, Value] = {}
        for name, value in zip(NAMES, drawn, strict=True):
            if holds(conditions[name], values):
                values[name] = value
        reached |= values.keys()
    try:
        parse_spec({"space": {name: {"choice": [1, 2], "when": when} for name, when in conditions.items()}})
    except SpecError as error:
        first = next(name for name in NAMES if name not in reached)
        assert error.problems[0].startswith(f"space.{first}.when: never holds")
    else:
        assert reached == set(NAMES)

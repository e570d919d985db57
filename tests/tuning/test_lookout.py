"""Looks are few, however much happens, and none is missing at the end."""

import time

import pytest

from raypose.tuning.lookout import watched


def test_many_changes_are_few_looks_and_the_last_one_is_seen() -> None:
    happened, seen = [0], list[int]()
    with watched(lambda: seen.append(happened[0])) as changed:
        for _ in range(3000):
            happened[0] += 1
            changed()
        while not seen:
            time.sleep(0.01)
    assert 1 <= len(seen) < 20 and seen[-1] == 3000


def test_nobody_looks_where_nothing_happens() -> None:
    seen = list[int]()
    with watched(lambda: seen.append(1)):
        time.sleep(0.5)
    assert len(seen) <= 2, "at the end"


def test_what_fails_in_a_look_is_raised_at_the_end_and_a_fault_of_the_block_comes_first() -> None:
    with pytest.raises(ZeroDivisionError), watched(lambda: print(1 / 0)) as changed:
        changed()
    with pytest.raises(KeyError), watched(lambda: print(1 / 0)) as changed:
        changed()
        raise KeyError

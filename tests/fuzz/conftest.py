"""How input is bent, and how often: some dozen cases a target in the fast suite, thousands of them with `-m chaos`.

RAYPOSE_FUZZ=10 makes ten times as many cases of each target. The fast suite's are the same in every run.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Hunt = Callable[..., None]
SLOW = timedelta(seconds=60)  # nothing that a person may have written takes so long
WORDS = [b"", b"\0", b"\0\0\0\0", b"\xff" * 8, b"\x7f\xff\xff\xff", b"\x80", b"\n", b"[", b'"', b"\xef\xbb\xbf"]


@pytest.fixture(params=["quick", pytest.param("full", marks=pytest.mark.chaos)])
def hunt(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Hunt:
    """A function that gives many cases to a check: `hunt(check, strategy, quick=30, full=3000)`."""

    def hunt(check: Callable[[Any], None], cases: st.SearchStrategy[Any], *, quick: int, full: int) -> None:
        few = request.param == "quick"
        count = quick if few else round(full * float(os.environ.get("RAYPOSE_FUZZ", "1")))
        many = settings(
            max_examples=count,
            derandomize=few,
            database=None,
            deadline=SLOW,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        )
        seen = 0

        def counted(case: Any) -> None:
            nonlocal seen
            seen += 1
            check(case)

        try:
            many(given(cases)(counted))()
        finally:
            record_property("cases", seen)
            print(f"{request.node.name}: {seen} cases")

    return hunt


@st.composite
def _mangled(draw: st.DrawFn, whole: bytes, words: list[bytes]) -> bytes:
    data = whole
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 0, 1, 1, 2, 4, 8, 40, 10**9])))
        piece = draw(st.sampled_from([*WORDS, *words]) | st.binary(max_size=8))
        kind = draw(st.sampled_from(["replace", "replace", "insert", "cut", "repeat"]))
        if kind == "cut":
            data = data[:start] + data[end:]
        elif kind == "repeat":
            data = data[:end] + data[start:end][:400] * 2 + data[end:]
        else:
            data = data[:start] + piece + data[start + len(piece) if kind == "replace" else start :]
    return data


@pytest.fixture(scope="session")
def mangled() -> Callable[..., st.SearchStrategy[bytes]]:
    """A function that makes damaged copies of some bytes, with pieces of other bytes in them."""

    def mangled(whole: bytes, words: tuple[bytes, ...] = ()) -> st.SearchStrategy[bytes]:
        return _mangled(whole, list(words))

    return mangled

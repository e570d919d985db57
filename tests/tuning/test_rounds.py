"""Beside the trials the driver keeps their time, and hears of a request to stop wherever its main thread waits."""

import threading
import time
from pathlib import Path

import pytest

from raypose.errors import Stopped
from raypose.record.requests import ask_to_stop, is_to_stop
from raypose.record.spent import Meter
from raypose.space.load import parse_spec
from raypose.space.sections import Search
from raypose.tuning import rounds as module
from raypose.tuning.cluster import stoppable
from raypose.tuning.rounds import rounds


@pytest.fixture
def search() -> Search:
    """Without budgets."""
    return parse_spec({"space": {"lr": {"choice": [1]}}}).search


def test_a_request_ends_the_driver_as_sigterm_does_and_is_heard_once(tmp_path: Path, search: Search) -> None:
    asked = time.monotonic()
    with pytest.raises(Stopped) as stopped, stoppable("exp"), rounds(tmp_path, Meter(tmp_path, search), gpus=0):
        ask_to_stop(tmp_path)
        threading.Event().wait(30)
    assert stopped.value.exit_code == 143 and time.monotonic() - asked < 10
    assert not is_to_stop(tmp_path) and Meter(tmp_path, search).spent().hours > 0


def test_a_kill_loses_no_more_than_the_time_since_it_was_kept(
    tmp_path: Path, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_S", 0.05)
    monkeypatch.setattr(module, "KEEP_S", 0.1)
    with rounds(tmp_path, Meter(tmp_path, search), gpus=2):
        deadline = time.monotonic() + 10
        while not (kept := Meter(tmp_path, search).spent()).hours and time.monotonic() < deadline:
            time.sleep(0.02)
    assert kept.hours > 0 and kept.gpu_hours == pytest.approx(2 * kept.hours)

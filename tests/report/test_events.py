from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from raypose.record.study import read_view
from raypose.record.view import ExperimentView
from raypose.report.events import write_events
from tests.report.conftest import Replayed


@pytest.fixture(scope="module")
def view(replayed: Replayed) -> ExperimentView:
    return read_view(replayed.make("events", trials=4, fail=(2,)))


def test_tensorboard_reads_one_run_a_trial(view: ExperimentView, tmp_path: Path) -> None:
    assert write_events(view, tmp_path) == 4
    assert write_events(view, tmp_path) == 4, "written again, a trial is there once"
    for trial in view.trials:
        run = EventAccumulator(str(tmp_path / "events" / f"trial-{trial.number:04d}")).Reload()
        found = [(scalar.step, scalar.value) for scalar in run.Scalars("PCK")]
        assert found == [(epoch.number, pytest.approx(epoch.metrics["PCK"])) for epoch in trial.epochs]
        begun = metadata.parse_session_start_info_plugin_data(_content(run, metadata.SESSION_START_INFO_TAG))
        assert begun.hparams["lr"].number_value == trial.values["lr"]
        assert begun.hparams["freeze"].string_value == trial.values["freeze"]
        ended = metadata.parse_session_end_info_plugin_data(_content(run, metadata.SESSION_END_INFO_TAG))
        assert ended.status == (2 if trial.number == 2 else 1), "api.proto: 1 success, 2 failure"


def _content(run: EventAccumulator, tag: str) -> bytes:
    return run.SummaryMetadata(tag).plugin_data.content

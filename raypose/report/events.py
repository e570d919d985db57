"""Event files that TensorBoard shows: one run a trial. Runs in: command line."""

import math
from collections.abc import Iterator
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from raypose.record.epochs import ended_at
from raypose.record.view import ExperimentView, TrialView
from raypose.space.knobs import shown

OURS = ".raypose"
STATUS = {"complete": "STATUS_SUCCESS", "pruned": "STATUS_SUCCESS", "failed": "STATUS_FAILURE"}


def write_events(view: ExperimentView, folder: Path) -> int:
    """Write `<folder>/<experiment>/trial-<n>/` for each trial with an epoch; returns how many there are.

    What was written there before by this function is replaced.
    """
    trials = [trial for trial in view.trials if trial.epochs]
    for trial in trials:
        _write_trial(trial, folder / view.name / run_name(trial))
    return len(trials)


def _write_trial(trial: TrialView, run: Path) -> None:
    for earlier in run.glob(f"events.out.tfevents.*{OURS}"):
        earlier.unlink()
    writer = EventFileWriter(str(run), filename_suffix=OURS)
    for event in _events(trial):
        writer.add_event(event)
    writer.close()


def _events(trial: TrialView) -> Iterator[Event]:
    """Knobs, then each epoch's finite figures at its number and with the time when it ended, then how the trial ended.

    The hparams page knows text, numbers and truth values only.
    """
    first, last = ended_at(trial.epochs[0]), ended_at(trial.epochs[-1])
    knobs = {
        key: value if isinstance(value, bool | int | float) else shown(value) for key, value in trial.values.items()
    }
    began = first - trial.epochs[0].seconds
    yield Event(wall_time=began, summary=hparams_pb(knobs, trial_id=run_name(trial), start_time_secs=began))
    for epoch in trial.epochs:
        figures = [
            Summary.Value(tag=name, simple_value=figure)
            for name, figure in epoch.metrics.items()
            if math.isfinite(figure)
        ]
        yield Event(wall_time=ended_at(epoch), step=epoch.number, summary=Summary(value=figures))
    if trial.state in STATUS:
        yield Event(wall_time=last, summary=_end(STATUS[trial.state], last))


def _end(status: str, at: float) -> Summary:
    """How a run ended, for the hparams page; TensorBoard's own function for it needs TensorFlow."""
    info = plugin_data_pb2.SessionEndInfo(status=api_pb2.Status.Value(status), end_time_secs=at)
    about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=info))
    return Summary(
        value=[Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR)]
    )


def run_name(trial: TrialView) -> str:
    """The folder of a trial's event files, and its name on the hparams page."""
    return f"trial-{trial.number:04d}"

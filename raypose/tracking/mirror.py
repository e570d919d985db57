"""Brings MLflow to the state of the record, as often as wanted, without repeating anything. Runs in: driver.

One MLflow experiment an experiment, one parent run for its study and one child run a trial, each found by its tag
before it is made. What MLflow holds is read once, at the first contact, and remembered; a `sync` then sends only the
difference to the record, and nothing at all if there is none.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from raypose.record.view import PAGE, ExperimentView, TrialView
from raypose.tracking import content
from raypose.tracking.client import connect
from raypose.tracking.environment import environment, git_tags
from raypose.tracking.names import trial_title
from raypose.tracking.store import Store

_log = logging.getLogger(__name__)
STUDY = "raypose.study"
TRIAL = "raypose.trial"
_ARTIFACTS = "raypose.artifacts"
_REPORT = "raypose.report"
_BATCH = 900  # MLflow splits a batch of more than 1000 entries, and an epoch must arrive whole


@dataclass
class _Known:
    """What MLflow holds of one run, as far as this process knows."""

    run_id: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    steps: set[int]

    def lacks(self, figures: dict[str, float], *keys: str) -> bool:
        """Whether there are `figures` and MLflow has others under these `keys`."""
        return any(key in figures and self.metrics.get(key) != figures[key] for key in keys)


class Mirror:
    """Mirrors one experiment into `store`; for one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._runs: dict[str, _Known] = {}
        self._settled: dict[int, tuple[TrialView, str]] = {}
        self._state = ""

    def sync(self, view: ExperimentView) -> dict[int, str]:
        """Send to MLflow what it lacks of `view`; returns the run id of each trial that has begun.

        A trial that is the same object as in the last call, of which nothing was lacking, is passed over.

        Raises:
            MlflowException, OSError: MLflow cannot be reached, or refuses; the next call takes a fresh look.
        """
        try:
            client = self._contact(view)
            parent = self._sync_study(client, view)
            begun = [t for t in view.trials if t.state != "waiting" or t.epochs]
            runs = {t.number: self._run_of(client, view, t, parent.run_id) for t in begun}
            _set_status(client, parent, content.study_status(view), None)
            return runs
        except BaseException:
            self._client = None  # nobody knows how much of it arrived
            raise

    def _contact(self, view: ExperimentView) -> MlflowClient:
        if view.state != self._state:  # the status of a trial's run depends on it
            self._settled.clear()
            self._state = view.state
        if self._client is None:
            self._settled.clear()
            client = connect(self._store)
            self._experiment_id = _experiment(client, view.name, self._store)
            found = _raypose_runs(client, self._experiment_id)
            self._runs = {key: _known(client, run) for key, run in found.items()}
            self._client = client
        return self._client

    def _sync_study(self, client: MlflowClient, view: ExperimentView) -> _Known:
        parent = self._run(client, STUDY, view.key, lambda: (view.name, round(1000 * time.time()), git_tags()))
        best, points = content.best_of_study(view), []
        if view.best and parent.lacks(best, *best):
            # At the number of epochs and failures behind it, the best figure so far makes a curve that only goes on.
            behind = sum(len(trial.epochs) + (trial.state == "failed") for trial in view.trials)
            points = content.best_points(best, view.best.epochs, behind)
        _send(client, parent, [points], content.study_params(view), content.study_tags(view))
        _upload_study(client, parent, view.folder / "spec.json")
        _upload_report(client, parent, view.folder / PAGE)
        return parent

    def _run_of(self, client: MlflowClient, view: ExperimentView, trial: TrialView, parent_id: str) -> str:
        settled, run_id = self._settled.get(trial.number, (None, ""))
        return run_id if settled is trial else self._sync_trial(client, view, trial, parent_id)

    def _sync_trial(self, client: MlflowClient, view: ExperimentView, trial: TrialView, parent_id: str) -> str:
        below = {"mlflow.parentRunId": parent_id}

        def description() -> tuple[str, int, dict[str, str]]:
            return trial_title(trial.number, trial.values), content.begun_at(trial.epochs), below

        run = self._run(client, TRIAL, f"{view.key}/{trial.number}", description)
        groups = [content.epoch_points(epoch) for epoch in trial.epochs if epoch.number not in run.steps]
        best = content.best_of_trial(view, trial)
        if trial.best_epoch and run.lacks(best, *best):
            # First, because MLflow's compare view starts with the metric that a run logged first.
            groups.insert(0, content.best_points(best, trial.epochs, trial.best_epoch))
        _send(client, run, groups, content.trial_params(trial), {**content.trial_tags(trial), **below})
        whole = trial.state not in content.ENDED or _upload_trial(client, run, trial)
        _set_status(client, run, content.trial_status(view, trial), trial)
        if whole:
            self._settled[trial.number] = trial, run.run_id
        return run.run_id

    def _run(
        self, client: MlflowClient, tag: str, key: str, description: Callable[[], tuple[str, int, dict[str, str]]]
    ) -> _Known:
        """The run with this tag; made from its `description` (title, begin in ms, more tags) if there is none."""
        known = self._runs.get(f"{tag}={key}")
        if known is None:
            title, begun, tags = description()
            made = client.create_run(self._experiment_id, begun, {tag: key, **tags}, title)
            known = self._runs[f"{tag}={key}"] = _known(client, made)
        return known


def _experiment(client: MlflowClient, name: str, store: Store) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        location = store.artifact_root.as_uri() if store.artifact_root else None
        return client.create_experiment(name, artifact_location=location)
    if found.lifecycle_stage == "deleted":  # it still holds the name
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def _raypose_runs(client: MlflowClient, experiment_id: str) -> dict[str, Run]:
    """The run of each of our tags.

    A server that makes a run after its client has stopped waiting for the answer leaves a second one; here it shows,
    and is deleted. The one that holds more stays, or the older one; whatever it lacks is sent anew.
    """
    runs: dict[str, Run] = {}
    found = sorted(_active_runs(client, experiment_id), key=lambda run: (-len(run.data.metrics), run.info.start_time))
    for run in found:
        for key in [f"{tag}={run.data.tags[tag]}" for tag in (STUDY, TRIAL) if tag in run.data.tags]:
            if runs.setdefault(key, run) is not run:
                client.delete_run(run.info.run_id)
                _log.info("MLflow held two runs of %s; %s was deleted", key, run.info.run_id)
    return runs


def _active_runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    token: str | None = ""
    while token is not None:
        page = client.search_runs([experiment_id], page_token=token or None)
        yield from page
        token = page.token or None


def _known(client: MlflowClient, run: Run) -> _Known:
    data, run_id = run.data, run.info.run_id
    marks = client.get_metric_history(run_id, "epoch") if "epoch" in data.metrics else []
    steps = {mark.step for mark in marks}
    return _Known(run_id, run.info.status, dict(data.params), dict(data.tags), dict(data.metrics), steps)


def _send(
    client: MlflowClient,
    run: _Known,
    groups: Sequence[list[Metric]],
    params: dict[str, str],
    tags: dict[str, str | None],
) -> None:
    """Send the params and tags that differ, and all the metrics in batches that never split a group."""
    new_params = {key: value for key, value in params.items() if key not in run.params}
    new_tags = {key: value for key, value in tags.items() if value is not None and run.tags.get(key) != value}
    batches = list(_packed(groups))
    for metrics in batches or ([[]] if new_params or new_tags else []):
        client.log_batch(run.run_id, metrics, _params(new_params), _tags(new_tags))
        run.steps.update(point.step for point in metrics if point.key == "epoch")
        run.metrics.update({point.key: point.value for point in metrics})
        run.params.update(new_params)
        run.tags.update(new_tags)
        new_params, new_tags = {}, {}
    for key in [key for key, value in tags.items() if value is None and key in run.tags]:
        client.delete_tag(run.run_id, key)
        del run.tags[key]


def _packed(groups: Sequence[list[Metric]]) -> Iterator[list[Metric]]:
    batch: list[Metric] = []
    for group in groups:
        if batch and len(batch) + len(group) > _BATCH:
            yield batch
            batch = []
        batch = batch + group
    if batch:
        yield batch


def _params(values: dict[str, str]) -> list[Param]:
    return [Param(key, value) for key, value in values.items()]


def _tags(values: dict[str, str]) -> list[RunTag]:
    return [RunTag(key, value) for key, value in values.items()]


def _upload_study(client: MlflowClient, parent: _Known, spec: Path) -> None:
    if _ARTIFACTS not in parent.tags and spec.is_file():
        client.log_artifact(parent.run_id, str(spec))
        client.log_dict(parent.run_id, environment(), "environment.json")
        _send(client, parent, [], {}, {_ARTIFACTS: "spec.json,environment.json"})


def _upload_report(client: MlflowClient, parent: _Known, page: Path) -> None:
    """Upload the page of an experiment at its end, again if it was written anew."""
    mark = str(page.stat().st_mtime_ns) if page.is_file() else None
    if mark and parent.tags.get(_REPORT) != mark:
        client.log_artifact(parent.run_id, str(page))
        _send(client, parent, [], {}, {_REPORT: mark})


def _upload_trial(client: MlflowClient, run: _Known, trial: TrialView) -> bool:
    """Upload the trial's files once; the tag follows the last of them, so that a kill in between repeats them.

    False while some of them are still to come.
    """
    if run.tags.get(_ARTIFACTS) == str(trial.best_epoch):
        return True
    files = content.trial_files(trial)
    mark = content.files_mark(trial, files)
    if files and run.tags.get(_ARTIFACTS) != mark:
        for path, folder in files:
            client.log_artifact(run.run_id, str(path), folder or None)
        _send(client, run, [], {}, {_ARTIFACTS: mark})
    return mark == str(trial.best_epoch)


def _set_status(client: MlflowClient, run: _Known, status: str, trial: TrialView | None) -> None:
    if run.status == status:
        return
    if status == "RUNNING":
        client.update_run(run.run_id, status)
    else:
        ended = content.finished_at(trial.epochs[-1]) if trial and trial.epochs else None
        client.set_terminated(run.run_id, status, ended)
    run.status = status

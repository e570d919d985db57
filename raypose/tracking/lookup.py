"""What MLflow holds already of an experiment: its id, made if there is none, and its runs. Runs in: driver."""

import logging
from collections.abc import Iterator, Sequence

from mlflow import MlflowClient
from mlflow.entities import Run

from raypose.record.view import ExperimentView
from raypose.tracking.saved_views import saved_views
from raypose.tracking.store import Store

_log = logging.getLogger(__name__)


def experiment_id(client: MlflowClient, view: ExperimentView, store: Store) -> str:
    """Its id; it is given its saved views, of which one that a person has changed stays as it is."""
    found = client.get_experiment_by_name(view.name)
    if found is None:
        location = store.artifact_root.as_uri() if store.artifact_root else None
        return client.create_experiment(view.name, artifact_location=location, tags=saved_views(view))
    if found.lifecycle_stage == "deleted":  # it still holds the name
        client.restore_experiment(found.experiment_id)
    for key, value in saved_views(view).items():
        if key not in found.tags:
            client.set_experiment_tag(found.experiment_id, key, value)
    return found.experiment_id


def tagged_runs(client: MlflowClient, experiment: str, tags: Sequence[str]) -> dict[str, Run]:
    """The run of each of these tags' values, by `tag=value`.

    A server that makes a run after its client has stopped waiting for the answer leaves a second one; here it shows,
    and is deleted. The one that holds more stays, or the older one; whatever it lacks is sent anew.
    """
    runs: dict[str, Run] = {}
    found = sorted(_active_runs(client, experiment), key=lambda run: (-len(run.data.metrics), run.info.start_time))
    for run in found:
        for key in [f"{tag}={run.data.tags[tag]}" for tag in tags if tag in run.data.tags]:
            if runs.setdefault(key, run) is not run:
                client.delete_run(run.info.run_id)
                _log.info("MLflow held two runs of %s; %s was deleted", key, run.info.run_id)
    return runs


def _active_runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    token: str | None = ""
    while token is not None:
        page = client.search_runs([experiment], page_token=token or None)
        yield from page
        token = page.token or None

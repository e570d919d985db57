"""The page of an experiment among the artifacts of its run. Runs in: driver, command line."""

from pathlib import Path

from raypose.record.view import PAGE, ExperimentView
from raypose.tracking.store import Store, damage, without_password


def keep_report(store: Store, view: ExperimentView, page: Path) -> str | None:
    """Keep the page as `report.html` of the experiment's parent run, in the place of an earlier one.

    Makes no run and no database, so that it may be called beside a running mirror. Returns what was wrong, if anything:
    MLflow fails in the ways of its database, its server, the network and the disk, and a page is not worth a failure.
    """
    if store.database and not store.database.exists():
        return f"{store.database}: no such database yet"
    try:
        return _keep(store, view, page)
    except Exception as error:  # noqa: BLE001
        return damage(store) or without_password(f"{type(error).__name__}: {error}".splitlines()[0])


def _keep(store: Store, view: ExperimentView, page: Path) -> str | None:
    from raypose.tracking.client import connect  # here, as MLflow takes two seconds
    from raypose.tracking.mirror import STUDY

    client = connect(store)
    experiment = client.get_experiment_by_name(view.name)
    runs = client.search_runs([experiment.experiment_id], f"tags.`{STUDY}` = '{view.key}'") if experiment else []
    if not runs:
        return f"no run of {view.name}; `raypose restore {view.name}` makes it"
    client.log_text(runs[0].info.run_id, page.read_text(encoding="utf-8"), PAGE)
    return None

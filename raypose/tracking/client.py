"""A client of MLflow for a store, with the store's database made on the first call. Runs in: driver."""

import logging
import os
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from raypose.tracking.store import Store, sqlite_uri


def connect(store: Store) -> MlflowClient:
    """A client for `store`; makes its SQLite database if there is none."""
    # What goes wrong is raised and then told once by us; these would repeat it with a traceback at every retry.
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.CRITICAL)
    if store.database and store.artifact_root and not store.database.exists():
        _create(store.database, store.artifact_root)
    return MlflowClient(tracking_uri=store.uri, registry_uri=store.uri)


def _create(database: Path, artifact_root: Path) -> None:
    """Make the database aside and rename it into place.

    MLflow's migrations are not one transaction: a process killed in the middle of them, or a second one that starts
    them at the same time, leaves a database that MLflow can never open again.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        if database.exists():
            return
        for left_over in database.parent.glob(f"{database.name}.new-*"):
            left_over.unlink()
        # Named by the process: MLflow keeps a connection to every address that it ever opened.
        unborn = database.with_name(f"{database.name}.new-{os.getpid()}")
        made = SqlAlchemyStore(sqlite_uri(unborn), artifact_root.as_uri())  # type: ignore[no-untyped-call]
        made.engine.dispose()
        journal = Path(f"{database}-journal")
        if journal.exists():  # of a database that was moved away: SQLite would write its pages into the new one
            os.replace(journal, f"{journal}.old")
        os.replace(unborn, database)
        # Likewise connections of this process would go on with the file that was moved away.
        SqlAlchemyStore._get_or_create_engine(sqlite_uri(database)).dispose()

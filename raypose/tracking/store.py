"""Where MLflow keeps its runs. Runs in: driver, command line."""

import os
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from raypose.errors import InputError

_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Store:
    """An MLflow store; `artifact_root` is None where a tracking server decides about artifacts itself."""

    uri: str
    artifact_root: Path | None

    @property
    def is_server(self) -> bool:
        """Whether MLflow is reached over HTTP, or else through a database."""
        return urlsplit(self.uri).scheme in ("http", "https")

    @property
    def database(self) -> Path | None:
        """The file of an SQLite store."""
        if not self.uri.startswith(_SQLITE):
            return None
        return Path(unquote(self.uri.removeprefix(_SQLITE).partition("?")[0]))

    @property
    def address(self) -> str:
        """The URI as people may see it: without user and password."""
        return without_password(self.uri)


def without_password(text: str) -> str:
    """The text, in which addresses may stand, without their users and passwords."""
    return re.sub(r"://[^/?#\s]*@", "://", text)


def sqlite_uri(database: Path) -> str:
    """The URI of an SQLite file; SQLAlchemy decodes it, but takes a space and other characters as they are."""
    return _SQLITE + str(database).replace("%", "%25").replace("?", "%3F")


def open_store(mlruns: Path) -> Store:
    """The store that MLFLOW_TRACKING_URI names, or else ``mlflow.db`` and ``artifacts/`` in `mlruns`; touches nothing.

    Raises:
        InputError: MLFLOW_TRACKING_URI names a folder, which MLflow keeps no runs in any more.
    """
    mlruns = mlruns.absolute()
    store = Store(os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(mlruns / "mlflow.db"), mlruns / "artifacts")
    if urlsplit(store.uri).scheme in ("", "file"):
        raise InputError(
            f"MLFLOW_TRACKING_URI={store.address}: MLflow keeps no runs in plain folders; "
            "unset it, or name a database (sqlite:////absolute/mlflow.db) or a server (http://...)"
        )
    return Store(store.uri, None) if store.is_server else store


def damage(store: Store) -> str | None:
    """What is wrong with an SQLite file and what to do; None if it is sound, or locked, or there is none."""
    if not store.database or not store.database.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{store.database.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as opened:
            found = str(opened.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError:  # locked, or not to be read: that is told by MLflow's own error
        return None
    except sqlite3.DatabaseError as fault:
        found = str(fault)
    return None if found == "ok" else f"{store.database} is damaged ({found}): move it away"

"""Where Optuna keeps a study, and what each trial keeps beside its epochs, so that the database can be made anew.

Runs in: driver.
"""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, TypedDict, cast

import optuna
from optuna.trial import FrozenTrial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from raypose.errors import SpecError
from raypose.record.files import read_whole, write_json
from raypose.record.points import Point
from raypose.record.trial_view import STATES

TRIAL = "trial.json"


class KeptTrial(TypedDict):
    """What a trial's folder tells of it besides its epochs: its values as a point, and how it ended, if it has."""

    point: Point
    attempts: int
    state: str
    error: str | None


def check_storage(url: str) -> None:
    """Raise SpecError unless a study can be kept there; its password, if any, would be saved with the specification."""
    if url == "auto":
        return
    if re.search(r"://[^/?#@]*:[^/?#]*@", url):
        raise SpecError(["search.storage: leave the password out, it would be saved; PostgreSQL reads PGPASSWORD"])
    try:
        place = make_url(url)
        if place.get_backend_name() == "sqlite":
            _check_file(url, Path(place.database or ""))
        else:
            optuna.storages.get_storage(url)
    except (SQLAlchemyError, ImportError, ValueError) as fault:
        raise SpecError([f"search.storage: '{url}' cannot be used: {str(fault).partition(chr(10))[0]}"]) from fault


def _check_file(url: str, file: Path) -> None:
    """Without making it: the experiment may still be refused."""
    if not file.is_absolute() or not file.parent.is_dir():
        raise SpecError([f"search.storage: '{url}': give the absolute path of a file in a folder that is there"])
    if not is_sound(file):
        raise SpecError([f"search.storage: '{url}': no SQLite database, or a damaged one"])


def is_sound(database: Path) -> bool:
    """Whether SQLite finds nothing wrong with a study's database; one that is not there yet is sound."""
    if not database.exists():
        return True
    try:  # opened to write: a transaction that a kill cut off is rolled back first
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
            return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.OperationalError:  # locked, or not to be opened: that is Optuna's to tell
        return True
    except sqlite3.DatabaseError:
        return False


def kept_of(trial: FrozenTrial) -> KeptTrial:
    """What is to be kept of a trial as the study knows it."""
    attrs = trial.user_attrs
    point: Any = {key: attrs[key] for key in Point.__optional_keys__ if key in attrs}
    return {
        "point": point | {"given": attrs["values"]},
        "attempts": attrs.get("attempts", 0),
        "state": STATES[trial.state],
        "error": attrs.get("error"),
    }


def keep_trial(trial: Path, kept: KeptTrial) -> None:
    """Write down in a trial's folder what only the database knows, unless it stands there already."""
    if read_whole(trial / TRIAL) != kept:
        trial.mkdir(parents=True, exist_ok=True)
        write_json(trial / TRIAL, kept)


def kept_trial(trial: Path) -> KeptTrial | None:
    """What a trial's folder tells of it; None if that is damaged or not there."""
    return cast(KeptTrial | None, read_whole(trial / TRIAL))

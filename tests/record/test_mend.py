"""A record that was cut or altered: seen by its digests, made good from what is whole, and told."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from raypose.errors import DamagedError
from raypose.record.epochs import last_whole, read_epochs
from raypose.record.files import read_json, read_whole, write_json
from raypose.record.mend import mended
from raypose.record.study import Study, read_view
from tests.record.conftest import Records

SPEC: dict[str, Any] = {
    "space": {"lr": {"log_uniform": [1e-4, 1e-1]}, "freeze": {"choice": ["none", "stem"]}},
    "search": {"trials": 5, "start": [{"lr": 0.5}]},
    "prune": {"pruner": "asha", "min_epochs": 1, "reduction": 2},
}
BASE = {"lr": 4e-3, "freeze": "none"}


def figures(trial: Any, epoch: int) -> dict[str, float]:
    return {"PCK": 50 + epoch - 100 * abs(trial.values["lr"] - 0.01)}


def told(view: Any) -> list[tuple[Any, ...]]:
    return [(t.state, t.values, t.seed, t.attempts, t.error, [e.metrics for e in t.epochs]) for t in view.trials]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage", [cut, lambda path: path.write_bytes(b"x" * 5000), lambda path: path.write_bytes(b"")]
)
def test_a_damaged_database_is_made_anew_from_the_trials_own_records(records: Records, damage: Any) -> None:
    folder = records.make(SPEC, BASE)
    study = records.run(folder, figures)
    study.finish(3, error="unused, for it has ended")
    before = told(read_view(folder))
    damage(folder.study_file)
    if folder.study_file.stat().st_size:  # an empty file is a new database to SQLite
        with pytest.raises(DamagedError, match=f"study.db: damaged; `raypose restore {folder.name}` mends it"):
            read_view(folder)
    lines = mended(folder.saved, folder)[1]
    assert told(read_view(folder)) == before
    assert len(lines) == 1 and "made anew from the trials' own records" in lines[0]
    assert (folder.path / "study.db.damaged-1").is_file()
    assert mended(folder.saved, folder)[1] == []


def test_a_trial_of_which_nothing_is_left_is_drawn_anew_and_the_others_stay(records: Records) -> None:
    folder = records.make(SPEC, BASE)
    records.run(folder, figures)
    before = told(read_view(folder))
    folder.study_file.write_bytes(b"x" * 5000)
    cut(folder.trial(3) / "trial.json")
    lines = mended(folder.saved, folder)[1]
    assert len(lines) == 2 and "0003.damaged-1: damaged; trial 3 is drawn and trained anew" in lines[1]
    after = told(read_view(folder))
    assert [*after[:3], *after[4:]] == [*before[:3], *before[4:]] and after[3][0] == "running" and not after[3][5]
    records.run(folder, figures)
    assert read_view(folder).state == "finished"


def test_unfinished_trials_go_on_from_what_is_whole_and_the_loss_is_told(records: Records) -> None:
    folder = records.make({**SPEC, "prune": {"pruner": "none"}}, BASE)
    study = Study(folder.saved, folder)
    study.fill_queue()
    trial = study.next_trial()
    assert trial is not None
    for epoch in (1, 2):
        records.commit(folder.trial(0), epoch, figures(trial, epoch))
        study.add_epoch(0, read_epochs(folder.trial(0))[-1])
    assert mended(folder.saved, folder)[1] == []
    (folder.trial(0) / "epoch_0002" / "state").write_bytes(b"y")
    assert mended(folder.saved, folder)[1] == [
        f"{folder.trial(0) / 'epoch_0002'}: damaged checkpoint; trial 0 goes on from what is whole"
    ]
    cut(folder.trial(0) / "epoch_0001" / "meta.json")
    assert read_epochs(folder.trial(0)) == () and len(mended(folder.saved, folder)[1]) == 2


def test_what_was_to_be_freed_stays_while_the_epoch_after_it_is_damaged(records: Records) -> None:
    folder = records.make({**SPEC, "prune": {"pruner": "none"}}, BASE)
    study = Study(folder.saved, folder)
    study.fill_queue()
    trial, home = study.next_trial(), folder.trial(0)
    assert trial is not None
    for epoch in (1, 2):  # killed before the first was freed
        records.commit(home, epoch, figures(trial, epoch))
    (home / "epoch_0002" / "state").write_bytes(b"y")
    mended(folder.saved, folder)
    whole = last_whole(home)
    assert whole is not None and whole.number == 1
    records.commit(home, 2, figures(trial, 2))
    mended(folder.saved, folder)
    assert [epoch.has_weights for epoch in read_epochs(home)] == [False, True]


def test_json_tells_when_it_was_cut_or_altered(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    value = {"b": [1, 2.5, None], "a": {"x": "ü", "1": 1e-300}}
    write_json(file, value)
    assert read_json(file) == value
    text = file.read_text()
    for wrong in (text[:-20], text.replace("2.5", "2.6"), "", "[]", "{}", "null", json.dumps(value)):
        file.write_text(wrong)
        assert read_whole(file) is None
        with pytest.raises(DamagedError, match="a.json: damaged; put it back from a copy"):
            read_json(file)
    with pytest.raises(FileNotFoundError):
        read_json(shutil.move(file, tmp_path / "b.json") and file)

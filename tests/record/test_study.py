"""The study says what to try; after any crash it goes on with the same trials, values and verdicts."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from raypose.errors import SpecError
from raypose.record.epochs import commit_epoch, read_epochs, staging_folder
from raypose.record.folder import ExperimentFolder, create_experiment
from raypose.record.storage import check_storage
from raypose.record.study import Study, read_view
from raypose.space.load import parse_spec
from raypose.space.trial import Trial

SPACE: dict[str, Any] = {
    "lr": {"log_uniform": [1e-4, 1e-1]},
    "freeze": {"choice": ["none", "stem", "backbone"]},
}
BASE: dict[str, Any] = {"lr": 4e-3, "freeze": "none"}
EPOCHS = 9


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "space": SPACE,
        "search": {"trials": 10, **changes.pop("search", {})},
        "prune": {"pruner": "none", "min_epochs": 1, **changes.pop("prune", {})},
        "train": {"epochs": EPOCHS},
        **changes,
    }


def make(root: Path, base: Mapping[str, Any] = BASE, **changes: Any) -> ExperimentFolder:
    experiment = parse_spec(spec(**changes)).model_dump(mode="json")
    return create_experiment(root, None, "lr", {"uid": "a1b2", "experiment": experiment, "base_values": dict(base)})


def open_study(folder: ExperimentFolder) -> Study:
    study = Study(folder.saved, folder)
    study.fill_queue()
    return study


def figure(trial: Trial, epoch: int) -> float:
    """A learning curve that knows which values are good: an lr near 0.01, nothing frozen."""
    lr, frozen = float(str(trial.values["lr"])), trial.values["freeze"] != "none"
    return 80.0 * (1 - abs(lr - 0.01)) * (1 - 0.5**epoch) - 20.0 * frozen


def train(study: Study, trial: Trial, until: int = EPOCHS) -> bool:
    """Commit epochs as a worker does and record them as the driver does; true when the trial has been told its end."""
    study.begin_attempt(trial.number, 1)
    home = study.folder.trial(trial.number)
    for number in range(len(read_epochs(home)) + 1, until + 1):
        commit(home, number, figure(trial, number))
        if study.add_epoch(trial.number, read_epochs(home)[number - 1]):
            study.finish(trial.number, pruned=True)
            return True
    if until == EPOCHS:
        study.finish(trial.number)
    return until == EPOCHS


def commit(home: Path, number: int, value: float) -> None:
    staging = staging_folder(home, number)
    (staging / "state").write_bytes(b"x")
    commit_epoch(staging, number, {"PCK": value}, 1.0)


def run_all(study: Study) -> None:
    while (trial := study.next_trial()) is not None:
        if not study.catch_up(trial.number):
            train(study, trial)


def test_trial_0_is_the_base_config_and_the_total_is_kept(tmp_path: Path) -> None:
    folder = make(tmp_path)
    run_all(open_study(folder))
    view = read_view(folder)
    assert view.state == "finished" and len(view.trials) == 10
    assert view.trials[0].values == BASE
    assert all(t.state == "complete" and t.attempts == 1 and len(t.epochs) == EPOCHS for t in view.trials)
    assert view.best is not None and view.best.best == max(t.best for t in view.trials if t.best is not None)


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_a_study_opened_again_goes_on_as_if_nothing_had_happened(tmp_path: Path, sampler: str) -> None:
    whole, broken = (
        make(tmp_path / "whole", search={"sampler": sampler}),
        make(tmp_path / "broken", search={"sampler": sampler}),
    )
    run_all(open_study(whole))
    for cut in (1, 4, EPOCHS, 2, 7, 3):
        study = open_study(broken)
        trial = study.next_trial()
        assert trial is not None
        if not study.catch_up(trial.number):
            train(study, trial, until=cut)
    run_all(open_study(broken))
    reference, restored = read_view(whole), read_view(broken)
    assert [t.values for t in restored.trials] == [t.values for t in reference.trials]
    assert [[e.metrics for e in t.epochs] for t in restored.trials] == [
        [e.metrics for e in t.epochs] for t in reference.trials
    ]
    assert sum(t.attempts for t in restored.trials) > len(restored.trials)


def test_epochs_on_disk_that_the_study_has_not_seen_are_taken_over(tmp_path: Path) -> None:
    folder = make(tmp_path)
    study = open_study(folder)
    trial = study.next_trial()
    assert trial is not None
    for number in range(1, EPOCHS + 1):  # the driver died before it heard of any of them
        commit(folder.trial(0), number, 10.0 + number)
    again = open_study(folder)
    assert again.next_trial() == trial
    assert again.catch_up(0)
    view = read_view(folder)
    assert view.trials[0].state == "complete" and view.trials[0].best == 10.0 + EPOCHS
    stored = optuna.load_study(study_name=f"{folder.name}.a1b2", storage=folder.study_url).trials[0]
    assert stored.intermediate_values == {n: 10.0 + n for n in range(1, EPOCHS + 1)}


def test_pruned_trials_are_told_pruned_with_their_epochs(tmp_path: Path) -> None:
    folder = make(tmp_path, prune={"pruner": "asha", "min_epochs": 1, "reduction": 3})
    run_all(open_study(folder))
    view = read_view(folder)
    pruned = [t for t in view.trials if t.state == "pruned"]
    assert pruned and all(len(t.epochs) < EPOCHS for t in pruned)
    stored = optuna.load_study(study_name=f"{folder.name}.a1b2", storage=folder.study_url).trials
    assert {t.number for t in stored if t.state.name == "PRUNED"} == {t.number for t in pruned}


def test_a_failed_trial_keeps_its_reason_and_is_not_the_best(tmp_path: Path) -> None:
    folder = make(tmp_path, search={"trials": 2})
    study = open_study(folder)
    first = study.next_trial()
    assert first is not None
    study.begin_attempt(0, 1)
    study.finish(0, error="DivergedError: the loss is not finite in epoch 1, step 3")
    run_all(study)
    view = read_view(folder)
    assert [t.state for t in view.trials] == ["failed", "complete"]
    assert view.trials[0].error == "DivergedError: the loss is not finite in epoch 1, step 3"
    assert view.best is not None and view.best.number == 1


def test_base_values_outside_the_space_are_tried_and_kept_out_of_the_sampler(tmp_path: Path) -> None:
    base = {"lr": 0.5, "freeze": "norms"}
    folder = make(tmp_path, base=base, search={"trials": 6})
    run_all(open_study(folder))
    view = read_view(folder)
    assert view.trials[0].values == base
    assert all(1e-4 <= float(str(t.values["lr"])) <= 0.1 for t in view.trials[1:])
    assert all(t.values["freeze"] in ("none", "stem", "backbone") for t in view.trials[1:])


def test_a_grid_is_walked_once_and_ends(tmp_path: Path) -> None:
    space = {"lr": {"choice": [1e-3, 1e-2]}, "freeze": {"choice": ["none", "stem", "backbone"]}}
    folder = make(tmp_path, space=space, search={"sampler": "grid", "trials": 50})
    run_all(open_study(folder))
    view = read_view(folder)
    points = [tuple(t.values.values()) for t in view.trials[1:]]
    assert view.state == "finished" and len(points) == len(set(points)) == 6


def test_a_trial_cut_off_between_two_draws_ends_with_the_same_values(tmp_path: Path) -> None:
    whole, cut = make(tmp_path / "whole"), make(tmp_path / "cut")
    expected = open_study(whole).next_trial()
    study = open_study(cut)
    trial = study._study.ask()  # as far as a driver gets that dies before the first value is drawn
    assert trial.number == 0
    assert open_study(cut).next_trial() == expected


def test_looking_changes_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path)
    read_view(folder)
    assert read_view(folder).trials == ()
    study = open_study(folder)
    assert [t.state for t in read_view(folder).trials] == ["waiting"]
    assert study.next_trial() is not None
    assert [t.state for t in read_view(folder).trials] == ["running"]


def test_messages_heard_twice_or_too_late_change_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path)
    study = open_study(folder)
    trial = study.next_trial()
    assert trial is not None
    study.begin_attempt(0, 1)
    study.begin_attempt(0, 1)
    train(study, trial)
    before = read_view(folder).trials[0]
    study.begin_attempt(0, 2)
    assert study.add_epoch(0, before.epochs[3])
    study.finish(0, error="too late")
    assert read_view(folder).trials[0] == before
    assert before.attempts == 1


def test_run_ids_are_kept_also_of_finished_trials(tmp_path: Path) -> None:
    folder = make(tmp_path, search={"trials": 2})
    study = open_study(folder)
    run_all(study)
    study.set_run_ids({0: "aa", 1: "bb"})
    assert [t.run_id for t in read_view(folder).trials] == ["aa", "bb"]


def test_a_grid_killed_before_its_first_row_is_not_finished(tmp_path: Path) -> None:
    space = {"lr": {"choice": [1e-3, 1e-2]}}
    folder = make(tmp_path, space=space, search={"sampler": "grid", "trials": 50})
    view = read_view(folder)
    assert (view.state, view.total, view.trials) == ("interrupted", 3, ())


URLS = ("foo", "postgresql+nix://localhost/db", "postgresql://me:secret@localhost/db", "sqlite://", "sqlite:///x.db")


@pytest.mark.parametrize("url", URLS)
def test_a_storage_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match="search.storage"):
        check_storage(url)


def test_the_base_config_is_never_pruned(tmp_path: Path) -> None:
    bad = {"lr": 1e-1, "freeze": "stem"}
    folder = make(tmp_path, base=bad, prune={"pruner": "median", "min_epochs": 1})
    study = open_study(folder)
    trials = [study.next_trial() for _ in range(5)]
    for trial in reversed(trials):
        assert trial is not None
        train(study, trial)
    base, *others = read_view(folder).trials
    assert base.state == "complete" and len(base.epochs) == EPOCHS
    assert base.best is not None and base.best < statistics.median(t.best for t in others if t.best is not None)

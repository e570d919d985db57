"""No trial of a search trains what another one has; where a space holds no more, the search ends and says so."""

import itertools
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from rich.console import Console

from raypose.display.frame import frame
from raypose.display.tables import summary
from raypose.errors import InputError
from raypose.record.distinct import Tried, left
from raypose.record.extend import extend
from raypose.record.folder import ExperimentFolder
from raypose.record.mend import mended
from raypose.record.points import different, imported, own_trials
from raypose.record.study import Study, read_view
from raypose.record.view import ExperimentView
from raypose.space.load import parse_spec
from raypose.space.trial import Trial
from raypose.tuning.plan import draw
from tests.record.conftest import Records

SETS = ["none", "stem", "stage1", "stage2", "stage3", "backbone"]
FREEZE: dict[str, Any] = {"freeze": {"choice": SETS}}
BASE: dict[str, Any] = {"freeze": "none"}
SEVERAL: dict[str, Any] = {
    "lr_mult.backbone": {"choice": [0.1, 1.0], "when": {"freeze": "none"}},
    "freeze": {"choice": ["none", "stem"]},
    "lr": {"choice": [1e-3, 4e-3]},
}
SEVERAL_BASE: dict[str, Any] = {"lr": 4e-3, "freeze": "none", "lr_mult.backbone": 1.0}


def pck(trial: Trial, epoch: int) -> dict[str, float]:
    """A figure that follows from the values, best in the middle of the list."""
    return {"PCK": 50.0 - abs(SETS.index(str(trial.values.get("freeze", "stem"))) - 2) + epoch}


def spec(space: Mapping[str, Any] = FREEZE, **search: Any) -> dict[str, Any]:
    return {"space": dict(space), "search": {"trials": 12, **search}}


def tried(view: ExperimentView) -> list[tuple[Any, ...]]:
    return [tuple(sorted(trial.values.items())) for trial in view.trials]


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_a_search_over_few_choices_tries_each_once_and_says_that_there_are_no_more(
    records: Records, sampler: str
) -> None:
    folder = records.make(spec(sampler=sampler), BASE)
    assert read_view(folder).total == 6, "known before it begins"
    records.run(folder, pck)
    view = read_view(folder)
    assert sorted(str(trial.values["freeze"]) for trial in view.trials) == sorted(SETS)
    assert (view.state, view.total, view.different) == ("finished", 6, 6)
    assert "the space holds no more than 6 different trials to train (search.trials: 12)" in summary(view)
    assert _text(view).startswith("trials        6 of 6 ended, 0 begun, all that the space holds")


def _text(view: ExperimentView) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(frame(view, 0).renderables[1])
    return captured.get()


def test_values_of_the_base_config_that_could_not_be_drawn_come_on_top(records: Records) -> None:
    view = records.run(records.make(spec(), {"freeze": "norms"}), lambda trial, epoch: {"PCK": epoch}).view(False)
    assert (view.total, len(set(tried(view)))) == (7, 7)
    exactly = records.make(spec(trials=6), BASE)
    assert (read_view(exactly).total, read_view(exactly).different) == (6, None), "as many as are asked for"


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "cmaes"])
def test_knobs_under_conditions_and_steps_of_a_range_are_counted_as_they_can_exist(
    records: Records, sampler: str
) -> None:
    space = {**SEVERAL, "lr": {"uniform": [0.1, 0.4], "step": 0.1}}
    view = records.run(
        records.make(spec(space, trials=40, sampler=sampler), {**SEVERAL_BASE, "lr": 0.3}),
        lambda trial, epoch: {"PCK": float(epoch) + len(trial.values)},
    ).view(False)
    assert view.state == "finished" and view.total == len(view.trials) == len(set(tried(view))) == 4 * (2 + 1)


def test_trials_that_run_at_once_or_have_failed_are_not_tried_again(records: Records) -> None:
    folder = records.make(spec(), BASE)
    study = Study(folder.saved, folder)
    study.fill_queue()
    together = [study.next_trial() for _ in range(4)]
    for trial in together:
        assert trial
        study.begin_attempt(trial.number, 1)
        study.finish(trial.number, error="DivergedError: the loss is not finite")
    records.run(folder, pck)
    view = read_view(folder)
    assert len(set(tried(view))) == len(view.trials) == 6 and view.state == "finished"
    assert Counter(trial.state for trial in view.trials) == {"failed": 4, "complete": 2}


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_cut_off_anywhere_it_draws_the_same_again(records: Records, sampler: str) -> None:
    whole, broken = (records.make(spec(SEVERAL, sampler=sampler), SEVERAL_BASE) for _ in range(2))
    records.run(whole, pck)
    for _ in range(6):
        study = Study(broken.saved, broken)  # as after a kill
        study.fill_queue()
        trial = study.next_trial()
        again = Study(broken.saved, broken).next_trial()
        assert trial == again and trial is not None
        records.train(study, trial, pck)
    assert tried(read_view(broken)) == tried(read_view(whole)) and read_view(broken).state == "finished"
    before = tried(read_view(whole))
    whole.study_file.write_bytes(b"SQLite format 3\0 no more")
    mended(whole.saved, whole)
    assert (tried(read_view(whole)), read_view(whole).state) == (before, "finished")


def test_what_was_taken_back_is_not_in_the_database(records: Records) -> None:
    folder = records.make(spec(SEVERAL), SEVERAL_BASE)
    records.run(folder, pck)
    stored = optuna.load_study(study_name=f"{folder.name}.a1b2", storage=folder.study_url).trials
    for trial, view in zip(stored, read_view(folder).trials, strict=True):
        assert trial.params == view.values


def test_a_starting_point_that_says_nothing_new_is_left_out_and_an_open_one_becomes_something_new(
    records: Records,
) -> None:
    stem = {"freeze": "stem", "lr": 1e-3}
    start = [SEVERAL_BASE, {"freeze": "stem"}, stem, stem]
    folder = records.make(spec(SEVERAL, start=start), SEVERAL_BASE)
    view = records.run(folder, pck).view(False)
    assert tried(view)[:3] == [tuple(sorted(v.items())) for v in (SEVERAL_BASE, {"freeze": "stem", "lr": 4e-3}, stem)]
    assert len(set(tried(view))) == view.total == 6


def test_what_nobody_can_draw_anew_is_trained_as_it_was_given(records: Records) -> None:
    folder = records.make(spec(SEVERAL, start=[{"freeze": "stem"}] * 3), SEVERAL_BASE)
    view = records.run(folder, pck).view(False)
    assert [trial.values["freeze"] for trial in view.trials[1:4]] == ["stem"] * 3
    assert view.state == "finished"


def take_over(records: Records, other: ExperimentFolder, ours: dict[str, Any], base: Any) -> ExperimentFolder:
    points = imported(
        parse_spec({"train": {"epochs": 3}, "prune": {"pruner": "none"}, **ours}), "d", read_view(other), "d"
    )
    return records.make(ours, base, imported=points)


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_what_was_taken_over_is_not_trained_again(records: Records, sampler: str) -> None:
    other = records.make(spec({"freeze": {"choice": SETS[:4]}}), BASE)
    records.run(other, pck)
    ours = take_over(records, other, spec(sampler=sampler), BASE)
    view = records.run(ours, pck).view(False)
    trained = [trial.values["freeze"] for trial in view.trials if trial.source is None]
    assert trained[0] == "none" and sorted(trained[1:]) == ["backbone", "stage3"]  # the base config is, in any case
    assert (view.state, view.total) == ("finished", 3 + 4)
    nothing_new = take_over(records, ours, spec(), BASE)
    assert own_trials(nothing_new.saved, parse_spec(nothing_new.saved["experiment"])) == 1


def test_a_grid_begins_with_what_a_starting_point_leaves_open(records: Records) -> None:
    folder = records.make(spec(SEVERAL, sampler="grid", start=[{"freeze": "stem"}]), SEVERAL_BASE)
    view = records.run(folder, pck).view(False)
    assert view.trials[1].values["freeze"] == "stem"
    assert len(set(tried(view))) == view.total == len(view.trials) == 6 and view.different is None


def test_a_space_that_is_used_up_takes_no_more_trials(records: Records) -> None:
    folder = records.make(spec(trials=4), BASE)
    records.run(folder, pck)
    view = extend(folder, trials=8)
    assert (view.total, view.different, view.state) == (6, 6, "interrupted")
    records.run(folder, pck)
    assert len(set(tried(read_view(folder)))) == 6
    with pytest.raises(InputError, match=r"--trials: the space holds no more than 6 different .*take these over"):
        extend(folder, trials=1)


def test_a_record_with_trials_that_were_trained_twice_is_as_long_as_it_is(records: Records) -> None:
    folder = records.make(spec(), BASE)
    study = Study(folder.saved, folder)
    study.fill_queue()
    for _ in range(9):  # as earlier versions drew them
        with study.together():
            study._enqueue({"given": {"freeze": "stem"}})
    records.run(folder, pck)
    assert study.total == 10 and study.drawn == 10
    view = read_view(folder)
    assert (view.total, view.state) == (10, "finished") and Study(folder.saved, folder).unfinished == 0


def test_a_plan_tells_as_many_trials_as_there_will_be() -> None:
    experiment = parse_spec(spec())
    assert different({"base_values": BASE}, experiment) == 6
    assert [trial.number for trial in draw(experiment, BASE, range(12))] == list(range(6))


@pytest.mark.parametrize(
    "space",
    [
        {"lr": {"log_uniform": [1e-4, 1e-1]}},
        {"train_cfg.val_interval": {"int_uniform": [1, 10**9]}},
        {"lr": {"log_uniform": [1e-4, 1e-1], "when": {"freeze": "none"}}, **FREEZE},
    ],
)
def test_a_space_that_nobody_can_use_up_is_looked_at_only_as_far_as_needed(space: dict[str, Any]) -> None:
    experiment = parse_spec(spec(space, trials=1000))
    assert different({"base_values": {}}, experiment) is None
    seen = Tried({})
    for _ in range(30):
        values = next(left(experiment, seen, {}, random.Random(0)))
        assert values not in seen
        assert all(space_of.contains(values[name]) for name, space_of in experiment.space.items() if name in values)
        seen.add(values)


def test_what_is_left_comes_by_chance_each_as_often(records: Records) -> None:
    experiment, seen = parse_spec(spec()), Tried({})
    seen.add({"freeze": "stem"})
    found = Counter(str(next(left(experiment, seen, {}, random.Random(seed)))["freeze"]) for seed in range(1000))
    assert set(found) == set(SETS) - {"stem"} and all(150 < times < 250 for times in found.values())


def test_one_value_has_one_text() -> None:
    seen = Tried({"a": 1})
    seen.add({"b": 0.1 + 0.2, "c": True})
    assert {"a": 1.0, "b": 0.3, "c": True} in seen
    others: list[dict[str, Any]] = [
        {"b": 0.3, "c": 1},
        {"b": 0.3, "c": "True"},
        {"b": 0.3},
        {"a": 2, "b": 0.3, "c": True},
    ]
    assert not any(values in seen for values in others)
    assert len(list(itertools.islice(left(parse_spec(spec(SEVERAL)), seen, {}, random.Random(0)), 99))) == 6

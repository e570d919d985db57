"""What a study is given, and what exists only under a condition: every trial has exactly the knobs it should have."""

import shutil
from typing import Any

import pytest

from raypose.display.tables import summary
from raypose.errors import SpecError
from raypose.record.files import write_json
from raypose.record.folder import ExperimentFolder
from raypose.record.points import imported
from raypose.record.study import Study, read_view
from raypose.space.load import parse_spec
from raypose.space.trial import Trial

LR = {"log_uniform": [1e-4, 1e-1]}
FREEZE = {"choice": ["none", "stem", "backbone"]}
MULT = {"log_uniform": [0.05, 1.0], "when": {"freeze": "none"}}
SPACE: dict[str, Any] = {"lr_mult.backbone": MULT, "lr": LR, "freeze": FREEZE}
BASE: dict[str, Any] = {"lr": 4e-3, "freeze": "none", "lr_mult.backbone": 1.0}


def pck(trial: Trial, epoch: int) -> dict[str, float]:
    return {"PCK": 50 - abs(float(str(trial.values["lr"])) - 0.01) * 100 + epoch}


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_a_conditional_knob_is_drawn_only_where_it_exists(records: Any, sampler: str) -> None:
    study = records.run(records.make({"space": SPACE, "search": {"trials": 20, "sampler": sampler}}, BASE), pck)
    trials = study.view(worked_on=False).trials
    assert trials[0].values == BASE
    assert {t.values["freeze"] for t in trials} == {"none", "stem", "backbone"}
    for trial in trials:
        assert ("lr_mult.backbone" in trial.values) == (trial.values["freeze"] == "none")


def test_a_grid_has_each_point_that_can_exist_once(records: Any) -> None:
    space = {
        "lr_mult.backbone": {"choice": [0.1, 1.0], "when": {"freeze": "none"}},
        "freeze": {"choice": ["none", "stem"]},
        "lr": {"choice": [1e-3, BASE["lr"]]},
    }
    search = {"sampler": "grid", "trials": 99, "start": [{"freeze": "stem", "lr": 1e-3}]}
    study = records.run(records.make({"space": space, "search": search}, BASE), pck)
    points = [tuple(sorted(t.values.items())) for t in study.view(worked_on=False).trials]
    assert len(points) == len(set(points)) == 2 * 2 + 2  # with trial 0 and the starting point, which are two of them


def test_one_drawn_value_drives_several_keys_but_trial_0_keeps_the_configs(records: Any) -> None:
    decay, momentum = "optim_wrapper.optimizer.weight_decay", "custom_hooks.EMAHook.momentum"
    space = {decay: {"uniform": [0.0, 0.1], "also": [momentum]}, "lr": LR}
    base = {decay: 0.05, momentum: 2e-4, "lr": 4e-3}
    trials = records.run(records.make({"space": space}, base), pck).view(worked_on=False).trials
    assert trials[0].values == base
    assert all(t.values[momentum] == t.values[decay] for t in trials[1:])
    assert len({t.values[decay] for t in trials}) == len(trials)


def test_starting_points_follow_trial_0_and_what_they_leave_open_is_drawn(records: Any) -> None:
    start = [{"lr": 0.5, "freeze": "stem"}, {"freeze": "none"}]  # the first lies outside the range, as trial 0 may
    trials = records.run(records.make({"space": SPACE, "search": {"trials": 5, "start": start}}, BASE), pck)
    views = trials.view(worked_on=False).trials
    assert len(views) == 5 and views[1].values == {"lr": 0.5, "freeze": "stem"}
    assert views[2].values["freeze"] == "none" and 1e-4 <= float(str(views[2].values["lr"])) <= 1e-1
    assert "lr_mult.backbone" in views[2].values


def take_over(records: Any, other: ExperimentFolder, spec: dict[str, Any], digest: str = "d") -> ExperimentFolder:
    points = imported(parse_spec({"train": {"epochs": 3}, **spec}), digest, read_view(other), "d")
    folder: ExperimentFolder = records.make(spec, BASE, imported=points)
    return folder


def two_figures(trial: Trial, epoch: int) -> dict[str, float]:
    lr = float(str(trial.values["lr"]))
    return {"PCK": 100 * lr + epoch, "latency_ms": 5 + 10 * abs(lr - 0.02)}


def test_what_was_taken_over_outlives_its_source(records: Any) -> None:
    spec = {"metric": ["PCK", "latency_ms"], "mode": ["max", "min"], "space": {"lr": LR}}
    other = records.make({**spec, "search": {"trials": 4, "seed": 5}}, {"lr": 4e-3})
    records.run(other, two_figures)
    write_json(other.trial(1) / "cost.json", {"gflops": 1.0})
    (other.trial(1) / "train.log").write_text("long")
    middle = take_over(records, other, {**spec, "search": {"trials": 1}})
    records.run(middle, two_figures)
    ours = take_over(records, middle, {**spec, "search": {"trials": 1}})
    records.run(ours, two_figures)

    before = read_view(ours)
    assert [t.seed for t in before.trials] == [0, 0, 5, 5, 5, 5]
    taken = before.trials[3]
    assert (taken.source, taken.folder) == (f"{middle.name}/2", ours.trial(3))
    assert taken.checkpoint == other.trial(1) / "epoch_0003"  # where it was trained, two experiments away
    assert sorted(f.name for f in taken.folder.iterdir()) == [
        *("cost.json", "epoch_0001", "epoch_0002", "epoch_0003", "trial.json")
    ]
    assert [f.name for f in (taken.folder / "epoch_0003").iterdir()] == ["meta.json"]
    written = [(trial / "epoch_0003" / "meta.json").stat().st_mtime for trial in (taken.folder, other.trial(1))]
    assert written[0] == written[1]  # MLflow is told when it was

    shutil.rmtree(other.path)
    shutil.rmtree(middle.path)
    after = read_view(ours)
    assert [(t.best, t.at_best, t.seconds) for t in after.trials] == [
        (t.best, t.at_best, t.seconds) for t in before.trials
    ]
    assert after.front == before.front and summary(after).startswith("Pareto front")
    assert after.trials[3].checkpoint is None
    other.path.mkdir()
    records.commit(other.trial(1), 3, {"PCK": 1.0, "latency_ms": 1.0})  # another experiment of the same name
    assert read_view(ours).trials[3].checkpoint is None


def test_finished_trials_of_another_experiment_count_as_evaluated(records: Any) -> None:
    spec = {"space": SPACE, "search": {"trials": 6}}
    other = records.make(spec, BASE)
    records.run(other, pck)
    trained: list[int] = []

    def figures(trial: Trial, epoch: int) -> dict[str, float]:
        trained.append(trial.number)
        return pck(trial, epoch)

    ours = take_over(records, other, {"space": SPACE, "search": {"trials": 3}})
    study = records.run(ours, figures)
    view, source = read_view(ours), read_view(other)
    assert study.total == len(view.trials) == 9 and view.state == "finished"
    assert [t.source for t in view.trials] == [None, *(f"{other.name}/{n}" for n in range(6)), None, None]
    assert [t.best for t in view.trials[1:7]] == [t.best for t in source.trials]
    assert [t.values for t in view.trials[1:7]] == [t.values for t in source.trials]
    assert set(trained) == {0, 7, 8}
    again = Study(ours.saved, ours)
    again.fill_queue()
    assert again.next_trial() is None


def test_trials_of_another_space_or_meaning_are_not_taken_over(records: Any) -> None:
    other = records.make({"space": SPACE, "search": {"trials": 8}}, BASE)
    records.run(other, pck)
    narrow = {"space": {**SPACE, "freeze": {"choice": ["stem", "backbone"]}}}
    narrow["space"]["lr_mult.backbone"] = {"log_uniform": [0.05, 1.0], "when": {"freeze": "stem"}}
    with pytest.raises(SpecError, match="none of its finished trials has the knobs"):
        take_over(records, other, {"space": {"lr": LR}})
    with pytest.raises(SpecError, match="none of its finished"):
        take_over(records, other, {"space": {**SPACE, "layer_decay": {"uniform": [0.5, 1.0]}}})
    with pytest.raises(SpecError, match="differs in weights; its figures cannot be compared"):
        take_over(records, other, {"space": SPACE, "weights": "none"})
    with pytest.raises(SpecError, match="differs in data"):
        take_over(records, other, {"space": SPACE}, digest="other")
    only_frozen = {"freeze": {"choice": ["stem", "backbone"]}, "lr": LR}
    taken = imported(parse_spec({"train": {"epochs": 3}, "space": only_frozen}), "d", read_view(other), "d")
    assert taken and all(point["given"]["freeze"] != "none" for point in taken)


def test_two_metrics_make_a_front_that_survives_a_restart(records: Any) -> None:
    spec = {
        "metric": ["PCK", "latency_ms"],
        "mode": ["max", "min"],
        "space": {"lr": LR},
        "search": {"trials": 12},
    }

    folder = records.make(spec, {"lr": 4e-3})
    view = records.run(folder, two_figures).view(worked_on=False)
    found = [(t.at_best["PCK"], t.at_best["latency_ms"]) for t in view.trials]
    beaten = [any(p >= a and q <= b and (p, q) != (a, b) for p, q in found) for a, b in found]
    assert view.state == "finished" and set(view.front) == {n for n, lost in enumerate(beaten) if not lost}
    assert 1 <= len(view.front) < len(found)
    assert read_view(folder).front == view.front

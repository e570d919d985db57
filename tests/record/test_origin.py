"""What a single training takes over from a trial of another experiment, on records made without any training."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from raypose.cli.options import load_experiment
from raypose.errors import ExperimentError, SpecError
from raypose.record.epochs import is_intact, read_epochs, retire
from raypose.record.folder import ExperimentFolder, create_experiment, create_final, latest_experiment
from raypose.record.mend import mended
from raypose.record.origin import Origin, begin_from, origin_at, origin_of, require_same
from raypose.record.study import Study, read_view
from raypose.space.load import load_spec
from raypose.space.schema import Experiment
from raypose.space.single import single
from raypose.space.trial import Trial
from raypose.space.trust import config_sha256

SPEC = {"space": {"lr": {"log_uniform": [1e-4, 1e-1]}}, "fixed": {"freeze": "stem"}, "search": {"trials": 2, "seed": 7}}


def pck(trial: Trial, epoch: int) -> dict[str, float]:
    return {"PCK": 10.0 * trial.number + epoch}


def repeat(origin: Origin, **overrides: str) -> Experiment:
    """As `raypose train` makes it of an origin alone."""
    return single(load_spec(origin.spec, overrides, single=True), origin.trial.values, {})


@pytest.fixture
def search(records: Any) -> ExperimentFolder:
    """An experiment of two trials with three epochs each, of which the second has lost its weights."""
    folder: ExperimentFolder = records.make(SPEC, {"lr": 4e-3})
    records.run(folder, pck)
    for number in range(2):
        retire(read_epochs(folder.trial(number))[1])
    return folder


def test_a_trial_is_found_by_its_name_and_by_its_checkpoint(search: ExperimentFolder) -> None:
    origin = origin_of(search.mlruns, f"{search.name}/1")
    assert origin.name == f"{search.name}/1" and origin.epoch is None and origin.trial.values["freeze"] == "stem"
    found = origin_at(search.trial(1) / "epoch_0003")
    assert found.trial == origin.trial and found.epoch == origin.trial.epochs[2]
    repeated = repeat(origin)
    assert repeated.fixed == origin.trial.values and not repeated.space and repeated.search.trials == 1


def test_what_cannot_be_repeated_is_said(records: Any, search: ExperimentFolder, tmp_path: Path) -> None:
    waiting = records.make(SPEC, {"lr": 4e-3})
    Study(waiting.saved, waiting).fill_queue()
    for name, said in {
        f"{search.name}/9": f"--trial: {search.name} has no trial 9; the last is 1",
        f"{waiting.name}/0": f"trial 0 of {waiting.name} has not begun",
        search.name: "expected an experiment and the number of a trial",
        f"{search.name}/best": "expected an experiment and the number of a trial",
        "nix/0": "no experiment 'nix'",
    }.items():
        with pytest.raises(ExperimentError, match=said):
            origin_of(search.mlruns, name)
    for checkpoint, said in {
        search.trial(1) / "epoch_0002": "are not there; of this trial these are kept: epoch_0001, epoch_0003",
        search.trial(1) / "epoch_0009": "are not there; of this trial these are kept: ",
        search.trial(1): "no epoch's folder of an experiment",
        tmp_path: "no epoch's folder of an experiment",
    }.items():
        with pytest.raises(ExperimentError, match=said):
            origin_at(checkpoint)
    (search.trial(1) / "epoch_0003" / "state").write_bytes(b"y")
    with pytest.raises(ExperimentError, match=f"damaged: epoch_0003; --trial {search.name}/1 trains it anew"):
        origin_at(search.trial(1) / "epoch_0003")


def test_a_training_goes_on_from_an_epoch_only_as_it_was_begun(search: ExperimentFolder) -> None:
    origin = origin_at(search.trial(1) / "epoch_0003")
    require_same(repeat(origin, **{"train.epochs": "4"}), origin)
    for overrides, said in (
        ({}, "epoch 3 is the last of 3; give more with --epochs"),
        ({"train.epochs": "4", "model": "rtmpose-t", "weights": "none"}, "was trained with other model, weights; "),
        ({"train.epochs": "4", "metric": "Hip PCK"}, "has no figure Hip PCK"),
    ):
        with pytest.raises(SpecError, match=f"--resume: .*{said}"):
            require_same(repeat(origin, **overrides), origin)
    other = single(load_spec(origin.spec, {"train.epochs": "4"}), origin.trial.values, {"lr": 1.0, "unfreeze.at": 0.5})
    with pytest.raises(SpecError, match="other values, train.epochs, of which unfreeze.at is a share; --load-from"):
        require_same(other, origin)


@pytest.mark.parametrize("killed_before_its_study", [False, True])
def test_it_begins_with_the_epochs_before(
    search: ExperimentFolder, killed_before_its_study: bool, records: Any
) -> None:
    origin = origin_at(search.trial(1) / "epoch_0003")
    experiment = repeat(origin, **{"train.epochs": "4"}).model_dump(mode="json")
    saved = {"uid": "b2c3", "experiment": experiment, "base_values": {}}
    folder = create_experiment(search.mlruns, None, "longer", saved, begin=partial(begin_from, origin))
    if not killed_before_its_study:
        Study(folder.saved, folder).fill_queue()
    study, lost = mended(folder.saved, folder)
    study.fill_queue()
    trial = study.next_trial()
    assert lost == [] or killed_before_its_study and len(lost) == 1  # the empty database, made anew
    assert trial == Trial(0, origin.trial.values, 7) and not study.catch_up(0)
    begun = read_epochs(folder.trial(0))
    assert [e.metrics["PCK"] for e in begun] == [11.0, 12.0, 13.0]
    assert [e.has_weights for e in begun] == [False, False, True] and is_intact(begun[2])  # the last and best
    records.commit(folder.trial(0), 4, {"PCK": 5.0})
    assert study.catch_up(0)
    (done,) = read_view(folder).trials
    assert (done.state, done.best, done.checkpoint) == ("complete", 13.0, folder.trial(0) / "epoch_0003")


def test_a_repetition_of_a_final_draws_anew_in_every_epoch(records: Any) -> None:
    folder = records.make({**SPEC, "train": {"epochs": 3, "cached_views": 2}}, {"lr": 4e-3})
    records.run(folder, pck)
    points = [{"given": {"lr": 0.01}, "seed": 8, "repeats": 1}]
    final = create_final(folder, {**folder.saved, "points": points})
    study = Study(final.saved, final)
    study.fill_queue()
    study.next_trial()
    origin = origin_of(folder.mlruns, f"{folder.name}/final/0")
    assert origin.trial.seed == 8 and origin.trial.values["lr"] == 0.01
    assert (
        repeat(origin).train.cached_views,
        repeat(origin_of(folder.mlruns, f"{folder.name}/1")).train.cached_views,
    ) == (0, 2)


def test_the_run_that_was_made_last(tmp_path: Path) -> None:
    assert latest_experiment(tmp_path, None, "lr-train") is None
    for name in ("lr-train-2", "lr-train-10", "lr-train-x", "lr-1"):
        create_experiment(tmp_path, name, "", {})
    latest = latest_experiment(tmp_path, None, "lr-train")
    assert latest and latest.name == "lr-train-10"
    named = latest_experiment(tmp_path, "lr-train-x", "lr-train")
    assert named and named.name == "lr-train-x"


def test_the_config_of_a_repeated_trial_is_to_be_trusted_anew(records: Any, tmp_path: Path) -> None:
    config = tmp_path / "mine.py"
    config.write_text("model = 1")
    found = config_sha256(str(config))
    folder = records.make({**SPEC, "model": str(config), "trust_config": found}, {"lr": 4e-3})
    records.run(folder, pck)
    spec = origin_of(folder.mlruns, f"{folder.name}/0").spec
    with pytest.raises(SpecError, match="a config is a program, .* add --trust-config to run it"):
        load_experiment(spec, settings=None, single=True)
    assert load_experiment(spec, settings=None, single=True, trust=True).trust_config == found

"""What a search is said to take, from the pace of an epoch."""

from typing import Any

import pytest

from raypose.space.load import parse_spec
from raypose.space.sections import Prune
from raypose.tuning.estimate import estimate, expected_epochs, lanes_here

CPU = {"epoch_s": 10.0, "device": "CPU", "gpus": 0}
EIGHT_GPUS = {"epoch_s": 10.0, "device": "GPU", "gpus": 8}


def experiment(**more: Any) -> Any:
    return parse_spec({"space": {"lr": {"choice": [1]}}, "train": {"epochs": 6}, **more})


@pytest.mark.parametrize(
    ("pruner", "epochs", "expected"),
    [
        ("none", 9, 9.0),
        ("asha", 9, 1 + 2 / 3 + 6 / 9),  # rungs at 1 and 3
        ("asha", 4, 1 + 2 / 3 + 1 / 9),
        ("median", 9, 5.0),
        ("hyperband", 9, (1 + 2 / 3 + 6 / 9 + 3 + 6 / 3 + 9) / 3),  # brackets from 1, 3 and 9
    ],
)
def test_pruning_spares_epochs(pruner: Any, epochs: int, expected: float) -> None:
    assert expected_epochs(Prune(pruner=pruner, min_epochs=1, reduction=3), epochs) == pytest.approx(expected)


def test_a_search_on_gpus_with_its_final() -> None:
    wanted = {"resources": {"workers": 2, "gpus_per_worker": 1}, "final": {"top": 3, "seeds": 3}}
    found = estimate(experiment(prune={"pruner": "none"}, **wanted), 8, EIGHT_GPUS, full_epochs=420)
    assert found.at_once == 4 and found.epochs == 48
    assert found.hours == found.most_hours == pytest.approx(48 * 10 / 4 / 3600)
    assert found.gpu_hours == pytest.approx(48 * 10 * 2 / 3600)
    assert found.final_hours == pytest.approx(4 * 3 * 6 * 10 / 4 / 3600)
    assert found.text() == (
        "about 2:00 min, at most 2:00 min, 0.27 GPU-hours, its final 3:00 min more "
        "(4 at once; 10.0 s an epoch on this machine's GPU)"
    )


def test_a_final_of_a_full_schedule_takes_all_of_its_epochs() -> None:
    full = experiment(train={"epochs": 6, "schedule": "full"}, final={"top": 1, "seeds": 1})
    assert estimate(full, 12, CPU, full_epochs=420, at_once=1).final_hours == pytest.approx(2 * 420 * 10 / 3600)


def test_no_more_trials_at_once_than_there_are() -> None:
    found = estimate(experiment(), 1, CPU, full_epochs=420, at_once=4)
    assert found.at_once == 1 and found.hours == found.most_hours == pytest.approx(60 / 3600)
    assert lanes_here(experiment(resources={"concurrent_trials": 3}), gpus=0) == 3
    assert lanes_here(experiment(resources={"gpus_per_worker": 0.5}), gpus=2) == 4
    assert lanes_here(experiment(resources={"cpus_per_worker": 10**5}), gpus=0) == 1

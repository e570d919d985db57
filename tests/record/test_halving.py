"""The pruners' verdicts are Optuna's own, and asked a second time they are the same."""

import random

import optuna
import pytest
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner

from raypose.record.halving import Halving, Hyperband
from raypose.record.sampling import pruner
from raypose.space.sections import Prune

EPOCHS = 12
PAIRS = {
    "asha": (Halving(1, 3), SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)),
    "asha from 2": (Halving(2, 2), SuccessiveHalvingPruner(min_resource=2, reduction_factor=2)),
    "hyperband": (Hyperband(1, EPOCHS, 3), HyperbandPruner(1, EPOCHS, 3)),
}


def verdicts(pruner: BasePruner, direction: str, asked: int) -> list[list[bool]]:
    """Of 40 trials, three at a time, what is heard after each epoch, each question being put `asked` times."""
    draw = random.Random(5)
    study = optuna.create_study(study_name="curves", direction=direction, pruner=pruner)
    told: list[list[bool]] = []
    for _ in range(14):
        group = [(study.ask(), draw.random()) for _ in range(3)]
        heard: list[list[bool]] = [[] for _ in group]
        for epoch in range(1, EPOCHS + 1):
            for (trial, level), answers in zip(group, heard, strict=True):
                if not any(answers):
                    trial.report(round(level + draw.random() / epoch, 1), epoch)  # rounded: there are ties
                    answers.append([trial.should_prune() for _ in range(asked)][-1])
        for (trial, _), answers in zip(group, heard, strict=True):
            study.tell(trial, None if any(answers) else 1.0, optuna.trial.TrialState.PRUNED if any(answers) else None)
        told += heard
    return told


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("name", PAIRS)
def test_verdicts_are_optunas_and_do_not_depend_on_how_often_one_asks(name: str, direction: str) -> None:
    ours, optunas = PAIRS[name]
    expected = verdicts(optunas, direction, asked=1)
    assert verdicts(ours, direction, asked=1) == verdicts(ours, direction, asked=2) == expected
    assert any(map(any, expected)) and not all(map(any, expected))


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
@pytest.mark.parametrize(("epochs", "first"), [(18, 3), (8, 2), (6, 2), (1, 1), (210, 35)])
def test_by_itself_no_trial_is_stopped_in_its_first_epochs(kind: str, epochs: int, first: int) -> None:
    prune = Prune.model_validate({"pruner": kind})
    assert prune.first(epochs) == first and prune.model_copy(update={"min_epochs": 7}).first(epochs) == 7
    study = optuna.create_study(direction="maximize", pruner=pruner(prune, epochs))
    heard: set[int] = set()
    for number in range(20):
        trial = study.ask()
        for epoch in range(1, epochs + 1):
            trial.report(float(-number), epoch)  # each is worse than all before
            if trial.should_prune():
                heard.add(epoch)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, float(-number))
    assert min(heard) == first

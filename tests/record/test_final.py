"""The final: the best trials over new seeds, a winner with intervals that mean what they say."""

import random
from typing import Any

import numpy as np
import pytest

from raypose.errors import WorkError
from raypose.record.epochs import read_epochs
from raypose.record.files import write_json
from raypose.record.final import compare, interval, judge, repeat
from raypose.record.folder import VERDICT, create_final
from raypose.record.study import Study, read_view
from raypose.record.view import RETEST
from raypose.space.trial import Trial

SPACE: dict[str, Any] = {"lr": {"log_uniform": [1e-4, 1e-1]}}
SPEC: dict[str, Any] = {"space": SPACE, "search": {"trials": 6, "seed": 7}, "final": {"top": 2, "seeds": 3}}
BASE = {"lr": 9e-2}
IMAGES = 60


def pck(trial: Trial, epoch: int) -> dict[str, float]:
    return {"PCK": 50 - abs(float(str(trial.values["lr"])) - 0.01) * 100 + epoch}


def hits(share: float, seed: int) -> dict[str, list[int]]:
    drawn = random.Random(seed)
    counted = [drawn.randint(1, 14) for _ in range(IMAGES)]
    return {"counted": counted, "found": [sum(drawn.random() < share for _ in range(n)) for n in counted]}


def run_final(records: Any, shares: Any) -> Study:
    """The final of a finished search; a repetition finds the share `shares(trial)` of the joints, or fails for None."""
    folder = records.make(SPEC, BASE, full_epochs=5)
    search = records.run(folder, pck)
    experiment, points = repeat(search.experiment, search.view(worked_on=True), 5)
    create_final(folder, {**folder.saved, "experiment": experiment.model_dump(mode="json"), "points": points})
    final = records.run(folder.final, pck)
    for trial in final.view(worked_on=True).trials:
        if (share := shares(trial)) is None:
            continue
        found = {**hits(0.5, 0), "found": hits(share, 0)["found"]}
        figure = 100 * sum(found["found"]) / sum(found["counted"])
        write_json(trial.folder / RETEST, {"epoch": 5, "metrics": {"PCK": figure}, "images": found})
    return Study(folder.final.saved, folder.final)


def test_the_best_and_the_base_config_are_repeated_at_full_budget_over_new_seeds(records: Any) -> None:
    final = run_final(records, lambda _: 0.5)
    search = read_view(final.folder.parent)  # type: ignore[arg-type]
    ranked = sorted(search.trials, key=lambda t: -(t.best or 0))
    view = final.view(worked_on=True)
    assert [(t.repeats, t.seed) for t in view.trials] == [
        (n, seed) for seed in (8, 9, 10) for n in (ranked[0].number, ranked[1].number, 0)
    ]
    assert all(t.values == search.trials[t.repeats or 0].values for t in view.trials)
    assert all(len(t.epochs) == 5 and t.state == "complete" for t in view.trials)
    assert search.state == "interrupted" and search.final is not None
    write_json(final.folder.path / VERDICT, judge(view))
    assert read_view(final.folder.parent).state == "finished"  # type: ignore[arg-type]


def test_the_winner_has_the_best_mean_not_the_best_single_figure(records: Any) -> None:
    search_best: list[int] = []

    def shares(trial: Any) -> float:
        search_best[:] = search_best or [trial.repeats]
        if trial.repeats == search_best[0]:  # the search's best: one lucky seed
            return 0.9 if trial.seed == 8 else 0.3
        return 0.2 if trial.repeats == 0 else 0.7

    view = run_final(records, shares).view(worked_on=True)
    verdict = judge(view)
    winner = [t for t in view.trials if t.repeats == verdict["trial"]]
    assert verdict["trial"] not in (search_best[0], 0)
    assert [r["trial"] for r in verdict["ranking"]] == [verdict["trial"], search_best[0], 0]
    assert verdict["figures"] == [t.retested for t in winner]
    assert verdict["ranking"][1]["spread"] == pytest.approx(np.std(verdict["ranking"][1]["figures"], ddof=1))
    assert verdict["interval"][0] < verdict["mean"] < verdict["interval"][1]
    assert 0 < verdict["gain_interval"][0] < verdict["gain"] < verdict["gain_interval"][1]
    assert verdict["gain"] == pytest.approx(verdict["mean"] - verdict["ranking"][2]["mean"])


def test_a_failed_trial_is_neither_the_best_nor_repeated(records: Any) -> None:
    folder = records.make({**SPEC, "final": {"top": 5, "seeds": 1}}, BASE)
    study = Study(folder.saved, folder)
    study.fill_queue()
    while (trial := study.next_trial()) is not None:
        if trial.number == 3:  # the best figure of all, and then it diverged
            records.commit(folder.trial(3), 1, {"PCK": 99.0})
            study.add_epoch(3, read_epochs(folder.trial(3))[0])
            study.finish(3, error="DivergedError: the loss is not finite in epoch 2, step 3")
        else:
            records.train(study, trial, pck)
    view = study.view(worked_on=True)
    assert view.trials[3].state == "failed" and view.trials[3].best == 99.0
    assert view.best is not None and view.best.number != 3
    _, again = repeat(study.experiment, view, 5)
    assert sorted(point["repeats"] for point in again) == [0, 1, 2, 4, 5]


def test_a_trial_that_fails_with_other_seeds_ranks_behind_those_that_never_do(records: Any) -> None:
    numbers: list[int] = []

    def shares(trial: Any) -> float | None:
        numbers[:] = list(dict.fromkeys([*numbers, trial.repeats]))
        if trial.repeats == numbers[0]:
            return 0.9 if trial.seed == 8 else None  # the highest figure of all, and two failures
        if trial.repeats == numbers[1]:
            return 0.3 + trial.seed / 100
        return None if trial.seed == 9 else 0.5 + trial.seed / 100  # the base config, once

    view = run_final(records, shares).view(worked_on=True)
    verdict = judge(view)
    assert [(r["trial"], r["failed"], len(r["figures"])) for r in verdict["ranking"]] == [
        (numbers[1], 0, 3),
        (0, 1, 2),
        (numbers[0], 2, 1),
    ]
    assert verdict["failed"] == 0 and verdict["unranked"] == []
    assert verdict["spread"] > 0 and verdict["ranking"][2]["spread"] is None
    # Hits are summed over three seeds here and two there; each seed counts the same joints, so the ratios are means.
    assert verdict["gain"] == pytest.approx(verdict["mean"] - verdict["ranking"][1]["mean"])
    assert verdict["gain_interval"][0] < verdict["gain"] < verdict["gain_interval"][1] < 0


def test_a_trial_that_fails_with_every_seed_is_named_and_without_any_repetition_there_is_no_winner(
    records: Any,
) -> None:
    final = run_final(records, lambda trial: None if trial.repeats == 0 else 0.5)
    verdict = judge(final.view(worked_on=True))
    assert [(r["trial"], r["failed"], r["figures"]) for r in verdict["unranked"]] == [(0, 3, [])]
    assert "gain" not in verdict and 0 not in [r["trial"] for r in verdict["ranking"]]
    for retest in final.folder.path.glob(f"trials/*/{RETEST}"):
        retest.unlink()
    with pytest.raises(WorkError, match="no repetition has come to its end"):
        judge(final.view(worked_on=True))


def test_an_interval_covers_what_it_should_and_is_the_same_each_time() -> None:
    covered = [interval(hits(0.5, seed)) for seed in range(40)]
    assert 34 <= sum(low <= 50 <= high for low, high in covered) <= 40
    assert interval(hits(0.5, 3)) == covered[3]
    assert all(2 < high - low < 20 for low, high in covered)


def test_a_comparison_is_paired_image_by_image() -> None:
    base = hits(0.5, 1)
    better = {**base, "found": [min(f + 1, n) for f, n in zip(base["found"], base["counted"], strict=True)]}
    apart, paired = interval(base), compare(better, base)["gain_interval"]
    assert 0 < paired[0] and paired[1] - paired[0] < (apart[1] - apart[0]) / 2
    same = compare(base, base)
    assert same["gain"] == 0 and same["gain_interval"] == [0, 0]

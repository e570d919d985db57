"""The final: the best trials over new seeds, a winner with intervals that mean what they say."""

import random
from typing import Any

import numpy as np
import pytest

from raypose.errors import WorkError
from raypose.record.epochs import write_json
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
    """The final of a finished search; `shares(trial)` is the share of joints that a repetition finds."""
    folder = records.make(SPEC, BASE, full_epochs=5)
    search = records.run(folder, pck)
    experiment, points = repeat(search.experiment, search.view(worked_on=True), 5)
    create_final(folder, {**folder.saved, "experiment": experiment.model_dump(mode="json"), "points": points})
    final = records.run(folder.final, pck)
    for trial in final.view(worked_on=True).trials:
        found = {**hits(0.5, 0), "found": hits(shares(trial), 0)["found"]}
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


def test_without_any_repetition_there_is_no_winner(records: Any) -> None:
    final = run_final(records, lambda _: 0.5)
    for trial in final.view(worked_on=True).trials:
        (trial.folder / RETEST).unlink()
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

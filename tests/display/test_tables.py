"""What a person reads at the end: the front of two metrics, the winner over seeds, figures by their own names."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from raypose.display.screen import LiveScreen
from raypose.display.tables import in_brief, summary, trial_lines, trial_table
from raypose.record.files import write_json
from raypose.record.view import CACHE, Epoch, ExperimentView, TrialView

COSTS = {"parameters": 1.3e6, "gflops": 0.038, "latency_ms": 8.7, "images_per_s": 341.0}


def trial(number: int, curve: tuple[float, ...], **more: Any) -> TrialView:
    epochs = tuple(
        Epoch(n, {"PCK": pck, **COSTS, "latency_ms": 5.0 + number}, Path(f"e{n}"), 2.0, True)
        for n, pck in enumerate(curve, 1)
    )
    best = max(range(len(curve)), key=lambda n: curve[n])
    values: dict[str, Any] = {"lr": 0.001 * (number + 1)}
    folder = Path(f"t{number}")
    state = more.pop("state", "complete")
    known = {"seed": 0, "source": None, "repeats": None, "retested": None, **more}
    return TrialView(number, state, values, epochs, curve[best], best + 1, 1, 4.0, None, None, folder, **known)


def view(*trials: TrialView, **more: Any) -> ExperimentView:
    known = {"objectives": (("PCK", "max"),), "front": (), **more}
    spec: dict[str, object] = {"space": {"lr": {}}}
    return ExperimentView("exp", "exp.1", "finished", "PCK", len(trials), 2, Path("exp"), spec, trials, **known)


def text(table: Any) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def row(shown: str, name: str) -> list[str]:
    (line,) = [line for line in shown.splitlines() if line.strip("│ ").startswith(name)]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_best_last_and_re_tested_are_three_figures() -> None:
    search = text(trial_table(view(trial(0, (40.0, 50.0)), trial(1, (60.0, 55.0)))))
    assert row(search, "1")[4:6] == ["55.00", "60.00"]
    assert "re-tested" not in search
    final = text(trial_table(view(trial(0, (60.0, 55.0), repeats=3, seed=7, retested=59.5))))
    assert row(final, "3")[:2] == ["3", "7"] and row(final, "3")[5:8] == ["55.00", "60.00", "59.50"]
    assert text(trial_table(view(trial(0, (1.0,), repeats=0, seed=1)))).count("0 base") == 1


def test_a_trial_that_was_taken_over_names_its_source() -> None:
    assert "1 (lr-1/4)" in text(trial_table(view(trial(0, (1.0,)), trial(1, (2.0,), source="lr-1/4"))))


def test_cost_stands_beside_accuracy() -> None:
    said = trial_lines(view(trial(0, (40.0, 50.0))))
    assert "1.30 M parameters, 0.038 GFLOPs, 5.0 ms an image, 341 images/s, 2.0 s of training an epoch" in said


def test_where_the_images_came_from(tmp_path: Path) -> None:
    write_json(tmp_path / CACHE, {"file": "/cache/raypose/1.arrow", "bytes": 290 * 10**6})
    said = trial_lines(view(replace(trial(0, (1.0,)), folder=tmp_path), trial(1, (2.0,))))
    assert said.count("images decoded before, 290 MB of them, in /cache/raypose/1.arrow") == 1
    write_json(tmp_path / CACHE, {"file": "/cache/raypose/2.views", "bytes": 20 * 10**6, "views": 2})
    said = trial_lines(view(replace(trial(0, (1.0,)), folder=tmp_path)))
    assert "2 views of each person, 20 MB of them, in /cache/raypose/2.views" in said


def test_the_front_of_two_metrics_is_listed_best_first() -> None:
    goals = (("PCK", "max"), ("latency_ms", "min"))
    said = summary(view(trial(0, (40.0,)), trial(1, (30.0,)), trial(2, (60.0,)), objectives=goals, front=(0, 2)))
    first, second, _, third, _ = said.splitlines()
    assert first == "Pareto front of high PCK and low latency_ms: 2 of 3 trials"
    assert second == "  trial 2: PCK 60, latency_ms 7; lr 0.003"
    assert third == "  trial 0: PCK 40, latency_ms 5; lr 0.001"


VERDICT: dict[str, Any] = {
    "trial": 1,
    "values": {"lr": 0.002},
    "mean": 58.0,
    "spread": 0.5,
    "figures": [57.5, 58.0, 58.5],
    "checkpoint": "there",
    "metric": "PCK",
    "interval": [56.0, 60.0],
    "gain": 8.0,
    "gain_interval": [6.0, 10.0],
    "ranking": [{"trial": 1, "mean": 58.0, "spread": 0.5}, {"trial": 0, "mean": 50.0, "spread": 1.0}],
    "test": {"figures": {"PCK": 55.0}, "interval": [52.0, 57.0], "gain": 7.0, "gain_interval": [4.0, 9.0]},
}


def test_the_winner_is_told_with_all_that_makes_it_honest() -> None:
    final = view(trial(0, (58.0,), repeats=1, seed=1, retested=58.0), verdict=VERDICT)
    said = summary(view(trial(0, (50.0,)), trial(1, (61.0,)), final=final))
    assert "Best: trial 1, PCK 61.00 (the base config's own values: 50.00)" in said
    assert "trial 1, re-tested PCK 58.00 ± 0.50, 95 % interval over images [56.00, 60.00]" in said
    assert "gained over the base config: +8.00 [6.00, 10.00]" in said
    assert "on test data that no trial saw: PCK 55.00 [52.00, 57.00], gained +7.00 [4.00, 9.00]" in said
    assert "after it: trial 0: 50.00 ± 1.00" in said


def test_where_the_base_config_wins_it_is_said() -> None:
    verdict = {key: value for key, value in VERDICT.items() if not key.startswith("gain") and key != "test"}
    verdict |= {"trial": 0, "ranking": VERDICT["ranking"][1:]}
    said = summary(view(trial(0, (50.0,)), final=view(trial(0, (50.0,)), verdict=verdict)))
    assert "no trial does better than the base config's own values" in said
    assert "gained" not in said and "after it" not in said


def test_a_failed_trial_is_not_the_best_and_a_failed_base_config_is_no_measure() -> None:
    said = summary(view(trial(0, (50.0,), state="failed"), trial(1, (40.0,)), trial(2, (45.0,), state="running")))
    assert said.startswith("Best: trial 2, PCK 45.00\n") and "trial 0 failed: " in said
    assert "no trial has come to a figure that counts" in summary(view(trial(0, (50.0,), state="failed")))


def test_failed_seeds_and_a_single_figure_are_told() -> None:
    worse = {"trial": 0, "mean": 50.0, "spread": None, "figures": [50.0], "failed": 2}
    verdict = {
        **VERDICT,
        "figures": [57.5, 58.5],
        "failed": 1,
        "ranking": [VERDICT["ranking"][0], worse],
        "unranked": [{"trial": 4, "figures": [], "failed": 3}],
    }
    said = summary(view(trial(0, (50.0,)), final=view(trial(0, (50.0,)), verdict=verdict)))
    assert "Winner over 2 seed(s): trial 1, re-tested PCK 58.00 ± 0.50, 1 of 3 seeds failed, 95 %" in said
    assert "after it: trial 0: 50.00 (one seed), 2 of 3 seeds failed; trial 4: 3 of 3 seeds failed" in said
    assert "± 0.00" not in said


def test_in_brief_the_base_config_the_best_and_the_latest_are_shown() -> None:
    trials = [trial(n, (70.0 if n == 4 else 10.0,)) for n in range(9)] + [trial(9, (1.0,), state="waiting")]
    numbers = [t.number for t in in_brief(view(*trials), 4).trials]
    assert numbers == [0, 4, 7, 8]
    assert in_brief(view(*trials), 10).trials == tuple(trials)
    assert [t.number for t in in_brief(view(*trials), 1).trials] == [0]


def test_a_log_is_told_of_the_trials_in_which_something_has_happened() -> None:
    log = io.StringIO()
    screen = LiveScreen(Console(file=log, width=200))
    trials = [trial(n, (10.0,), state="running") for n in range(3)]
    screen.show(view(*trials))
    screen.show(view(*trials))
    screen.show(view(trials[0], replace(trials[1], state="complete"), trials[2], trial(3, (5.0,))))
    told = [line.split(":")[0] for line in log.getvalue().splitlines()]
    assert told == [f"trial {n} running" for n in range(3)] + ["trial 1 complete", "trial 3 complete"]


def test_a_single_training_ends_with_its_figure_and_how_it_goes_on() -> None:
    alone = replace(view(trial(0, (40.0, 50.0))), spec={"space": {}})
    longer = "to train longer: raypose train --resume e2 --epochs 4"
    assert summary(alone).splitlines() == [
        *("PCK 50.00, in epoch 2 of 2", "  lr 0.001", "  checkpoint: e2", f"  {longer}")
    ]
    repeated = summary(replace(alone, origin="lr-1/6")).splitlines()
    assert repeated == [*summary(alone).splitlines()[:2], "  begun from lr-1/6", *summary(alone).splitlines()[2:]]
    assert row(text(trial_table(alone)), "0")[0] == "0"
    stopped = replace(alone, trials=(trial(0, (40.0,), state="running"),))
    assert summary(stopped).endswith("checkpoint: e1")
    failed = replace(alone, trials=(trial(0, (40.0,), state="failed"),))
    assert "trial 0 failed: " in summary(failed)
    assert "the base config's own values" in summary(replace(alone, trials=(replace(trial(0, (1.0,)), values={}),)))

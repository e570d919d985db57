import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from raypose.record.folder import ExperimentFolder
from raypose.record.study import Study, read_view
from raypose.record.view import ExperimentView
from raypose.report import curves, figures, tables
from raypose.report.figures import Explored
from raypose.report.page import render, repeating
from tests.report.conftest import EVIL, Replayed


@pytest.fixture(scope="module")
def view(replayed: Replayed) -> ExperimentView:
    return read_view(replayed.make("lr-1", fail=(5, 9)))


@pytest.fixture(scope="module")
def page(view: ExperimentView) -> str:
    return render([view])


class Loaded(HTMLParser):
    """What a page would load, the targets of its links, its anchors, and how many scripts it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.ids.add(found.get("id") or "")
        self.sources += [found["src"] or ""] if "src" in found else []
        self.links += [found["href"] or ""] if "href" in found else []


def test_a_page_loads_nothing_and_its_anchors_are_there(page: str) -> None:
    loaded = Loaded(page)
    assert loaded.sources == [] and "link" not in loaded.tags and "img" not in loaded.tags
    assert loaded.links and all(link[1:] in loaded.ids and link[0] == "#" for link in loaded.links)
    assert "default-src 'none'" in page
    assert page.count("plotly.js v") == 1, "plotly.js is there once, and whole"


def test_what_a_user_wrote_is_text(view: ExperimentView, page: str) -> None:
    assert view.trials[5].error and EVIL in view.trials[5].error
    assert EVIL not in page and "&lt;/script&gt;&lt;script&gt;document.title=" in page
    choices = [{**trial.values, "freeze": EVIL + str(trial.number % 2)} for trial in view.trials]
    trials = tuple(replace(trial, values=values) for trial, values in zip(view.trials, choices, strict=True))
    evil = render([replace(view, name="<script>x", trials=trials)])
    assert EVIL not in evil and "<script>x" not in evil
    assert Loaded(evil).tags.count("script") == Loaded(page).tags.count("script")


def test_the_winner_is_told_with_what_repeats_it(view: ExperimentView, page: str) -> None:
    assert view.best
    assert f"raypose train --trial lr-1/{view.best.number} --mlruns " in page
    assert f"{view.best.best:.2f}" in page
    trusted = replace(view, spec={**view.spec, "trust_config": "sha256"})
    assert repeating(trusted, view.best).startswith(f"raypose train --trial lr-1/{view.best.number} --trust-config")


def test_failures_are_told_with_their_reasons(view: ExperimentView, page: str) -> None:
    table = tables.failures(view)
    assert not isinstance(table, str)
    assert [row[0].text for row in table.rows] == ["lr-1/5", "lr-1/9"]
    assert "OutOfMemoryError" in table.rows[0][3].text


def test_the_best_curve_spends_all_epochs_and_never_falls(view: ExperimentView) -> None:
    reached = curves.best_so_far(view)
    assert reached[-1].epochs == sum(len(trial.epochs) for trial in view.trials)
    assert reached[-1].seconds == pytest.approx(sum(trial.seconds for trial in view.trials))
    assert view.best and (reached[-1].best, reached[-1].trial) == (view.best.best, view.best.number)
    assert all(later.best >= earlier.best for earlier, later in zip(reached, reached[1:], strict=False))


def test_what_was_taken_over_or_failed_is_not_counted_as_found_here(view: ExperimentView) -> None:
    best = view.best
    assert best
    failed = tuple(replace(t, state="failed", error="x") if t is best else t for t in view.trials)
    assert max(point.best for point in curves.best_so_far(replace(view, trials=failed))) <= (best.best or 0)
    assert best.number not in {point.trial for point in curves.best_so_far(replace(view, trials=failed))}
    taken = tuple(replace(t, source="other/1") if t is best else t for t in view.trials)
    reached = curves.best_so_far(replace(view, trials=taken))
    assert (reached[0].epochs, reached[-1].trial) == (0, best.number)
    assert reached[-1].epochs == sum(len(t.epochs) for t in view.trials) - len(best.epochs)


def test_a_base_outside_the_space_and_conditional_knobs_are_drawn(view: ExperimentView) -> None:
    explored = Explored(view)
    assert view.trials[0].values["lr"] == 0.0064, "above the range"
    assert explored.study.trials[0].params["lr"] == 0.0064
    assert set(explored.knobs) == {"lr", "freeze", "lr_mult.backbone", "input_size"}
    assert set(explored.importances) == set(explored.common) == {"lr", "freeze", "input_size"}
    assert sum(explored.importances.values()) == pytest.approx(1, abs=0.5)
    (name, (having, _)), *rest = explored.conditional().items()
    assert (name, rest) == ("lr_mult.backbone", [])
    assert having == sum("lr_mult.backbone" in trial.values for trial in explored.trials)
    drawn = [figures.draw_parallel(explored), figures.draw_importances(explored), *figures.draw_interactions(explored)]
    assert all(not isinstance(each, str) and each.data for each in [*drawn, *figures.draw_slices(explored)])


def test_trials_keep_their_numbers_and_pruned_ones_count(view: ExperimentView) -> None:
    explored = Explored(view)
    counted = [trial.number for trial in explored.study.trials if trial.values]
    assert counted == [trial.number for trial in view.trials if trial.state in ("complete", "pruned")]
    assert any(view.trials[number].state == "pruned" for number in counted)


def test_the_front_is_beaten_by_nobody(view: ExperimentView) -> None:
    first, *rest = figures.draw_fronts(view)
    assert not isinstance(first, str)
    front = list(zip(first.data[1].x, first.data[1].y, strict=True))
    every = [(t.at_best["gflops"], t.at_best["PCK"]) for t in view.trials if t.state in ("complete", "pruned")]
    assert front and all(not (x <= fx and y >= fy and (x, y) != (fx, fy)) for fx, fy in front for x, y in every)
    assert rest[-1] == "The same in all trials: parameters: 1,300,000."


def test_pruned_trials_are_marked_where_they_ended(view: ExperimentView) -> None:
    figure = figures.go.Figure(curves.draw_learning(view))
    marks = next(trace for trace in figure.data if trace.name == "pruned here")
    ends = {trial.number: len(trial.epochs) for trial in view.trials if trial.state == "pruned"}
    assert dict(zip(marks.customdata, marks.x, strict=True)) == ends


def test_joints_are_told_beside_the_base(view: ExperimentView) -> None:
    table = tables.joints(view)
    assert not isinstance(table, str) and view.best
    assert table.head[:3] == ["joints", "trial 0, base", f"trial {view.best.number}"]
    head = next(row for row in table.rows if row[0].text == "Head")
    gained = view.best.at_best["Head PCK"] - view.trials[0].at_best["Head PCK"]
    assert head[2].text.endswith(f"({gained:+.2f})") and (head[2].share > 0) == (gained > 0)


@pytest.mark.parametrize("trials", [0, 1, 3], ids=["none", "one", "few"])
def test_too_few_trials_are_told_in_words(view: ExperimentView, trials: int) -> None:
    few = replace(view, trials=view.trials[:trials], state="running")
    page = render([few])
    explored = Explored(few)
    assert isinstance(figures.draw_importances(explored), str)
    assert all(isinstance(each, str) for each in figures.draw_interactions(explored))
    assert isinstance(figures.draw_parallel(explored), str) == (trials < 2)
    assert ("so there is no winner" in page) == (trials == 0)


def test_several_are_compared_on_one_page(replayed: Replayed, view: ExperimentView) -> None:
    one_knob = {"lr": {"log_uniform": [2.0e-4, 5.0e-3]}}
    other = read_view(replayed.make("lr-2", trials=4, space=one_knob))
    page = render([view, other])
    loaded = Loaded(page)
    assert {"compared", "exp-1", "exp-2", "exp-2-trials"} <= loaded.ids
    assert page.count("plotly.js v") == 1
    both = figures.go.Figure(curves.draw_best([view, other], "seconds"))
    assert [trace.name for trace in both.data] == ["lr-1", "lr-2"]
    winners = tables.winners([view, other]).rows
    assert [row[0].text for row in winners] == ["lr-1", "lr-2"]
    assert [int(row[7].text) for row in winners] == [sum(len(t.epochs) for t in v.trials) for v in (view, other)]
    unlike = render([view, replace(other, metric="PCK@0.1", objectives=(("PCK@0.1", "max"),))])
    assert "their curves are not comparable" in unlike


def test_two_metrics_have_a_front_of_winners(replayed: Replayed) -> None:
    folder = replayed.make("cost-1", trials=8, metric=["PCK", "latency_ms"], mode=["max", "min"])
    view = read_view(folder)
    page = render([view])
    assert view.front and "Pareto front" in page
    assert re.findall(r"raypose train --trial cost-1/(\d+)", page) == [str(number) for number in view.front]


def test_a_verdict_is_told_with_its_intervals(view: ExperimentView) -> None:
    assert view.best
    best = {"trial": view.best.number, "values": view.best.values, "figures": [40.0, 42.0], "failed": 0}
    base = {"trial": 0, "values": view.trials[0].values, "figures": [38.0], "failed": 1, "mean": 38.0, "spread": None}
    winner = {**best, "mean": 41.0, "spread": 1.41, "checkpoint": "x"}
    lost = {"trial": 3, "values": {}, "figures": [], "failed": 2}
    verdict = {
        **winner, "metric": "PCK", "interval": [39.0, 43.0], "gain": 3.0, "gain_interval": [1.0, 5.0],
        "test": {"figures": {"PCK": 40.5}, "interval": [38.0, 42.5]},
        "ranking": [winner, base], "unranked": [lost],
    }  # fmt: skip
    page = render([replace(view, verdict=verdict)])
    assert "mean of 2 seed(s) tested anew; 95 % interval over images [39.00, 43.00]" in page
    assert "It gains +3.00 [1.00, 5.00] over the base config." in page
    assert "On test data that no trial saw: 40.50 [38.00, 42.50]." in page
    assert "1 of 2 seeds failed" in page and "2 of 2 seeds failed" in page


def test_a_study_that_still_runs_is_drawn(replayed: Replayed) -> None:
    folder = replayed.make("open", trials=3)
    study = Study({**folder.saved, "experiment": _more_trials(folder)}, folder)
    study.fill_queue()
    assert study.next_trial()
    view = study.view(worked_on=True)
    assert view.state == "running" and view.trials[3].state == "running"
    assert "4 of 5" in render([view])


def _more_trials(folder: ExperimentFolder) -> dict[str, object]:
    experiment = folder.saved["experiment"]
    return {**experiment, "search": {**experiment["search"], "trials": 5}}

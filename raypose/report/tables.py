"""An experiment's tables: facts, winner, joints, verdict, trials, failures. Runs in: command line, driver."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raypose.record.view import ExperimentView, TrialView, failed_seeds
from raypose.space.knobs import Value, shown, values_text

BESIDE_BASE = 4  # trials in the table of joints
STRONG = 8.0  # points of difference at which a cell has its full colour


@dataclass(frozen=True)
class Cell:
    """A text with the class of its style; `share` from -1 (worse) to 1 (better) colours it."""

    text: str
    style: str = ""
    share: float = 0.0


@dataclass(frozen=True)
class Table:
    """A head and rows; numbers stand to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def winner(view: ExperimentView) -> TrialView | None:
    """The trial that the verdict names, or else the one with the best figure."""
    verdict = verdict_of(view)
    return view.trials[verdict["trial"]] if verdict and verdict["trial"] < len(view.trials) else view.best


def in_words(view: ExperimentView, trial: TrialView) -> str:
    """A trial's figures by which the search judges, and its values."""
    told = ", ".join(f"{name} {_short(trial.at_best[name])}" for name, _ in view.objectives if name in trial.at_best)
    return f"Trial {trial.number}: {told}; {values_text(trial.values)}"


def verdict_of(view: ExperimentView) -> dict[str, Any] | None:
    """What came out of the final, if there was one."""
    return view.verdict or (view.final.verdict if view.final else None)


def winners(views: Iterable[ExperimentView]) -> Table:
    """Of each experiment its winner, what it gained over the base config, and what the search has spent."""
    head = ["experiment", "state", "metric", "best", "base", "gained", "trial", "epochs trained", "seconds", "values"]
    return Table(head, [_winner_row(view) for view in views])


@dataclass(frozen=True)
class Outcome:
    """An experiment in a few figures: its winner's and the base config's, and what was spent."""

    winner: TrialView | None
    best: float | None
    base: float | None
    epochs: int
    seconds: float

    @property
    def gained(self) -> str:
        """The difference to the base config, or a dash."""
        return "-" if self.best is None or self.base is None else f"{self.best - self.base:+.2f}"


def outcome(view: ExperimentView) -> Outcome:
    """What an experiment comes to."""
    best, base = winner(view), _base(view)
    own = [trial for trial in view.trials if trial.source is None]
    epochs, seconds = sum(len(trial.epochs) for trial in own), sum(trial.seconds for trial in own)
    return Outcome(best, best.best if best else None, base.best if base else None, epochs, seconds)


def _winner_row(view: ExperimentView) -> list[Cell]:
    found = outcome(view)
    return [
        Cell(view.name, "strong"),
        Cell(view.state, view.state),
        Cell(view.metric),
        Cell(figure(found.best), "number strong"),
        Cell(figure(found.base), "number"),
        Cell(found.gained, "number"),
        Cell(str(found.winner.number) if found.winner else "-", "number"),
        Cell(str(found.epochs), "number"),
        Cell(f"{found.seconds:.0f}", "number"),
        Cell(values_text(found.winner.values) if found.winner else ""),
    ]


def _base(view: ExperimentView) -> TrialView | None:
    return view.trials[0] if view.trials and view.trials[0].ranks else None


def joints(view: ExperimentView) -> Table | str:
    """Each joint group's figure at the best epoch of the base config and of the best trials, and the difference."""
    base = _base(view)
    ranked = sorted((t for t in view.trials if t.ranks), key=lambda t: (-(t.best or 0.0), t.number))
    chosen = [t for t in ranked if t is not base][:BESIDE_BASE]
    names = [name for name in (ranked[0].at_best if ranked else {}) if "PCK" in name]
    if not names:
        return "No trial has figures of joint groups yet."
    head = ["joints", *(["trial 0, base"] if base else []), *(f"trial {trial.number}" for trial in chosen)]
    return Table(head, [_joint_row(name, base, chosen) for name in names])


def _joint_row(name: str, base: TrialView | None, chosen: Sequence[TrialView]) -> list[Cell]:
    before = base.at_best.get(name) if base else None
    cells = [Cell(name.removesuffix(" PCK"), "strong")] + ([Cell(figure(before), "number")] if base else [])
    for trial in chosen:
        now = trial.at_best.get(name)
        if now is None or before is None:
            cells.append(Cell(figure(now), "number"))
        else:
            share = max(-1.0, min(1.0, (now - before) / STRONG))
            cells.append(Cell(f"{now:.2f} ({now - before:+.2f})", "number", share))
    return cells


def ranking(verdict: Mapping[str, Any]) -> Table:
    """The repeated trials with their means over seeds, the winner first, those that always failed last."""
    rows = [
        [
            Cell(
                str(row["trial"]) + (" base" if row["trial"] == 0 else ""), "number strong" if place == 0 else "number"
            ),
            Cell(figure(row.get("mean")), "number strong" if place == 0 else "number"),
            Cell("-" if row.get("spread") is None else f"± {row['spread']:.2f}", "number"),
            Cell(", ".join(figure(each) for each in row["figures"]) or "-"),
            Cell(failed_seeds(row) or "-", "failed" if row.get("failed") else ""),
            Cell(values_text(row["values"])),
        ]
        for place, row in enumerate([*verdict["ranking"], *verdict.get("unranked", [])])
    ]
    return Table(["trial", "mean", "spread", "each seed", "failed", "values"], rows)


def verdict_sentences(verdict: Mapping[str, Any]) -> list[str]:
    """The winner with its interval, what it gained, and how it did on data that no trial saw."""
    metric = verdict["metric"]
    said = [
        f"Trial {verdict['trial']} wins with {metric} {verdict['mean']:.2f}, the mean of {len(verdict['figures'])} "
        f"seed(s) tested anew; 95 % interval over images {_interval(verdict['interval'])}."
    ]
    if verdict["trial"] == 0:
        said.append("No trial does better than the base config's own values.")
    if "gain" in verdict:
        said.append(f"It gains {verdict['gain']:+.2f} {_interval(verdict['gain_interval'])} over the base config.")
    if test := verdict.get("test"):
        gain = f", a gain of {test['gain']:+.2f} {_interval(test['gain_interval'])}" if "gain" in test else ""
        said.append(
            f"On test data that no trial saw: {test['figures'][metric]:.2f} {_interval(test['interval'])}{gain}."
        )
    return said


def _interval(ends: Sequence[float]) -> str:
    return f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def trials(view: ExperimentView) -> Table:
    """All trials: state, the knobs that vary, epochs, best figure, seconds."""
    knobs = list(view.varied)
    head = ["trial", "state", *knobs, "epochs", f"best {view.metric}", "seconds"]
    return Table(head, [_trial_row(view, trial, knobs) for trial in view.trials])


def _trial_row(view: ExperimentView, trial: TrialView, knobs: Sequence[str]) -> list[Cell]:
    best = "number strong" if view.best is trial else "number"
    return [
        Cell(
            f"{trial.number}{' base' if trial.number == 0 else f' ({trial.source})' if trial.source else ''}", "number"
        ),
        Cell(trial.state, trial.state),
        *(Cell(_short(trial.values[knob]) if knob in trial.values else "", "number") for knob in knobs),
        Cell(f"{len(trial.epochs)}/{view.epochs}", "number"),
        Cell(figure(trial.best), best),
        Cell(f"{trial.seconds:.0f}", "number"),
    ]


def failures(view: ExperimentView) -> Table | str:
    """The failed trials of the search and of its final, with what they were and why they failed."""
    every = [(where, trial) for where in (view, view.final) if where for trial in where.trials]
    failed = [(where, trial) for where, trial in every if trial.state == "failed"]
    if not failed:
        return "No trial has failed."
    rows = [
        [
            Cell(f"{where.name}/{trial.number}", "strong"),
            Cell(f"{len(trial.epochs)}/{where.epochs}", "number"),
            Cell(str(trial.attempts), "number"),
            Cell(trial.error or "", "reason"),
            Cell(values_text(trial.values)),
        ]
        for where, trial in failed
    ]
    return Table(["trial", "epochs", "attempts", "reason", "values"], rows)


def facts(view: ExperimentView, saved: Mapping[str, Any]) -> Table:
    """What was trained on what, as the record knows it."""
    spec: Any = view.spec
    train, search = spec["train"], spec["search"]
    found = {
        "model": spec["model"],
        "weights": f"{spec['weights']}{_digest(saved.get('weights'))}",
        "data": f"{saved['data']['folder']}{_digest(saved['data']['digest'])}" if "data" in saved else spec["data"],
        "training": f"{train['epochs']} epochs, batch {train['batch_size']} x {train['accumulation']}, "
        f"{spec['resources']['workers']} worker(s), schedule {train['schedule']}",
        "search": f"{search['sampler']}, {view.total} trials, seed {search['seed']}, pruner {spec['prune']['pruner']}",
        **_machine(saved),
    }
    return Table([], [[Cell(name, "name"), Cell(str(value))] for name, value in found.items()])


def _digest(digest: object) -> str:
    return f"  ({digest[:12]})" if isinstance(digest, str) and digest else ""


def _machine(saved: Mapping[str, Any]) -> dict[str, str]:
    """Machine and versions, of records that have them."""
    found = dict(saved.get("environment", {}))
    devices = {"devices": "GPUs" if saved["on_gpus"] else "CPUs"} if "on_gpus" in saved else {}
    if not found:
        return devices
    machine = f"{found.pop('cpus')} cores, {found.pop('platform')}"
    return {
        **devices,
        "machine": machine,
        "versions": ", ".join(f"{name} {version}" for name, version in found.items()),
    }


def figure(value: float | None) -> str:
    """A figure in percent with two decimals, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shown(value)

"""What `raypose plan` found out, in words. Runs in: command line."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table

from raypose.record.distinct import no_more
from raypose.space.knobs import values_text
from raypose.space.schema import Experiment
from raypose.tuning.estimate import Estimate

HEADINGS = ("freeze", "parameters frozen", "trainable", "buffers frozen", "moving", "training FLOPs saved")


def plan_text(experiment: Experiment, planned: Mapping[str, Any]) -> Group:
    """The experiment, what each freeze set freezes and saves, and what each trial changes."""
    freeze = [_freeze_table(planned["freeze"])] if planned["freeze"] else []
    trials = [line for trial in planned["trials"] for line in _trial_lines(trial)]
    return Group("\n".join(_overview(experiment, planned)), *freeze, "\n".join(trials))


def _overview(experiment: Experiment, planned: Mapping[str, Any]) -> Iterator[str]:
    data, wanted, train = planned["data"], experiment.resources, experiment.train
    trials, rule = planned["total"], experiment.lr_rule
    yield f"data       {data['folder']}: {data['train_people']} people to train on, {data['val_people']} to validate"
    if experiment.test is not None:
        share = f"{experiment.test:.0%} of the validation images" if isinstance(experiment.test, float) else "folder "
        yield f"test       {share if isinstance(experiment.test, float) else share + experiment.test}, seen by no trial"
    trusted = f" (trusted, sha256 {experiment.trust_config})" if experiment.trust_config else ""
    yield f"model      {experiment.model}{trusted}, weights {experiment.weights}"
    yield f"search     {trials} trials ({experiment.search.sampler}), pruner {experiment.prune.pruner}"
    if planned["different"] is not None:
        yield f"           {no_more(planned['different'], experiment.search.trials)}"
    batch = f"{wanted.workers} worker(s) x {train.batch_size} x {train.accumulation} accumulated"
    schedule = "compressed into them" if train.schedule == "compressed" else "the config's own, cut after them"
    most = trials * train.epochs
    yield f"training   {train.epochs} epochs a full trial, schedule {schedule}; trials x epochs <= {most}"
    scaled = "" if rule.rule == "none" else f", scaled by the {rule.rule} rule from {rule.reference_batch}"
    yield f"lr         the peak, at an effective batch of {batch}{scaled}"
    if experiment.final:
        top, seeds = experiment.final.top, experiment.final.seeds
        yield f"final      the best {top} and the base config again over {seeds} seeds"
    gpus = wanted.gpus_per_worker
    yield f"resources  {wanted.workers} worker(s) x {wanted.cpus_per_worker} CPU, {gpus} GPU a trial"
    yield from _times(experiment, planned["estimate"])
    yield f"base       {values_text(planned['base_values'])}"


def _times(experiment: Experiment, estimate: Mapping[str, Any] | None) -> Iterator[str]:
    search = experiment.search
    budgets = {"hours": search.hours, "GPU-hours": search.gpu_hours}
    if given := [f"{amount:g} {name}" for name, amount in budgets.items() if amount is not None]:
        yield f"budget     no trial begins after {' or '.join(given)}"
    yield "estimate   " + (Estimate(**estimate).text() if estimate else "none: the trials need another kind of machine")


def _freeze_table(sets: list[dict[str, Any]]) -> Table:
    table = Table(title="\nWhat the freeze sets freeze", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "freeze" else "right")
    for each in sets:
        frozen, still = each["frozen_parameters"], each["frozen_buffers"]
        table.add_row(
            each["choice"],
            f"{frozen:,}",
            f"{each['parameters'] - frozen:,}",
            f"{still:,}",
            f"{each['buffers'] - still:,}",
            f"{each['flops_saved']:.0%}",
        )
    return table


def _trial_lines(trial: Mapping[str, Any]) -> Iterator[str]:
    yield f"\ntrial {trial['number']}: {values_text(trial['values'])}"
    yield f"  lr: peak {trial['peak_lr']:g} at an effective batch of {trial['effective_batch']}"
    yield f"  parameters: {trial['parameters']:,} of which {trial['frozen_parameters']:,} frozen"
    yield from _weights_lines(trial["weights"])
    yield from (f"  note: {notice}" for notice in trial["notices"])
    yield from (f"  {key}: {old} -> {new}" for key, (old, new) in trial["differences"].items())


def _weights_lines(weights: Mapping[str, Any]) -> Iterator[str]:
    """What became of the tensors of the file and of the model: by name where that is no matter of course."""
    yield "  weights: " + ", ".join(f"{len(names)} {what}" for what, names in weights.items())
    yield from _parts_line("loaded", weights["loaded"])
    yield from (f"    resampled: {name}" for name in weights["resampled"])
    yield from (f"    skipped: {name}, {reason}" for name, reason in weights["skipped"].items())
    yield from _parts_line("missing, so begin at random", weights["missing"])


def _parts_line(what: str, names: Iterable[str]) -> Iterator[str]:
    """How many tensors of each part of the model, in one line."""
    if parts := Counter(".".join(name.split(".")[:2]) for name in names):
        yield f"    {what}: " + ", ".join(f"{count} {part}" for part, count in parts.items())

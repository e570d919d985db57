"""After the search: the best trials once more over seeds, the verdict, and the test data. Runs in: driver."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray

from raypose.datasets.mpii import Report
from raypose.datasets.split import Part
from raypose.record.files import write_json
from raypose.record.final import compare, interval, judge, repeat
from raypose.record.folder import VERDICT, create_final
from raypose.record.study import Study
from raypose.space.run import Run
from raypose.space.trial import Trial
from raypose.tuning.cluster import Capacity
from raypose.tuning.lane import test_weights
from raypose.tuning.prepare import run_of


def open_final(search: Study) -> Study:
    """The study of the repetitions; made from the finished search where there is none yet."""
    folder, saved = search.folder, search.folder.saved
    if not folder.final.exists:
        train = search.experiment.train
        epochs = saved["full_epochs"] if train.schedule == "full" else train.epochs
        experiment, points = repeat(search.experiment, search.view(worked_on=True), epochs)
        create_final(folder, {**saved, "experiment": experiment.model_dump(mode="json"), "points": points})
    return Study(folder.final.saved, folder.final)


def conclude(final: Study, report: Report, room: Capacity) -> None:
    """Name the winner of the finished repetitions, test it once on data that no trial saw, and keep the verdict."""
    view = final.view(worked_on=True)
    verdict = judge(view)
    if final.experiment.test is not None:
        ours = _test(final, verdict, report, room)
        verdict["test"] = {"figures": ours["metrics"], "interval": interval(ours["images"])}
        for base in (ranked for ranked in verdict["ranking"][1:] if ranked["trial"] == 0):
            verdict["test"] |= compare(ours["images"], _test(final, base, report, room)["images"])
    write_json(final.folder.path / VERDICT, verdict)


def _test(final: Study, ranked: Mapping[str, Any], report: Report, room: Capacity) -> dict[str, Any]:
    """Metrics and hits per image of a ranked trial's weights on the test data, found by one worker."""
    run, part = on_test_data(final, ranked, report, room)
    worker = ray.remote(test_weights).options(num_cpus=room.per_worker["CPU"], num_gpus=room.gpus_per_worker)
    tested: dict[str, Any] = ray.get(worker.remote(dataclasses.asdict(run), part))
    return tested


def on_test_data(final: Study, ranked: Mapping[str, Any], report: Report, room: Capacity) -> tuple[Run, Part]:
    """What evaluates a ranked trial's weights: a share held out of the data, or another folder's validation part."""
    trial, alone = Trial(ranked["trial"], ranked["values"]), dataclasses.replace(room, workers=1)
    run = run_of(final.experiment, trial, report, alone, final.folder)
    run = dataclasses.replace(run, weights=str(Path(ranked["checkpoint"]) / "weights.pth"))
    if isinstance(final.experiment.test, str):
        return dataclasses.replace(run, data=Path(final.experiment.test)), "val"
    return run, "test"

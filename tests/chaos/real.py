"""A real experiment to be disturbed, and what must hold of it afterwards."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from safetensors.torch import load_file

from raypose.record.epochs import is_intact, read_epochs
from raypose.record.files import digest
from raypose.record.folder import ExperimentFolder
from raypose.record.study import read_view
from tests.home import START_S, TOKEN, Home

Told = list[tuple[Any, ...]]
TRIALS, EPOCHS = 2, 3
CLUSTERS_OWN = "_AutoscalingCoordinatorActor"
MEASURED = ("latency_ms", "images_per_s")  # times differ from run to run
OPTIONS = (
    *("--trials", str(TRIALS), "--epochs", str(EPOCHS), "--set", "search.start=[{lr: 2.0e-3}]"),
    *("--set", "resources.workers=2", "--set", "resources.concurrent_trials=1", "--set", "failure.retries=3"),
)


class Chaos(Home):
    """Two trials of three epochs on two workers, whose processes take their faults from a file."""

    def __init__(self, path: Path, data: Path, cluster: str) -> None:
        super().__init__(path, data)
        self.cluster = cluster

    def begin(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        """`raypose tune`, with the faults given so far."""
        return self._run(
            "tune", "lr.yaml", "--name", "exp", "--data", str(self.data), *OPTIONS, *options, **environment
        )

    def restore(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        """`raypose restore`, without faults: they come once."""
        return self._run("restore", "exp", *options, **environment)

    def _run(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """In the workers too, wherever Ray starts them: as `ray job submit` gives a job its environment."""
        faults = self.fault_environment()
        job = {"runtime_env": {"env_vars": {**faults, "OMP_NUM_THREADS": "1"}}}
        given = {
            **os.environ,
            **faults,
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job),
            **environment,
        }
        command = [sys.executable, "-m", "raypose", *arguments, "--address", self.cluster]
        with (self.path / f"{arguments[0]}.txt").open("a") as out:
            return subprocess.Popen(command, cwd=self.path, stdout=out, stderr=subprocess.STDOUT, text=True, env=given)

    def processes(self, title: str) -> list[int]:
        """Process ids of this experiment's processes of Ray by the beginning of their titles."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                named = (process / "cmdline").read_bytes().startswith(f"ray::{title}".encode())
                ours = named and str(self.path).encode() in (process / "environ").read_bytes()
            except OSError:  # it has ended
                continue
            if ours:
                found.append(int(process.name))
        return found

    def kill(self, title: str, driver: subprocess.Popen[str]) -> None:
        """kill -9 of one of them, as soon as there is one."""
        self.wait_for(lambda: self.processes(title), driver)
        os.kill(self.processes(title)[0], signal.SIGKILL)

    def gone(self) -> bool:
        """Whether no process of it is left, but for one that Ray keeps for all of a cluster once a job has begun."""
        deadline = time.monotonic() + 60
        while (left := set(self.processes("")) - set(self.processes(CLUSTERS_OWN))) and time.monotonic() < deadline:
            time.sleep(0.5)
        return not left


def told(view: dict[str, Any]) -> Told:
    """What must be as if nothing had happened: values, states, figures, and the bits of the weights."""
    return [
        (
            trial["number"],
            trial["state"],
            trial["values"],
            [(e["number"], {k: v for k, v in e["metrics"].items() if k not in MEASURED}) for e in trial["epochs"]],
            [digest(Path(e["folder"]) / "state.safetensors") if e["has_weights"] else None for e in trial["epochs"]],
        )
        for trial in view["trials"]
    ]


def check(home: Chaos, unbroken: Told, until: float = START_S) -> None:
    """The experiment has ended as if nothing had happened, and nothing is left of what did."""
    view = home.show()
    assert view["state"] == "finished", f"{view}\n{home.output()}"
    assert told(view) == unbroken
    assert_record_is_whole(home.folder())
    assert_mirrored_once(home, view)
    assert home.gone(), home.processes("")


def assert_record_is_whole(folder: ExperimentFolder) -> None:
    """Epochs in order, best is the maximum, every checkpoint that is there loads."""
    for trial in read_view(folder).trials:
        epochs = read_epochs(trial.folder)
        assert [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1))
        assert trial.best == max(epoch.metrics["PCK"] for epoch in epochs)
        kept = [epoch for epoch in epochs if epoch.has_weights]
        assert {epoch.number for epoch in kept} == {trial.best_epoch, len(epochs)}
        for epoch in kept:
            assert is_intact(epoch)
            load_file(epoch.folder / "state.safetensors")
        left = [path.name for path in trial.folder.iterdir() if path.name.startswith(".") or path.name == "partial"]
        assert not left, left


def assert_mirrored_once(home: Chaos, view: dict[str, Any]) -> None:
    """One run a trial, every epoch once, none left running."""
    client = MlflowClient(f"sqlite:///{home.path / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("exp")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == len(view["trials"]) + 1 and {run.info.status for run in runs} == {"FINISHED"}
    for trial in view["trials"]:
        points = client.get_metric_history(trial["run_id"], "PCK")
        assert sorted(point.step for point in points) == [epoch["number"] for epoch in trial["epochs"]]


def wait(process: subprocess.Popen[str], home: Chaos) -> int:
    """The exit code; with the output, if it does not come."""
    try:
        return process.wait(START_S)
    except subprocess.TimeoutExpired as fault:
        process.kill()
        raise AssertionError(home.output()) from fault

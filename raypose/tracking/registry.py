"""The winner of an experiment in MLflow's Model Registry, and whether it is the champion there. Runs in: driver.

A registered model holds what can be compared: weights of one model, by one metric, on the same validation images. Each
experiment that has ended adds the weights of its winner as a version, once, however often it is mirrored. The alias
`champion` moves to it if its figure is above the champion's; both are of those very weights on those images, tested
anew where a final did so. Test data take no part, as a figure that has been chosen by is too good.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from raypose.record.epochs import META
from raypose.record.files import read_json
from raypose.record.view import ExperimentView, TrialView
from raypose.tracking.environment import environment
from raypose.tracking.names import legal_metric, plain, trial_title

CHAMPION = "champion"
WEIGHTS = "raypose.weights"
FIGURE = "raypose.figure"
COMPARED = "raypose.champion"
"""The tag that tells how a version did against the champion of its time; it is compared once."""


def winner(view: ExperimentView) -> TrialView | None:
    """The trial of an experiment that has ended whose weights count; None where its final names them, or they are gone.

    A verdict tells them by a path of where the experiment lay when it was written.
    """
    if view.state != "finished":
        return None
    if view.verdict:
        place = Path(view.verdict["checkpoint"]).parts[-2:]
        won = next((t for t in view.trials if t.checkpoint and t.checkpoint.parts[-2:] == place), None)
    else:
        won = None if view.spec.get("final") else view.best
    return won if won and won.checkpoint and (won.checkpoint / META).is_file() else None


def register(client: MlflowClient, view: ExperimentView, trial: TrialView, run_id: str) -> None:
    """Make the weights of `trial`, which are whole among its run's artifacts, a version, and compare it, once each."""
    name = model_name(view)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=_what_it_holds(view, name))
    version = _known_version(client, name, _digest(trial))
    if version is None:
        source = client.get_run(run_id).info.artifact_uri
        tags = {key: plain(value) for key, value in lineage(view, trial).items()}
        version = client.create_model_version(name, source, run_id, tags, description=_what_it_is(view, trial))
    if COMPARED not in version.tags:
        _compare(client, name, version)


def model_name(view: ExperimentView) -> str:
    """Such as ``rtmpose-n-demo-PCK-1f2e3d4c``: model, data and metric, and eight digits of the images' digest."""
    digest, held_out = _images(view)
    images = hashlib.sha256(f"{digest}/{held_out}".encode()).hexdigest()[:8]
    model, data = (Path(str(view.spec[key])) for key in ("model", "data"))
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{model.stem}-{data.name}-{legal_metric(view.metric)}")
    return f"{words}-{images}"


def lineage(view: ExperimentView, trial: TrialView) -> dict[str, object]:
    """The tags of a version: where its weights come from, and what is needed to compare them."""
    digest, held_out = _images(view)
    return {
        "raypose.experiment": view.name,
        "raypose.trial": trial.number,
        "raypose.epoch": trial.best_epoch,
        "raypose.metric": view.metric,
        FIGURE: _figure(trial),
        "raypose.knobs": json.dumps(trial.values),
        "raypose.seed": trial.seed,
        "raypose.data": digest,
        "raypose.held_out": held_out,
        "raypose.version": environment()["raypose"],
        WEIGHTS: _digest(trial),
    }


def _images(view: ExperimentView) -> tuple[str, float]:
    """The digest of the data, and the share of the validation images that was kept for the test."""
    digest: str = read_json(view.folder / "spec.json")["data"]["digest"]
    held_out = view.spec.get("test")
    return digest, held_out if isinstance(held_out, float) else 0.0


def _figure(trial: TrialView) -> float | None:
    return trial.best if trial.retested is None else trial.retested


def _digest(trial: TrialView) -> str:
    assert trial.checkpoint, "only weights that are there are registered"
    files: dict[str, Any] = read_json(trial.checkpoint / META)["files"]
    return str(files["weights.pth"]["sha256"])


def _known_version(client: MlflowClient, name: str, weights: str) -> ModelVersion | None:
    """The version with these weights; of two, which a server makes that answers too late, the later one is deleted."""
    found = client.search_model_versions(f"name = '{name}' and tags.`{WEIGHTS}` = '{weights}'")
    versions = sorted(found, key=lambda version: int(version.version))
    for later in versions[1:]:
        client.delete_model_version(name, later.version)
    return versions[0] if versions else None


def _compare(client: MlflowClient, name: str, version: ModelVersion) -> None:
    """Move the alias if there is none or the version is better; the tag follows, so that a kill in between repeats."""
    champion = client.get_registered_model(name).aliases.get(CHAMPION)
    ours, better = version.tags[FIGURE], champion is None
    if champion is None:
        told = "yes: there was none"
    elif str(champion) == str(version.version):
        told = "yes"
    elif theirs := client.get_model_version(name, champion).tags.get(FIGURE):
        better = float(ours) > float(theirs)
        told = f"{'yes' if better else 'no'}: {ours} against {theirs} of version {champion}"
    else:
        told = f"no: version {champion}, the champion, has no {FIGURE}"
    if better:
        client.set_registered_model_alias(name, CHAMPION, version.version)
    client.set_model_version_tag(name, version.version, COMPARED, told)


def _what_it_holds(view: ExperimentView, name: str) -> str:
    digest, held_out = _images(view)
    without = f", without the share of {held_out:g} that is held out" if held_out else ""
    return (
        f"Winners of experiments that fine-tune {view.spec['model']} on {view.spec['data']} (digest {digest[:12]}), by "
        f"the {view.metric} of their weights on the validation images{without}. `{CHAMPION}` is the best of them: "
        f"`mlflow artifacts download -u models:/{name}@{CHAMPION}`, with MLFLOW_TRACKING_URI, fetches its files."
    )


def _what_it_is(view: ExperimentView, trial: TrialView) -> str:
    title = trial_title(trial.number, trial.values)
    return f"{view.metric} {_figure(trial):.2f} in {view.name}, {title}; epoch {trial.best_epoch}"

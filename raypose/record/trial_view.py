"""One trial of the Optuna study, with what lies in its folder, as plain values. Runs in: driver, command line."""

from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from raypose.record.epochs import read_copied, read_epochs
from raypose.record.final import retested
from raypose.record.requests import is_to_end
from raypose.record.view import TrialState as State
from raypose.record.view import TrialView, best_epoch
from raypose.space.schema import Experiment

STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def trial_view(trial: FrozenTrial, folder: Path, experiment: Experiment, run_id: str | None) -> TrialView:
    """What the study and the trial's `folder` tell; epochs that were taken over have their weights elsewhere."""
    attrs = trial.user_attrs
    source = attrs.get("source")
    epochs = read_copied(folder, Path(source["origin"])) if source else read_epochs(folder)
    best = best_epoch(epochs, experiment.primary)
    return TrialView(
        number=trial.number,
        state=STATES[trial.state],
        values=attrs.get("values", attrs.get("given", {})),
        epochs=epochs,
        best=best.metrics[experiment.primary] if best else None,
        best_epoch=best.number if best else None,
        attempts=attrs.get("attempts", 0),
        seconds=sum(e.seconds for e in epochs),
        error=attrs.get("error"),
        run_id=run_id,
        folder=folder,
        seed=attrs.get("seed", experiment.search.seed),
        source=source["trial"] if source else None,
        repeats=attrs.get("repeats"),
        retested=retested(folder, experiment.primary),
        origin=Path(source["origin"]) if source else None,
        stopped=trial.state == TrialState.PRUNED and is_to_end(folder),
    )

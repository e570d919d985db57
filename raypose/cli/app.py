"""The verbs: parse, call one function, print, choose the exit code. Runs in: command line.

Heavy stages are imported inside the verbs that need them, so that help and errors of the specification are instant.
"""

import sys
from typing import Annotated

import typer

from raypose.cli.bench import bench
from raypose.cli.data import data_app
from raypose.cli.live import extend, stop, watch
from raypose.cli.options import (
    DEFAULT_MLRUNS,
    Address,
    Data,
    Epochs,
    ExperimentName,
    Json,
    Mlruns,
    Model,
    Name,
    Settings,
    Spec,
    Trials,
    TrustConfig,
    Weights,
    load_experiment,
    open_console,
    print_json,
)
from raypose.cli.plan import lr_range, plan
from raypose.cli.report import report
from raypose.cli.running import run_and_tell
from raypose.cli.test import test
from raypose.cli.train import TrainCommand, train
from raypose.errors import ExperimentError, RayposeError, Stopped

HELP = """Find the best way to fine-tune RTMPose: learning rates, freeze sets, input sizes, and any other key.

\b
raypose tune search_spaces/lr.yaml   runs a search; kill it whenever you like
raypose restore lr-1                 goes on exactly where it was
raypose ui                           compares the trials in MLflow
"""
app = typer.Typer(help=HELP, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(data_app, name="data")


@app.command()
def tune(
    spec: Spec,
    name: Name = None,
    data: Data = None,
    model: Model = None,
    trust: TrustConfig = False,
    weights: Weights = None,
    trials: Trials = None,
    epochs: Epochs = None,
    settings: Settings = None,
    take_over: Annotated[
        str | None,
        typer.Option("--from", metavar="EXP", help="Take over another experiment's finished trials as evaluated."),
    ] = None,
    mlruns: Mlruns = DEFAULT_MLRUNS,
    address: Address = None,
) -> None:
    """Search the space of a specification for the best fine-tuning.

    Trial 0 is the base config's own values. Whatever ends the search, `raypose restore` goes on with it.

    \b
    Example: raypose tune search_spaces/lr.yaml --data data/mpii --trials 20
    """
    experiment = load_experiment(
        spec, data=data, model=model, weights=weights, trials=trials, epochs=epochs, settings=settings, trust=trust
    )
    from raypose.tuning.experiment import start

    run_and_tell(
        lambda screen: start(experiment, spec.stem, mlruns.absolute(), name, take_over, address, screen), mlruns
    )


app.command(cls=TrainCommand)(train)


@app.command()
def restore(experiment: ExperimentName, mlruns: Mlruns = DEFAULT_MLRUNS, address: Address = None) -> None:
    """Go on with an experiment exactly where it was, from what was saved.

    Finished epochs are kept, trials that were running go on from their last epoch, MLflow is completed.

    \b
    Example: raypose restore lr-1
    """
    from raypose.record.folder import find_experiment

    folder = find_experiment(mlruns.absolute(), experiment)
    from raypose.tuning.experiment import resume

    run_and_tell(lambda screen: resume(folder, address, screen), mlruns)


@app.command("list")
def list_experiments(mlruns: Mlruns = DEFAULT_MLRUNS, as_json: Json = False) -> None:
    """List all experiments: state, finished trials, best metric.

    \b
    Example: raypose list
    """
    from rich.table import Table

    from raypose.record.folder import experiments
    from raypose.record.study import read_view
    from raypose.space.one_line import one_line

    views = []
    for folder in experiments(mlruns.absolute()):
        try:
            views.append(read_view(folder))
        except ExperimentError as error:
            typer.echo(f"raypose: {error}", err=True)
    if as_json:
        print_json([view.to_json(with_trials=False) for view in views])
        return
    table = Table("experiment", "state", "trials", "metric", "best", "best trial")
    for view in views:
        done = sum(t.state in ("complete", "pruned", "failed") for t in view.trials)
        best = (f"{view.best.best:.2f}", str(view.best.number)) if view.best else ("-", "-")
        table.add_row(view.name, view.state, f"{done}/{view.total}", view.metric, *best)
    if views:
        open_console().print(table)
    else:
        typer.echo(one_line(f"no experiments in {mlruns}; `raypose tune` makes one"))


@app.command()
def show(experiment: ExperimentName, mlruns: Mlruns = DEFAULT_MLRUNS, as_json: Json = False) -> None:
    """Show an experiment and each of its trials.

    --json prints one object: name, state (running, interrupted, finished), metric, total, epochs, folder, spec,
    best_trial, spent (hours, gpu_hours, and over: the budget that is spent), different (how many different trials the
    space holds, if fewer than search.trials), origin (the trial or epoch that a single training began from), and
    trials, each with number, state (waiting, running, complete, pruned, failed), values, epochs (number, metrics,
    seconds, folder, has_weights), best, best_epoch, attempts, seconds, error, run_id (MLflow), stopped (by
    `raypose stop`), folder and checkpoint (the best epoch's folder).

    \b
    Example: raypose show lr-1
    """
    from raypose.record.folder import find_experiment
    from raypose.record.study import read_view

    view = read_view(find_experiment(mlruns.absolute(), experiment))
    if as_json:
        print_json(view.to_json())
        return
    from raypose.display.tables import summary, trial_lines, trial_table

    console = open_console()
    for each in [view, *([view.final] if view.final else [])]:
        console.print(trial_table(each))
        console.print(trial_lines(each), soft_wrap=True)
    console.print(summary(view), soft_wrap=True)
    if view.state == "interrupted":
        console.print(f"Go on with: raypose restore {view.name}")


@app.command()
def ui(
    mlruns: Mlruns = DEFAULT_MLRUNS,
    port: Annotated[int, typer.Option(help="Port on the loopback address; the next free one if it is taken.")] = 5000,
) -> None:
    """Open MLflow on these experiments, on the loopback address, until Ctrl-C.

    \b
    Example: raypose ui --port 5001
    """
    from raypose.tracking.store import open_store
    from raypose.tracking.ui import serve

    raise typer.Exit(serve(open_store(mlruns.absolute()), port=port))


@app.command()
def doctor(data: Data = None, mlruns: Mlruns = DEFAULT_MLRUNS) -> None:
    """Check this machine: versions, GPUs, Ray, C compiler, folders, data; say what is wrong and how to mend it.

    \b
    Example: raypose doctor --data data/mpii
    """
    from raypose.machine.doctor import examine

    sound = True
    for finding in examine(mlruns.absolute(), data):
        sound = sound and finding.sound
        typer.echo(f"{'ok  ' if finding.sound else 'BAD '} {finding.what}: {finding.text}")
    raise typer.Exit(0 if sound else 1)


for verb in (watch, stop, extend, report, plan, lr_range, test, bench):  # after those that they help with
    app.command()(verb)


def main() -> None:
    """Run the command line; what a user can cause or must hear of is told in lines of text, with its exit code."""
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except typer.TyperException as wrong:  # an unknown verb or option, or a value that is none
        context = getattr(wrong, "ctx", None)
        hint = f" (`{context.command_path} --help` explains)" if context else ""
        _tell(wrong.format_message() + hint, 2)
    except (RayposeError, Stopped) as told:
        _tell(str(told), told.exit_code)
    except OSError as error:  # a full or read-only disk, a folder without permission
        _tell(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "), 1)


def _tell(text: str, exit_code: int) -> None:
    from raypose.space.one_line import one_line

    for line in text.splitlines():
        print(f"raypose: {one_line(line)}", file=sys.stderr)
    sys.exit(exit_code)

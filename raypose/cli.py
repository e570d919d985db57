"""The verbs: parse, call one function, print, choose the exit code. Runs in: command line.

Heavy stages are imported inside the verbs that need them, so that help and errors of the specification are instant.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from raypose.errors import ExperimentError, InputError, RayposeError, Stopped

HELP = """Find the best way to fine-tune RTMPose: learning rates, freeze sets, input sizes, and any other key.

raypose tune search_spaces/lr.yaml   runs a search; kill it whenever you like
raypose restore lr-1                 goes on exactly where it was
raypose ui                           compares the trials in MLflow
"""
app = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
data_app = typer.Typer(help="Render the demo set, check a data folder.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")

Spec = Annotated[Path, typer.Argument(help="Specification of the search, such as search_spaces/lr.yaml.")]
ExperimentName = Annotated[str, typer.Argument(help="Name of the experiment; `raypose list` shows them.")]
Name = Annotated[str | None, typer.Option(help="Name of the experiment; default: the file's name and a number.")]
Mlruns = Annotated[Path, typer.Option(help="Folder of all experiments and of MLflow's database.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join; without it, one is started here.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Data = Annotated[str | None, typer.Option(help="demo, or a folder in MPII layout.")]
Model = Annotated[str | None, typer.Option(help="rtmpose-n, t, s, m, l, x, or the path of an RTMPose config.")]
Weights = Annotated[str | None, typer.Option(help="demo, none, official, or a file or URL (.safetensors, .pth).")]
Trials = Annotated[int | None, typer.Option(help="Number of trials, the base config's included.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs of a full trial; the schedule is fitted to them.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the file: --set train.batch_size=16")
]
DEFAULT_MLRUNS = Path("mlruns")


@app.command()
def tune(
    spec: Spec,
    name: Name = None,
    data: Data = None,
    model: Model = None,
    weights: Weights = None,
    trials: Trials = None,
    epochs: Epochs = None,
    settings: Settings = None,
    mlruns: Mlruns = DEFAULT_MLRUNS,
    address: Address = None,
) -> None:
    """Search the space of a specification for the best fine-tuning.

    Trial 0 is the base config's own values. Whatever ends the search, `raypose restore` goes on with it.

    Example: raypose tune search_spaces/lr.yaml --data data/mpii --trials 20
    """
    experiment = _load(spec, data=data, model=model, weights=weights, trials=trials, epochs=epochs, settings=settings)
    from raypose.tuning.experiment import start

    _run(lambda screen: start(experiment, spec.stem, mlruns.absolute(), name, address, screen), mlruns)


@app.command()
def restore(experiment: ExperimentName, mlruns: Mlruns = DEFAULT_MLRUNS, address: Address = None) -> None:
    """Go on with an experiment exactly where it was, from what was saved.

    Finished epochs are kept, trials that were running go on from their last epoch, MLflow is completed.

    Example: raypose restore lr-1
    """
    from raypose.record.folder import find_experiment

    folder = find_experiment(mlruns.absolute(), experiment)
    from raypose.tuning.experiment import resume

    _run(lambda screen: resume(folder, address, screen), mlruns)


def _run(work: Any, mlruns: Path) -> None:
    """Run with a live screen, and end with the summary; exit code 1 if no trial came to a figure."""
    from raypose.screen import LiveScreen, summary

    console = Console(highlight=False)
    with LiveScreen(console).open() as screen:
        view = work(screen)
    console.print(summary(view), soft_wrap=True)
    where = "" if mlruns == DEFAULT_MLRUNS else f" --mlruns {mlruns}"
    console.print(f"Compare the trials in MLflow: raypose ui{where}", soft_wrap=True)
    if view.best is None:
        raise typer.Exit(1)


@app.command("list")
def list_experiments(mlruns: Mlruns = DEFAULT_MLRUNS, as_json: Json = False) -> None:
    """List all experiments: state, finished trials, best metric."""
    from rich.table import Table

    from raypose.record.folder import experiments
    from raypose.record.study import read_view

    views = []
    for folder in experiments(mlruns.absolute()):
        try:
            views.append(read_view(folder))
        except ExperimentError as error:
            typer.echo(f"raypose: {error}", err=True)
    if as_json:
        _print_json([view.to_json(with_trials=False) for view in views])
        return
    table = Table("experiment", "state", "trials", "metric", "best", "best trial")
    for view in views:
        done = sum(t.state in ("complete", "pruned", "failed") for t in view.trials)
        best = (f"{view.best.best:.2f}", str(view.best.number)) if view.best else ("-", "-")
        table.add_row(view.name, view.state, f"{done}/{view.total}", view.metric, *best)
    Console(highlight=False).print(table if views else f"no experiments in {mlruns}; `raypose tune` makes one")


@app.command()
def show(experiment: ExperimentName, mlruns: Mlruns = DEFAULT_MLRUNS, as_json: Json = False) -> None:
    """Show an experiment and each of its trials.

    --json prints one object: name, state (running, interrupted, finished), metric, total, epochs, folder, spec,
    best_trial, and trials, each with number, state (waiting, running, complete, pruned, failed), values, epochs
    (number, metrics, seconds, folder, has_weights), best, best_epoch, attempts, seconds, error, run_id (MLflow),
    folder and checkpoint (the best epoch's folder).
    """
    from raypose.record.folder import find_experiment
    from raypose.record.study import read_view

    view = read_view(find_experiment(mlruns.absolute(), experiment))
    if as_json:
        _print_json(view.to_json())
        return
    from raypose.screen import summary, trial_lines, trial_table

    console = Console(highlight=False)
    console.print(trial_table(view))
    console.print(trial_lines(view), soft_wrap=True)
    console.print(summary(view), soft_wrap=True)
    if view.state == "interrupted":
        console.print(f"Go on with: raypose restore {view.name}")


@app.command()
def plan(
    spec: Spec,
    data: Data = None,
    model: Model = None,
    weights: Weights = None,
    trials: Trials = None,
    epochs: Epochs = None,
    settings: Settings = None,
    sampled: Annotated[int, typer.Option(help="How many trials to draw and resolve.", min=1)] = 3,
    as_json: Json = False,
) -> None:
    """Do everything that `tune` would check and resolve, without training and without leaving a trace.

    Shows the data, the base config's own values, the resources, and what each drawn trial changes in the config.
    """
    experiment = _load(spec, data=data, model=model, weights=weights, trials=trials, epochs=epochs, settings=settings)
    from raypose.screen import LiveScreen, plan_text
    from raypose.tuning.experiment import plan as make_plan

    with LiveScreen(Console(stderr=True, highlight=False)).open() as screen:
        planned = make_plan(experiment, sampled, screen)
    if as_json:
        _print_json(planned)
    else:
        Console(highlight=False).print(plan_text(experiment, planned), soft_wrap=True)


@app.command()
def ui(
    mlruns: Mlruns = DEFAULT_MLRUNS,
    port: Annotated[int, typer.Option(help="Port on the loopback address; the next free one if it is taken.")] = 5000,
) -> None:
    """Open MLflow on these experiments, on the loopback address, until Ctrl-C."""
    from raypose.tracking.store import open_store
    from raypose.tracking.ui import serve

    raise typer.Exit(serve(open_store(mlruns.absolute()), port=port))


@app.command()
def doctor(data: Data = None, mlruns: Mlruns = DEFAULT_MLRUNS) -> None:
    """Check this machine: versions, GPUs, Ray, C compiler, folders, data; say what is wrong and how to mend it."""
    from raypose.doctor import examine

    sound = True
    for finding in examine(mlruns.absolute(), data):
        sound = sound and finding.sound
        typer.echo(f"{'ok  ' if finding.sound else 'BAD '} {finding.what}: {finding.text}")
    raise typer.Exit(0 if sound else 1)


@data_app.command("demo")
def data_demo(
    folder: Annotated[Path, typer.Argument(help="Folder to render into; it must not exist or hold a demo set.")],
    train: Annotated[int, typer.Option(help="Training people.", min=1)] = 800,
    val: Annotated[int, typer.Option(help="Validation people.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.", min=0)] = 0,
) -> None:
    """Render the demo set: drawn people in MPII layout."""
    from raypose.datasets.demo import ensure_demo
    from raypose.screen import LiveScreen

    with LiveScreen(Console(highlight=False)).open() as screen:
        screen.say(f"rendering {train + val} people")
        rendered = ensure_demo(folder.absolute(), train=train, val=val, seed=seed, on_progress=screen.progress)
    typer.echo(f"{folder}: {'rendered' if rendered else 'is there already'}")


@data_app.command("check")
def data_check(
    folder: Annotated[Path, typer.Argument(help="Folder with images/ and annotations/.")],
    deep: Annotated[bool, typer.Option("--deep", help="Decode every image too.")] = False,
    as_json: Json = False,
) -> None:
    """Is this a sound MPII layout? Counts, and every problem."""
    from raypose.datasets.mpii import check_mpii

    report = check_mpii(folder, deep=deep)
    if as_json:
        _print_json(dataclasses.asdict(report))
    else:
        typer.echo(
            f"{folder}: {report.train_people} people to train on in {report.train_images} images, "
            f"{report.val_people} to validate in {report.val_images}, {report.joints_labelled} joints; "
            f"{len(report.problems)} problems"
        )
        for problem in report.problems:
            typer.echo(f"  {problem.severity}: {problem}")
    raise typer.Exit(2 if report.errors else 0)


def _load(spec: Path, *, settings: list[str] | None, **options: Any) -> Any:
    """The experiment a verb's options describe: named options and --set lie over the file; paths become absolute."""
    from raypose.space.load import load_spec
    from raypose.space.schema import PRESETS

    keys = {"trials": "search.trials", "epochs": "train.epochs"}
    overrides = {keys.get(name, name): json.dumps(value) for name, value in options.items() if value is not None}
    for setting in settings or []:
        key, separator, value = setting.partition("=")
        if not separator or not key:
            raise InputError(f"--set: '{setting}': expected KEY=VALUE, such as train.batch_size=16")
        overrides[key] = value
    experiment = load_spec(spec, overrides)
    words = {"data": ("demo",), "weights": ("demo", "none", "official"), "model": PRESETS}
    paths = {
        name: str(Path(value).absolute())
        for name, known in words.items()
        if (value := getattr(experiment, name)) not in known and "://" not in value
    }
    return experiment.model_copy(update=paths)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, default=str))


def main() -> None:
    """Run the command line; what a user can cause or must hear of is told in lines of text, with its exit code."""
    try:
        app(standalone_mode=True)
    except (RayposeError, Stopped) as told:
        _tell(str(told), told.exit_code)
    except OSError as error:  # a full or read-only disk, a folder without permission
        _tell(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "), 1)


def _tell(text: str, exit_code: int) -> None:
    for line in text.splitlines():
        print(f"raypose: {line}", file=sys.stderr)
    sys.exit(exit_code)

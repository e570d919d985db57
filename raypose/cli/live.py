"""The verbs beside a running experiment: `raypose watch`, `stop` and `extend`. Runs in: command line.

Heavy stages are imported inside them, so that help is instant.
"""

import time
from typing import Annotated

import typer

from raypose.cli.options import DEFAULT_MLRUNS, ExperimentName, Mlruns, open_console

FRAME_S = 2.0


def watch(
    experiment: ExperimentName,
    once: Annotated[bool, typer.Option("--once", help="Print one frame, for scripts.")] = False,
    mlruns: Mlruns = DEFAULT_MLRUNS,
) -> None:
    """Watch an experiment from another terminal: trials, learning curves, time and budget left, this machine's load.

    It reads the record only, on whatever machine sees it, and leaves by itself when nobody works on the experiment.

    \b
    Example: raypose watch lr-1
    """
    from rich.live import Live

    from raypose.display.frame import AROUND, frame
    from raypose.display.tables import summary
    from raypose.record.folder import find_experiment
    from raypose.record.onlooker import Onlooker

    console, onlooker = open_console(), Onlooker(find_experiment(mlruns.absolute(), experiment))
    if once:
        console.print(frame(onlooker.look(), rows=len(onlooker.look().trials)))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            view = onlooker.look()
            live.update(frame(view, console.height - AROUND), refresh=True)
            if view.state != "running":
                break
            time.sleep(FRAME_S)
    if not console.is_terminal:  # where the last frame ends without a line break
        console.line()
    console.print(summary(view), soft_wrap=True)
    if view.state == "interrupted":
        console.print(f"Nobody works on it; go on with: raypose restore {view.name}")


def stop(
    experiment: ExperimentName,
    trial: Annotated[int | None, typer.Option(help="End this trial only, with its running epoch.", min=0)] = None,
    mlruns: Mlruns = DEFAULT_MLRUNS,
) -> None:
    """Stop a running experiment without loss, on whatever machine it runs, and wait until all is saved.

    `raypose restore` goes on in the middle of its epochs. With --trial the others go on, and that one counts as pruned
    with the epochs that it has: it may still be the best, and no restore takes it up again.

    \b
    Example: raypose stop lr-1 --trial 3
    """
    from raypose.cli.stopping import stop_experiment, stop_trial
    from raypose.display.screen import LiveScreen
    from raypose.record.folder import find_experiment

    folder = find_experiment(mlruns.absolute(), experiment)
    with LiveScreen(open_console(stderr=True)).open() as screen:
        if trial is None:
            view = stop_experiment(folder, screen.say)
            rest = "it was at its end" if view.state == "finished" else f"go on with: raypose restore {view.name}"
            said = f"{view.name} is stopped; {rest}"
        else:
            ended = stop_trial(folder, trial, screen.say)
            unfinished = "; it ends when the experiment goes on" if ended.state == "running" else ""
            said = f"trial {trial} is {ended.state} after epoch {len(ended.epochs)}{unfinished}"
    typer.echo(said)


def extend(
    experiment: ExperimentName,
    trials: Annotated[int | None, typer.Option(help="So many trials more.", min=1)] = None,
    hours: Annotated[float | None, typer.Option(help="So many hours more.", min=0.0)] = None,
    gpu_hours: Annotated[float | None, typer.Option(help="So many GPU-hours more.", min=0.0)] = None,
    mlruns: Mlruns = DEFAULT_MLRUNS,
) -> None:
    """Give an experiment that does not run more trials or time; `raypose restore` then goes on with it.

    Its trials are the same as if it had had the larger budget from the start.

    \b
    Example: raypose extend lr-1 --trials 20 && raypose restore lr-1
    """
    from raypose.display.budget import budget_line
    from raypose.record.distinct import no_more
    from raypose.record.extend import extend as raise_budgets
    from raypose.record.folder import find_experiment

    folder = find_experiment(mlruns.absolute(), experiment)
    view = raise_budgets(folder, trials=trials, hours=hours, gpu_hours=gpu_hours)
    typer.echo(f"{view.name}: {view.total} trials, {budget_line(view)}")
    if view.different is not None:
        typer.echo(no_more(view.different, view.asked))
    if view.spent.over:
        typer.echo(f"all of its {view.spent.over} are spent; extend these too, or no trial begins")
    else:
        typer.echo(f"go on with: raypose restore {view.name}")

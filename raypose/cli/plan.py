"""The verbs that look before the search: `raypose plan` and `raypose lr-range`. Runs in: command line.

Heavy stages are imported inside them, so that help and errors of the specification are instant.
"""

from pathlib import Path
from typing import Annotated

import typer

from raypose.cli.options import (
    Data,
    Epochs,
    Json,
    Model,
    Settings,
    Spec,
    Trials,
    TrustConfig,
    Weights,
    load_experiment,
    open_console,
    print_json,
)


def plan(
    spec: Spec,
    data: Data = None,
    model: Model = None,
    trust: TrustConfig = False,
    weights: Weights = None,
    trials: Trials = None,
    epochs: Epochs = None,
    settings: Settings = None,
    sampled: Annotated[int, typer.Option(help="How many trials to draw and resolve.", min=1)] = 3,
    trial: Annotated[int | None, typer.Option(help="Resolve this trial only.", min=0)] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw each parameter group's LR over all steps (.png).")] = None,
    as_json: Json = False,
) -> None:
    """Do everything that `tune` would check and resolve, without training and without leaving a trace.

    Shows the data, the base config's own values, the resources, and what each drawn trial changes in the config:

    lr          the peak learning rate; the cosine's floor is a share of it, warm-up and average a share of all steps.
                --plot draws what MMEngine's own schedulers will do.

    freeze      for each choice: what is frozen and what learns, parameters and buffers, and the training FLOPs saved.

    input_size  every place of the config that follows; tensors of the weights that are loaded, resampled or skipped.

    \b
    Example: raypose plan search_spaces/all.yaml --trial 2 --plot lr.png
    """
    experiment = load_experiment(
        spec, data=data, model=model, weights=weights, trials=trials, epochs=epochs, settings=settings, trust=trust
    )
    from raypose.display.planned import plan_text
    from raypose.display.screen import LiveScreen
    from raypose.tuning.plan import plan as make_plan

    numbers = range(sampled) if trial is None else [trial]
    with LiveScreen(open_console(stderr=True)).open() as screen:
        planned = make_plan(experiment, numbers, plot is not None, screen)
    if plot:
        from raypose.display.plots import draw_schedules

        draw_schedules(planned, plot)
    if as_json:
        print_json(planned)
    else:
        open_console().print(plan_text(experiment, planned), soft_wrap=True)


def lr_range(
    spec: Spec,
    data: Data = None,
    model: Model = None,
    trust: TrustConfig = False,
    weights: Weights = None,
    settings: Settings = None,
    steps: Annotated[
        int, typer.Option(help="Optimizer steps, from 1e-6 to 1 or until the loss explodes.", min=50)
    ] = 200,
    plot: Annotated[Path | None, typer.Option(help="Draw the loss over the learning rate (.png).")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the bounds into the file, as space.lr.")] = False,
    as_json: Json = False,
) -> None:
    """Propose the bounds of lr: train a few hundred steps with a rate that grows until the loss explodes.

    \b
    Example: raypose lr-range search_spaces/lr.yaml --plot range.png --write
    """
    experiment = load_experiment(spec, data=data, model=model, weights=weights, settings=settings, trust=trust)
    from raypose.display.screen import LiveScreen
    from raypose.space.rewrite import write_range
    from raypose.tuning.plan import measure_range

    text = spec.read_text(encoding="utf-8")
    if write:
        write_range(text, "lr", 1.0, 2.0)  # what cannot be written is told before the training
    with LiveScreen(open_console(stderr=True)).open() as screen:
        found = measure_range(experiment, steps, screen)
    if plot:
        from raypose.display.plots import draw_range

        draw_range(found, plot)
    if write:
        spec.write_text(write_range(text, "lr", found["low"], found["high"]), encoding="utf-8")
    if as_json:
        print_json(found)
    else:
        fell, best = found["losses"][0] - min(found["losses"]), min(found["losses"])
        typer.echo(f"the loss fell by {fell:.3g} to {best:.3g} in {len(found['losses'])} steps")
        bounds = f"lr: {{log_uniform: [{found['low']:g}, {found['high']:g}]}}"
        typer.echo(bounds + (f"   written to {spec}" if write else "   (--write puts it into the file)"))

"""The verb that trains once: `raypose train`. Runs in: command line.

Heavy stages are imported inside it, so that help and errors of the specification are instant.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from raypose.cli.options import (
    DEFAULT_MLRUNS,
    Address,
    Data,
    Epochs,
    Mlruns,
    Model,
    Name,
    Settings,
    TrustConfig,
    Weights,
    load_experiment,
    split_settings,
)
from raypose.cli.running import run_and_tell
from raypose.errors import InputError, SpecError

if TYPE_CHECKING:
    from raypose.record.folder import ExperimentFolder
    from raypose.record.origin import Origin
    from raypose.space.schema import Experiment

LATEST = "latest"
SPEC_HELP = "Specification, such as search_spaces/lr.yaml; --trial and --resume CKPT bring their own."
TAKEN = ("model", "weights", "data")


class TrainCommand(TyperCommand):
    """A command with options that Typer does not know: several values after one name, and one without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Typer's, of arguments that it understands."""
        return super().parse_args(ctx, spelled_out(args))


def spelled_out(arguments: list[str]) -> list[str]:
    """`--values a=1 b=2` as `--values a=1 --values b=2`, and `--resume` without a folder as `--resume latest`."""
    spelled: list[str] = []
    option = ""
    for argument, following in pairwise([*arguments, "-"]):
        if option == "--values" and "=" in argument and not argument.startswith("-"):
            spelled += [argument] if spelled[-1] == option else [option, argument]
            continue
        option = argument
        spelled.append(argument)
        if argument == "--resume" and (following.startswith("-") or following.endswith((".yaml", ".yml"))):
            spelled.append(LATEST)
    return spelled


def train(
    spec: Annotated[Path | None, typer.Argument(help=SPEC_HELP)] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--values", metavar="KNOB=VALUE ...", help="Values of knobs: --values lr=1e-3 freeze=backbone"),
    ] = None,
    trial: Annotated[
        str | None,
        typer.Option(metavar="EXP/N", help="Repeat this trial of an experiment: its values, seed, model, weights..."),
    ] = None,
    epochs: Epochs = None,
    workers: Annotated[int | None, typer.Option(help="Training processes, each on a GPU where there are any.")] = None,
    amp: Annotated[
        bool | None, typer.Option("--amp/--no-amp", help="Mixed precision; on a GPU only, CPUs are refused.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="[CKPT]", help="Go on with the last run of this name; or, as a new one, from this epoch."),
    ] = None,
    load_from: Annotated[
        str | None, typer.Option(metavar="CKPT", help="Begin with the weights of an epoch's folder, and nothing else.")
    ] = None,
    data: Data = None,
    model: Model = None,
    trust: TrustConfig = False,
    weights: Weights = None,
    settings: Settings = None,
    name: Name = None,
    mlruns: Mlruns = DEFAULT_MLRUNS,
    address: Address = None,
) -> None:
    """Train once, with the guarantees that a search's trials have, and tracked like one.

    The values are those that the file holds fixed and the base config's own. It is an experiment with one trial: show,
    list, ui and restore know it. Where more than one says a thing, the later of these counts: the file, --trial, the
    options.

    --resume          goes on where the last run of this name was, and begins one where there is none

    --resume CKPT     begins a run that goes on after this epoch with all state; with more --epochs by their schedule

    --load-from CKPT  begins a run from these weights alone, as --weights does

    On one machine a training takes one GPU if there is one; --workers 2 takes two, --set resources.gpus_per_worker=0
    none; --set search.seed=1 takes another seed.

    \b
    Example: raypose train search_spaces/lr.yaml --values lr=1e-3 freeze=backbone --epochs 12

    \b
    Example: raypose train --trial lr-1/6
    """
    root = mlruns.absolute()
    origin = _origin(root, trial, resume)
    options = {"data": data, "model": model, "weights": _start(weights, load_from)}
    numbers = {"epochs": epochs, "workers": workers, "amp": amp}
    experiment = _single(spec, origin, values or [], settings=settings, trust=trust, **options, **numbers)
    stem = f"{spec.stem if spec else origin.folder.name if origin else ''}-train"
    earlier = _latest(root, name, stem, experiment) if resume == LATEST else None
    if origin and origin.epoch:
        from raypose.record.origin import require_same

        require_same(experiment, origin)
    from raypose.tuning.experiment import resume as go_on
    from raypose.tuning.experiment import start

    with _told_of(values or []):
        if earlier:
            run_and_tell(lambda screen: go_on(earlier, address, screen), mlruns)
        else:
            run_and_tell(lambda screen: start(experiment, stem, root, name, None, address, screen, origin), mlruns)


def _origin(mlruns: Path, trial: str | None, resume: str | None) -> "Origin | None":
    """The trial to repeat, or to go on from."""
    checkpoint = None if resume in (None, LATEST) else resume
    if trial and checkpoint:
        raise InputError("--trial, --resume: a checkpoint names its trial; leave --trial out")
    if not trial and not checkpoint:
        return None
    from raypose.record.origin import origin_at, origin_of

    return origin_of(mlruns, trial) if trial else origin_at(Path(str(checkpoint)))


def _start(weights: str | None, load_from: str | None) -> str | None:
    """What is to be loaded: of an epoch's folder its exported weights."""
    if load_from is None:
        return weights
    if weights is not None:
        raise InputError("--weights, --load-from: both name the weights to begin with; leave one out")
    if not Path(load_from).is_dir():
        return load_from
    inside = Path(load_from) / "weights.pth"
    if not inside.is_file():
        raise InputError(f"--load-from: {load_from}: holds no weights.pth; a trial keeps its best and last epoch's")
    return str(inside)


def _single(spec: Path | None, origin: "Origin | None", values: list[str], **options: Any) -> "Experiment":
    """The experiment that is the one training."""
    from raypose.space.single import single
    from raypose.space.values import parse_values

    if not spec and not origin:
        raise InputError("train: name a specification, or a trial to repeat: --trial lr-1/6")
    saved = origin.spec if origin else {}
    taken = {"seed": origin.trial.seed} if origin else {}
    if spec and origin:
        taken |= {**{key: saved[key] for key in TAKEN}, "epochs": saved["train"]["epochs"]}
    given = {name: value for name, value in options.items() if value is not None}
    whole = load_experiment(spec or saved, single=True, **{"settings": None, **taken, **given})
    with _told_of(values):
        return single(
            whole,
            origin.trial.values if origin else {},
            parse_values(split_settings(values, "--values", "lr=1e-3"), "--values"),
        )


def _latest(mlruns: Path, name: str | None, stem: str, experiment: "Experiment") -> "ExperimentFolder | None":
    """The run to go on with, if there is one. Raises SpecError if it was begun with other settings."""
    from raypose.record.folder import latest_experiment
    from raypose.space.single import differences

    folder = latest_experiment(mlruns, name, stem)
    if folder and (differ := differences(experiment, folder.saved["experiment"])):
        text = (
            f"{folder.name} was begun with other {', '.join(differ)}; `raypose restore {folder.name}` goes on with it"
        )
        raise SpecError([f"--resume: {text}; without --resume a new run begins"])
    return folder


@contextmanager
def _told_of(values: Iterable[str]) -> Iterator[None]:
    """Faults of values are told under the option's name: they are checked as what a file holds fixed."""
    names = [value.partition("=")[0] for value in values]
    try:
        yield
    except SpecError as error:
        raise SpecError([_renamed(problem, names) for problem in error.problems]) from error


def _renamed(problem: str, names: Iterable[str]) -> str:
    places = {f"fixed.{name}:": f"--values {name}:" for name in names}
    found = next((place for place in places if problem.startswith(place)), None)
    return problem.replace(found, places[found], 1) if found else problem

"""What several verbs share: options, the experiment they describe, and how to print. Runs in: command line."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from raypose.errors import InputError

Spec = Annotated[Path, typer.Argument(help="Specification of the search, such as search_spaces/lr.yaml.")]
ExperimentName = Annotated[str, typer.Argument(help="Name of the experiment; `raypose list` shows them.")]
Name = Annotated[str | None, typer.Option(help="Name of the experiment; default: the file's name and a number.")]
Mlruns = Annotated[Path, typer.Option(help="Folder of all experiments and of MLflow's database.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join; without it, one is started here.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Data = Annotated[str | None, typer.Option(help="demo, or a folder in MPII layout.")]
Model = Annotated[str | None, typer.Option(help="rtmpose-n, t, s, m, l, x, or the path of an RTMPose config.")]
TrustConfig = Annotated[
    bool, typer.Option("--trust-config", help="Run the config that model names, a program, if it is none of MMPose's.")
]
Weights = Annotated[str | None, typer.Option(help="demo, none, official, or a file or URL (.safetensors, .pth).")]
Trials = Annotated[int | None, typer.Option(help="Number of trials, the base config's included.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs of a full trial; the schedule is fitted to them.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the file: --set train.batch_size=16")
]
DEFAULT_MLRUNS = Path("mlruns")
WIDE = 200  # columns, in a file or a pipe


def load_experiment(
    spec: Path | Mapping[str, Any],
    *,
    settings: list[str] | None,
    trust: bool = False,
    single: bool = False,
    **options: Any,
) -> Any:
    """The experiment a verb's options describe: named options and --set lie over the file; paths become absolute.

    `trust`: the config that it names may be run, though it is none of MMPose's. `single`: it needs no space. Raises
    SpecError.
    """
    from raypose.space.load import load_spec
    from raypose.space.schema import PRESETS
    from raypose.space.trust import trusting

    sections = {"search": ("trials", "seed"), "train": ("epochs", "amp"), "resources": ("workers",)}
    keys = {name: f"{section}.{name}" for section, names in sections.items() for name in names}
    overrides = {keys.get(name, name): json.dumps(value) for name, value in options.items() if value is not None}
    overrides |= split_settings(settings or [], "--set", "train.batch_size=16")
    experiment = load_spec(spec, overrides, single=single)
    words = {"data": ("demo",), "test": (), "weights": ("demo", "none", "official"), "model": PRESETS}
    paths = {
        name: str(Path(value).absolute())
        for name, known in words.items()
        if isinstance(value := getattr(experiment, name), str) and value not in known and "://" not in value
    }
    return trusting(experiment.model_copy(update=paths), trust)


def split_settings(settings: list[str], option: str, example: str) -> dict[str, str]:
    """The texts of an option by their keys. Raises InputError, with an example, for one that is not KEY=VALUE."""
    pairs = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator or not key:
            raise InputError(f"{option}: '{setting}': expected KEY=VALUE, such as {example}")
        pairs[key] = value
    return pairs


def open_console(stderr: bool = False) -> Console:
    """As wide as the terminal; wide enough for every table where there is none."""
    plain = partial(Console, stderr=stderr, highlight=False, markup=False)  # brackets in names and errors are no styles
    console = plain()
    return console if console.is_terminal else plain(width=WIDE)


def print_json(value: Any) -> None:
    """A value for programs."""
    typer.echo(json.dumps(value, indent=1, default=str))

"""`raypose train` as it is typed: what it understands, what of several wishes counts, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

from raypose.cli.options import load_experiment, split_settings
from raypose.cli.train import spelled_out
from raypose.errors import InputError, SpecError
from raypose.record.folder import create_experiment
from raypose.space.knobs import Value
from raypose.space.load import parse_spec
from raypose.space.single import differences, single
from raypose.space.values import parse_values

SPEC = """\
weights: none
space:
  lr: {log_uniform: [1.0e-4, 1.0e-2], also: [optim_wrapper.optimizer.weight_decay]}
  freeze: {choice: [none, stem]}
  lr_mult.backbone: {choice: [0.1], when: {freeze: none}}
fixed: {input_size: 64x64}
search: {sampler: cmaes, trials: 9, seed: 3, start: [{lr: 1.0e-3}]}
final: {top: 2}
"""


def read(settings: list[str]) -> dict[str, Value]:
    """As `train` reads the texts of --values."""
    return parse_values(split_settings(settings, "--values", "lr=1e-3"), "--values")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(SPEC)
    return file


def raypose(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "raypose", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        ("s.yaml --values lr=1 freeze=stem --amp", "s.yaml --values lr=1 --values freeze=stem --amp"),
        ("--values a=1 b=2 s.yaml c=3", "--values a=1 --values b=2 s.yaml c=3"),
        ("--values a=1 --values b=2 c=3", "--values a=1 --values b=2 --values c=3"),
        ("--values a=1 --set b=2 c=3", "--values a=1 --set b=2 c=3"),
        ("--values=a=1 s.yaml", "--values=a=1 s.yaml"),
        ("s.yaml --resume", "s.yaml --resume latest"),
        ("--resume s.yaml", "--resume latest s.yaml"),
        ("s.yaml --resume --epochs 3", "s.yaml --resume latest --epochs 3"),
        ("--resume runs/epoch_0001 s.yaml", "--resume runs/epoch_0001 s.yaml"),
        ("--weights s.yaml", "--weights s.yaml"),
    ],
)
def test_several_values_after_one_name_and_a_name_without_a_value(typed: str, understood: str) -> None:
    assert spelled_out(typed.split()) == understood.split()


def test_values_lie_over_a_repeated_trials_and_those_over_the_files(spec: Path) -> None:
    experiment = load_experiment(spec, settings=["search.seed=4"], single=True)
    alone = single(experiment, {"freeze": "stem", "input_size": "96x96"}, read(["lr=2e-3"]))
    decay = "optim_wrapper.optimizer.weight_decay"
    assert alone.fixed == {"input_size": "96x96", "freeze": "stem", decay: 2e-3, "lr": 2e-3}
    assert (alone.space, alone.final, alone.prune.pruner) == ({}, None, "none")
    assert (alone.search.trials, alone.search.start, alone.search.seed) == (1, (), 4)
    assert single(experiment, {}, read(["freeze=[stem, norms]"])).fixed["freeze"] == "stem+norms"
    assert differences(alone, alone.model_dump(mode="json")) == []
    other = single(load_experiment(spec, settings=None, epochs=2, single=True), {}, {"lr": 1})
    differ = {"fixed.input_size", "fixed.freeze", "fixed.lr", f"fixed.{decay}", "search.seed", "train.epochs"}
    assert set(differences(other, alone.model_dump(mode="json"))) == differ


def test_only_a_single_training_has_no_space(spec: Path) -> None:
    spec.write_text("weights: none")
    saved = single(load_experiment(spec, settings=None, single=True), {}, {}).model_dump(mode="json")
    assert parse_spec(saved, empty_space=True).space == {}
    with pytest.raises(SpecError, match="space: no knob is left to explore"):
        parse_spec(saved)
    with pytest.raises(SpecError, match="space: missing; name at least one knob"):
        load_experiment(spec, settings=None)


def test_values_that_are_none(spec: Path) -> None:
    with pytest.raises(InputError, match="--values: 'lr': expected KEY=VALUE, such as lr=1e-3"):
        read(["lr"])
    with pytest.raises(SpecError, match="--values lr: "):
        read(["lr=["])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "train: name a specification, or a trial to repeat: --trial lr-1/6"),
        ("nix.yaml", "nix.yaml: cannot be read: no such file"),
        ("mine.yaml --epochs 0", "--set train.epochs: "),
        ("mine.yaml --values lr=-1 freeze=backbnoe", "--values lr: a learning rate is above 0, got -1"),
        ("mine.yaml --values lr=-1 freeze=backbnoe", "--values freeze: unknown freeze set 'backbnoe'; did you mean"),
        ("mine.yaml --trial lr-1/6", "no experiment 'lr-1' in "),
        ("mine.yaml --resume .", "--resume: .: no epoch's folder of an experiment, such as "),
        ("mine.yaml --load-from .", "--load-from: .: holds no weights.pth"),
        ("mine.yaml --load-from a --weights b", "--weights, --load-from: both name the weights"),
        ("--resume a --trial b/1", "--trial, --resume: a checkpoint names its trial"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(arguments: str, said: str, spec: Path) -> None:
    done = raypose("train", *arguments.split(), cwd=spec.parent)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert all(line.startswith("raypose: ") for line in done.stderr.splitlines())
    assert [file.name for file in spec.parent.iterdir()] == ["mine.yaml"]


def test_values_that_only_the_model_can_judge_are_told_by_their_names(spec: Path, tiny_data: Path) -> None:
    values = ["optim_wrapper.optimizer.wd=0", "model.head.input_size=1", "lr=1e-3"]
    done = raypose("train", "mine.yaml", "--data", str(tiny_data), "--values", *values, cwd=spec.parent)
    assert done.returncode == 2
    first, second = [line for line in done.stderr.splitlines() if "--values" in line]
    assert first.startswith("raypose: --values optim_wrapper.optimizer.wd: the base config has no such key")
    assert second.startswith("raypose: --values model.head.input_size: raypose writes this key itself; set input_size")


def test_resuming_with_other_settings_is_refused(spec: Path) -> None:
    made = single(load_experiment(spec, settings=None, epochs=5, single=True), {}, {})
    create_experiment(spec.parent / "mlruns", None, "mine-train", {"experiment": made.model_dump(mode="json")})
    done = raypose("train", "mine.yaml", "--resume", "--values", "lr=1e-3", cwd=spec.parent)
    assert done.returncode == 2 and "--resume: mine-train-1 was begun with other fixed.input_size" not in done.stderr
    assert "`raypose restore mine-train-1` goes on with it; without --resume a new run begins" in done.stderr
    assert all(key in done.stderr for key in ("fixed.lr", "train.epochs"))

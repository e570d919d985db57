"""Every fault of a specification is reported at once, each at its line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from raypose.errors import SpecError
from raypose.space import Experiment, Range, load_spec, parse_spec

SPACE = "space: {lr: {log_uniform: [2.0e-4, 1.6e-2]}}\n"


def test_all_faults_are_reported_in_the_order_of_the_file_then_the_options(
    problems_of: Callable[..., list[str]],
) -> None:
    text = """\
modle: rtmpose-n
space:
  lr: {log_uniform: [0.1, 0.01]}
  frieze: {choice: [1, x]}
  freeze:
    choice: [nothing, stem, {}]
  input_size: {choice: [1x1, 96x96, 97x96]}
train: {epochs: 0, batch: 3}
train: {}
"""
    problems = problems_of(text, **{"search.trials": "none", "prune.min_epoch": "3", "metric": "[a"})
    starts = [
        "1: modle: unknown key",
        "3: space.lr.log_uniform: the low end 0.1",
        "4: space.frieze: unknown knob; did you mean 'freeze'?",
        "6: space.freeze.choice[2]: expected one value",
        "7: space.input_size.choice[0]: expected an input size",
        "7: space.input_size.choice[2]: the side 97",
        "8: train.epochs: expected a number of at least 1",
        "8: train.batch: unknown key; did you mean 'batch_size'?",
        "9: train: given twice; the first is in line 8",
        "--set metric: not valid YAML",
        "--set search.trials: expected a whole number, got 'none'",
        "--set prune.min_epoch: unknown key; did you mean 'min_epochs'?",
    ]
    assert len(problems) == len(starts)
    assert [problem for problem, start in zip(problems, starts, strict=True) if not problem.startswith(start)] == []


def test_alias_bomb_is_refused_quickly(problems_of: Callable[..., list[str]]) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    (problem,) = problems_of("\n".join(rows))
    assert "aliases that stand for too many values" in problem


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: b\nc: \xff\xfe", ":2: not text in UTF-8; save the file in that encoding"),
        (b"", ": is empty; name at least space, the knobs to explore"),
        (b"a" * 300_000, ": is larger than 256 KiB, which no specification is"),
        (None, ": cannot be read: no such file or directory"),
    ],
)
def test_unreadable_file(tmp_path: Path, content: bytes | None, expected: str) -> None:
    file = tmp_path / "spec.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_spec(file)
    assert caught.value.problems == [f"{file}{expected}"]


def test_directory_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: is a directory"):
        load_spec(tmp_path)


def test_plain_words_are_read_as_yaml_1_2(load: Callable[..., Experiment]) -> None:
    text = (
        "\ufeffspace: {lr: {log_uniform: [2e-4, 1E-2]}, a.b: {choice: [on, no, 1:30, 2024-01-01, 1e3, 010, ~, true]}}"
    )
    space = load(text).space
    assert isinstance(space["lr"], Range) and (space["lr"].low, space["lr"].high) == (2e-4, 1e-2)
    assert space["a.b"].model_dump(mode="json") == {
        "choice": ["on", "no", "1:30", "2024-01-01", 1000.0, 10, None, True]
    }


def test_anchors_may_be_used(load: Callable[..., Experiment]) -> None:
    experiment = load("space: {a.b: &range {uniform: [0, 1]}, c.d: *range}")
    assert experiment.space["a.b"] == experiment.space["c.d"]


def test_options_override_the_file(load: Callable[..., Experiment]) -> None:
    overrides = {
        "train.epochs": "3",
        "data": "my/data",
        "space.optim_wrapper.optimizer.weight_decay": "{uniform: [0, 0.1]}",
        "fixed.input_size": "192x192",
        "resources": "{workers: 2}",
    }
    text = SPACE + "train: {epochs: 9, batch_size: 4}\nresources: {cpus_per_worker: 5}"
    experiment = load(text, **overrides)
    assert (experiment.train.epochs, experiment.train.batch_size, experiment.data) == (3, 4, "my/data")
    assert list(experiment.space) == ["lr", "optim_wrapper.optimizer.weight_decay"]
    assert experiment.fixed == {"input_size": "192x192"}
    assert (experiment.resources.workers, experiment.resources.cpus_per_worker) == (2, 1)


def test_an_option_moves_a_knob_between_space_and_fixed(load: Callable[..., Experiment]) -> None:
    text = "space: {lr: {uniform: [0.1, 0.2]}, freeze: {choice: [none, stem]}}\nfixed: {input_size: 96x96}"
    experiment = load(text, **{"fixed.freeze": "stem", "space.input_size": "{choice: [96x96]}"})
    assert list(experiment.space) == ["lr", "input_size"]
    assert experiment.fixed == {"freeze": "stem"}


def test_options_that_contradict_each_other_or_the_file(problems_of: Callable[..., list[str]]) -> None:
    both = {"fixed.lr": "0.1", "space.lr": "{uniform: [0.1, 0.2]}"}
    assert problems_of(SPACE, **both) == ["--set space.lr: also in fixed; take it out of one of them"]


def test_options_name_themselves(problems_of: Callable[..., list[str]]) -> None:
    wrong = {"train.epoch": "3", "model.size": "n", "data": "", "space.lr": "{log_uniform: [1, 0.1]}"}
    assert problems_of(SPACE + "model: rtmpose-n", **wrong) == [
        "--set model.size: model holds one value, no keys",
        "--set data: expected text, got nothing",
        "--set space.lr.log_uniform: the low end 1 is not below the high end 0.1",
        "--set train.epoch: unknown key; did you mean 'epochs'?",
    ]


def test_an_option_makes_its_section(load: Callable[..., Experiment]) -> None:
    wanted = {"fixed.unfreeze.at": "0.5", "space.lr_mult.head.gau": "{uniform: [0.1, 1], also: [a.b]}", "test": "0.2"}
    experiment = load(SPACE + "final: null", **{"final.top": "1", "lr_rule.reference_batch": "null", **wanted})
    assert experiment.final is not None and (experiment.final.top, experiment.final.seeds) == (1, 3)
    assert (experiment.fixed, experiment.test) == ({"unfreeze.at": 0.5}, 0.2)
    assert experiment.space["lr_mult.head.gau"].also == ("a.b",)
    assert load(SPACE).final is load(SPACE).test is None


def test_what_an_option_makes_is_its_fault(problems_of: Callable[..., list[str]]) -> None:
    two = {"metric": "[PCK, latency_ms]", "mode": "[max, min]"}
    message = "the winner of two metrics is a front; take final out, or name one metric"
    assert problems_of(SPACE, **two, **{"final.top": "1"}) == [f"--set final: {message}"]
    assert problems_of(SPACE + "final: {seeds: 2}", **two, **{"final.top": "1"}) == [f"2: final: {message}"]


def test_a_character_as_json_escapes_it_is_one_character(load: Callable[..., Experiment]) -> None:
    text = 'space: {"a.b": {choice: ["\\ud83d\\ude00"]}}'
    experiment = load(text, data=json.dumps("data/\U0001f600"))
    assert experiment.data == "data/\U0001f600"
    assert experiment.space["a.b"].contains("\U0001f600")


def test_several_freeze_sets_are_one_text(load: Callable[..., Experiment]) -> None:
    text = "space: {freeze: {choice: [none, stem, [head.cls, norms], ' backbone.stage1.0 +stem']}}"
    options = load(text + "\nsearch: {start: [{freeze: [stem, norms]}]}")
    assert options.space["freeze"].model_dump(mode="json") == {
        "choice": ["none", "stem", "head.cls+norms", "backbone.stage1.0+stem"]
    }
    assert options.search.start == ({"freeze": "stem+norms"},)
    assert load(SPACE + "fixed: {freeze: [stem, head.cls]}").fixed == {"freeze": "stem+head.cls"}


def test_one_metric_and_two(load: Callable[..., Experiment]) -> None:
    one = load(SPACE + "metric: PCK@0.1")
    assert (one.primary, one.objectives, one.prune.pruner) == ("PCK@0.1", (("PCK@0.1", "max"),), "asha")
    text = SPACE + "metric: [PCK, latency_ms]\nmode: [max, min]\nprune: {min_epochs: 3}"
    two = load(text)
    assert (two.primary, two.objectives) == ("PCK", (("PCK", "max"), ("latency_ms", "min")))
    assert (two.prune.pruner, two.prune.min_epochs) == ("none", 3)
    assert load(SPACE, metric="[PCK, AUC]", mode="[max, max]").prune.pruner == "none"
    assert load(text, **{"prune.pruner": "none", "search.sampler": "gp"}).search.sampler == "gp"


def test_saved_copy_is_the_same_experiment(load: Callable[..., Experiment]) -> None:
    text = """\
space:
  lr: {log_uniform: [2e-4, 1e-2]}
  a.b: {uniform: [0, 1], step: 0.1}
  c.d: {int_uniform: [8, 64], step: 8}
  e.f: {int_log_uniform: [1, 512]}
  g.h: {choice: [1, 2.0, x, null, false]}
  unfreeze.at: {uniform: [0.2, 1], when: {freeze: [stem, norms], g.h: 1}, also: [m.n]}
metric: [PCK, latency_ms]
mode: [max, min]
test: 0.25
lr_rule: {rule: sqrt, reference_batch: 256}
search: {start: [{lr: 1, g.h: x}]}
fixed: {freeze: stem, i.j: 1.0, k.l: 1}
resources: {gpus_per_worker: 0.5, concurrent_trials: 3}
"""
    experiment = load(text)
    copy = parse_spec(experiment.model_dump(mode="json"))
    assert copy == experiment
    assert copy.model_dump_json() == experiment.model_dump_json()
    assert parse_spec(Experiment.model_validate_json(copy.model_dump_json()).model_dump()) == experiment


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "space: missing"),
        ({"space": {"lr": {"uniform": [0.2, 0.1]}}}, "space.lr.uniform: the low end 0.2 is not below"),
        ({"space": {"lr": {"uniform": [1, 10**400]}}}, "space.lr.uniform[1]: expected a finite number of at most 1e15"),
        ({1: 2, "space": {"lr": {"choice": [1]}}}, "[1]: expected text as a key, got 1"),
        (None, "expected keys with values"),
    ],
)
def test_saved_copy_with_faults(data: dict[str, object], expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(data)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(expected)

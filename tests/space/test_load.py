"""Every fault of a specification is reported at once, each at its line."""

from pathlib import Path

import pytest

from raypose.errors import SpecError
from raypose.space import Experiment, Range, load_spec, parse_spec

SPACE = "space: {lr: {log_uniform: [2.0e-4, 1.6e-2]}}\n"


def problems_of(tmp_path: Path, text: str, **overrides: str) -> list[str]:
    """The problems without the file's own name: `7: key: message`."""
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(file, overrides)
    assert all("\n" not in problem for problem in caught.value.problems)
    return [problem.removeprefix(f"{file}:") for problem in caught.value.problems]


def knob(name: str, domain: str) -> str:
    return f"space:\n  {name}: {domain}\n"


BAD = [
    # the top level
    (SPACE + "serach: {trials: 3}", "2: serach: unknown key; did you mean 'search'?"),
    (SPACE + "\n\nepochs: 3", "4: epochs: unknown key; 'epochs' belongs below train"),
    (SPACE + "freeze: none", "2: freeze: unknown key; 'freeze' belongs below space (to explore it) or fixed"),
    (SPACE + "1: 2", "2: 1: unknown key; known are model, weights,"),
    ("model: rtmpose-n", "1: space: missing; name at least one knob"),
    ("\nspace: {}", "2: space: no knob is left to explore"),
    ("\nspace:", "2: space: expected keys with values (lr, freeze, input_size, or a dotted key of the config), got no"),
    (SPACE + "model: rtmpose-q", "2: model: no preset 'rtmpose-q'; did you mean 'rtmpose-"),
    (SPACE + "model: 3", "2: model: expected text, got 3"),
    (SPACE + "weights:", "2: weights: expected text, got nothing; to start from random weights write none"),
    (SPACE + "data: ''", "2: data: expected some text, got empty text"),
    (SPACE + "metric: ' '", "2: metric: expected the name of a figure"),
    # sections
    (SPACE + "train:\n  epochs: 3\n  epoch: 3", "4: train.epoch: unknown key; did you mean 'epochs'?"),
    (SPACE + "train: 8", "2: train: expected keys with values (epochs, batch_size, loader_workers, amp), got 8"),
    (SPACE + "train:", "2: train: expected keys with values (epochs, batch_size, loader_workers, amp), got nothing"),
    (SPACE + "train: {epochs: 0}", "2: train.epochs: expected a number of at least 1, got 0"),
    (SPACE + "train: {epochs: 2.5}", "2: train.epochs: expected a whole number, got 2.5"),
    (SPACE + "train: {epochs: '3'}", "2: train.epochs: expected a whole number, got '3'"),
    (SPACE + "train: {epochs: true}", "2: train.epochs: expected a whole number, got true"),
    (SPACE + "train: {epochs: 1_000}", "2: train.epochs: expected a whole number, got '1_000'"),
    (SPACE + "train: {amp: yes}", "2: train.amp: expected true or false, got 'yes'"),
    (SPACE + "train: {loader_workers: many}", "2: train.loader_workers: expected auto or a whole number, got 'many'"),
    (SPACE + "train: {loader_workers: -1}", "2: train.loader_workers: expected auto or a number of at least 0, got -1"),
    (SPACE + "search: {sampler: tpee}", "2: search.sampler: unknown sampler 'tpee'; did you mean 'tpe'?"),
    (SPACE + "search: {trials: 0}", "2: search.trials: expected a number of at least 1, got 0"),
    (SPACE + "search: {sampler: grid}", "2: search.sampler: grid tries every value of lr"),
    (knob("freeze", "{choice: [none]}") + "search: {sampler: cmaes}", "3: search.sampler: cmaes draws numbers"),
    (SPACE + "prune: {pruner: ~}", "2: prune.pruner: expected one of asha, hyperband, median, none, got nothing; to"),
    (SPACE + "prune: {reduction: 1}", "2: prune.reduction: expected a number of at least 2, got 1"),
    (
        SPACE + "resources: {gpus_per_worker: .nan}",
        "2: resources.gpus_per_worker: expected auto or a finite number, got nan",
    ),
    (SPACE + "resources: {gpus_per_worker: -1}", "2: resources.gpus_per_worker: expected auto or a number of at least"),
    (SPACE + "resources: {workers: 2, gpus_per_worker: 0.5}", "2: resources.gpus_per_worker: a part of a GPU is"),
    (SPACE + "resources: {gpus_per_worker: 1.5}", "2: resources.gpus_per_worker: more than one GPU is a whole number"),
    (SPACE + "resources: {concurrent_trials: 0}", "2: resources.concurrent_trials: expected auto or a number of at"),
    (SPACE + "failure: {retries: -1}", "2: failure.retries: expected a number of at least 0, got -1"),
    (SPACE + "failure: [2]", "2: failure: expected keys with values (retries), got a list"),
    # names of knobs
    (knob("lrr", "{uniform: [0, 1]}"), "2: space.lrr: unknown knob; did you mean 'lr'?"),
    (knob("lr.max", "{uniform: [0, 1]}"), "2: space.lr.max: the knob lr has no parts; write lr alone"),
    (knob("a..b", "{uniform: [0, 1]}"), "2: space.a..b: not a dotted key of the config"),
    (SPACE + "fixed: {inputsize: 96x96}", "2: fixed.inputsize: unknown knob; did you mean 'input_size'?"),
    (SPACE + "fixed:\n  lr: 0.1", "3: fixed.lr: also in space; take it out of one of them"),
    # ranges
    (knob("lr", "0.001"), "2: space.lr: expected {choice: [...]}, or [low, high] of uniform, log_uniform, int_uniform"),
    (knob("lr", "{}"), "2: space.lr: expected {choice: [...]}"),
    (knob("lr", "{log_unifrom: [1, 2]}"), "did you mean 'log_uniform'?"),
    (knob("lr", "{uniform: [1, 2], choice: [3]}"), "2: space.lr: expected one form only, got choice and uniform"),
    (knob("lr", "\n    log_uniform: [0.1, 0.01]"), "3: space.lr.log_uniform: the low end 0.1 is not below the high"),
    (knob("lr", "{uniform: [0.1, 0.1]}"), "2: space.lr.uniform: the low end 0.1 is not below the high end 0.1"),
    (knob("lr", "{uniform: [0, 0.1]}"), "2: space.lr.uniform[0]: a learning rate is above 0, got 0"),
    (knob("a.b", "{log_uniform: [0, 1]}"), "2: space.a.b.log_uniform: a log range lies above 0, but its low end is 0"),
    (knob("a.b", "{uniform: [0]}"), "2: space.a.b.uniform: expected two numbers, [low, high], got a list"),
    (knob("a.b", "{uniform: 3}"), "2: space.a.b.uniform: expected two numbers, [low, high], got 3"),
    (knob("a.b", "\n    uniform:\n    - 0\n    - x"), "5: space.a.b.uniform[1]: expected a number, got 'x'"),
    (knob("a.b", "{uniform: [0, .inf]}"), "2: space.a.b.uniform[1]: expected a finite number of at most 1e15"),
    (knob("a.b", "{uniform: [.NaN, 1]}"), "2: space.a.b.uniform[0]: expected a finite number of at most 1e15"),
    (knob("a.b", "{uniform: [0, 1e999]}"), "2: space.a.b.uniform[1]: expected a finite number of at most 1e15"),
    (knob("a.b", "{int_uniform: [0, 1.5]}"), "2: space.a.b.int_uniform[1]: expected a whole number, got 1.5"),
    (knob("a.b", "{uniform: [0, 1], step: 0.3}"), "2: space.a.b.step: 0 to 1 is not a whole number of steps of 0.3"),
    (knob("a.b", "{uniform: [0, 1], step: 0}"), "2: space.a.b.step: expected a step above 0, got 0"),
    (knob("a.b", "{uniform: [0, 1], step: 1e-9}"), "2: space.a.b.step: a step of 1e-09 cuts the range into more than"),
    (knob("a.b", "{log_uniform: [1, 2], step: 0.1}"), "2: space.a.b.step: expected no step: the values of a log range"),
    (knob("a.b", "{choice: [1, 2], step: 1}"), "2: space.a.b.step: unknown key; only uniform and int_uniform have"),
    (knob("a.b", "{uniform: [0, 1], stp: 0.1}"), "2: space.a.b.stp: unknown key; did you mean 'step'?"),
    # choices
    (knob("a.b", "{choice: []}"), "2: space.a.b.choice: expected at least one value, got an empty list"),
    (knob("a.b", "{choice: x}"), "2: space.a.b.choice: expected a list, got 'x'"),
    (knob("a.b", "{choice: [x, y, x]}"), "2: space.a.b.choice: listed twice: 'x'"),
    (knob("a.b", "{choice: [1, true]}"), "2: space.a.b.choice: listed twice: 1, again as true, which is the same to a"),
    (knob("a.b", "{choice: [1, [2]]}"), "2: space.a.b.choice[1]: expected one value (text, a number, true, false or"),
    (knob("a.b", "{choice: [.inf]}"), "2: space.a.b.choice[0]: expected a finite number of at most 1e15"),
    (knob("lr", "{choice: [0.1, -0.1]}"), "2: space.lr.choice[1]: a learning rate is above 0, got -0.1"),
    (knob("lr", "{choice: [high]}"), "2: space.lr.choice[0]: expected a learning rate, a number above 0, got 'high'"),
    (knob("freeze", "{uniform: [0, 1]}"), "2: space.freeze.uniform: freeze is no number; list its values"),
    (
        knob("freeze", "\n    choice:\n    - stem\n    - null"),
        "5: space.freeze.choice[1]: expected the name of a freeze set, got",
    ),
    (knob("freeze", "{choice: [null]}"), "; to freeze nothing write none"),
    (
        knob("freeze", "{choice: [false]}"),
        "2: space.freeze.choice[0]: expected the name of a freeze set, got false; to",
    ),
    (knob("freeze", "{choice: [off]}"), "2: space.freeze.choice[0]: unknown freeze set 'off'; known are none, stem,"),
    (
        knob("freeze", "{choice: [stage5]}"),
        "2: space.freeze.choice[0]: unknown freeze set 'stage5'; did you mean 'stage",
    ),
    (knob("freeze", "{choice: [head.]}"), "2: space.freeze.choice[0]: unknown freeze set 'head.'; did you mean 'head."),
    (knob("input_size", "{choice: [256]}"), "2: space.input_size.choice[0]: expected an input size as width x height"),
    (knob("input_size", "{choice: [96x96, 100x96]}"), "2: space.input_size.choice[1]: the side 100 of 100x96 is not a"),
    (knob("input_size", "{choice: [2048x96]}"), "2: space.input_size.choice[0]: the side 2048 of 2048x96 is not a mul"),
    (SPACE + "fixed: {freeze: }", "2: fixed.freeze: expected the name of a freeze set, got null"),
    (SPACE + "fixed: {input_size: [96x96]}", "2: fixed.input_size: expected one value (text, a number"),
    # YAML itself
    (SPACE + "data: demo\ndata: x", "3: data: given twice; the first is in line 2"),
    (SPACE + "fixed: {a.b: 1,\n a.b: 2}", "3: fixed.a.b: given twice; the first is in line 2"),
    (SPACE + "fixed: {\n", "3: not valid YAML: while parsing a flow node expected the node content"),
    (SPACE + "train:\n\tepochs: 3", "3: not valid YAML: while scanning for the next token found character '\\t'"),
    (SPACE + "---\nmodel: x", "2: not valid YAML: expected a single document in the stream"),
    (SPACE + "data: !!python/name:os.system x", "2: data: the tag !!python/name:os.system is not supported"),
    (SPACE + "data: *x", "2: not valid YAML: found undefined alias 'x'"),
    (SPACE + 'data: "\\ud800"', "2: data: half of a surrogate pair is not a character"),
    (SPACE + 'data: "\\UFFFFFFFF"', "2: not valid YAML: "),
    (SPACE + "data: \a", "2: the character U+0007 is not allowed"),
    (SPACE + "? [a]\n: b", "2: a key is a plain word, not a list or a mapping"),
    (SPACE + "data: " + "[" * 30, "2: nested deeper than 20 levels"),
    (SPACE + "fixed: &a {a.b: *a}", "2: aliases that stand for too many values, or for themselves"),
    ("# nothing\n", " is empty; name at least space, the knobs to explore"),
    ("- a\n- b", "1: expected keys with values at the top"),
    ("lr", "1: expected keys with values at the top"),
]


@pytest.mark.parametrize(("text", "expected"), BAD, ids=[message[:50] for _, message in BAD])
def test_one_fault_is_one_line_at_its_place(tmp_path: Path, text: str, expected: str) -> None:
    problems = problems_of(tmp_path, text)
    assert len(problems) == 1
    assert problems[0].startswith(expected) or (not expected[0].isdigit() and expected in problems[0])


def test_all_faults_are_reported_in_the_order_of_the_file_then_the_options(tmp_path: Path) -> None:
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
    problems = problems_of(tmp_path, text, **{"search.trials": "none", "prune.min_epoch": "3", "metric": "[a"})
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


def test_alias_bomb_is_refused_quickly(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    (problem,) = problems_of(tmp_path, "\n".join(rows))
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


def load(tmp_path: Path, text: str, **overrides: str) -> Experiment:
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    return load_spec(file, overrides)


def test_plain_words_are_read_as_yaml_1_2(tmp_path: Path) -> None:
    text = (
        "\ufeffspace: {lr: {log_uniform: [2e-4, 1E-2]}, a.b: {choice: [on, no, 1:30, 2024-01-01, 1e3, 010, ~, true]}}"
    )
    space = load(tmp_path, text).space
    assert isinstance(space["lr"], Range) and (space["lr"].low, space["lr"].high) == (2e-4, 1e-2)
    assert space["a.b"].model_dump(mode="json") == {
        "choice": ["on", "no", "1:30", "2024-01-01", 1000.0, 10, None, True]
    }


def test_anchors_may_be_used(tmp_path: Path) -> None:
    experiment = load(tmp_path, "space: {a.b: &range {uniform: [0, 1]}, c.d: *range}")
    assert experiment.space["a.b"] == experiment.space["c.d"]


def test_options_override_the_file(tmp_path: Path) -> None:
    overrides = {
        "train.epochs": "3",
        "data": "my/data",
        "space.optim_wrapper.optimizer.weight_decay": "{uniform: [0, 0.1]}",
        "fixed.input_size": "192x192",
        "resources": "{workers: 2}",
    }
    text = SPACE + "train: {epochs: 9, batch_size: 4}\nresources: {cpus_per_worker: 5}"
    experiment = load(tmp_path, text, **overrides)
    assert (experiment.train.epochs, experiment.train.batch_size, experiment.data) == (3, 4, "my/data")
    assert list(experiment.space) == ["lr", "optim_wrapper.optimizer.weight_decay"]
    assert experiment.fixed == {"input_size": "192x192"}
    assert (experiment.resources.workers, experiment.resources.cpus_per_worker) == (2, 1)


def test_an_option_moves_a_knob_between_space_and_fixed(tmp_path: Path) -> None:
    text = "space: {lr: {uniform: [0.1, 0.2]}, freeze: {choice: [none, stem]}}\nfixed: {input_size: 96x96}"
    experiment = load(tmp_path, text, **{"fixed.freeze": "stem", "space.input_size": "{choice: [96x96]}"})
    assert list(experiment.space) == ["lr", "input_size"]
    assert experiment.fixed == {"freeze": "stem"}


def test_options_that_contradict_each_other_or_the_file(tmp_path: Path) -> None:
    both = {"fixed.lr": "0.1", "space.lr": "{uniform: [0.1, 0.2]}"}
    assert problems_of(tmp_path, SPACE, **both) == ["--set fixed.lr: also in space; take it out of one of them"]


def test_options_name_themselves(tmp_path: Path) -> None:
    wrong = {"train.epoch": "3", "model.size": "n", "data": "", "space.lr": "{log_uniform: [1, 0.1]}"}
    assert problems_of(tmp_path, SPACE + "model: rtmpose-n", **wrong) == [
        "--set model.size: model holds one value, no keys",
        "--set data: expected text, got nothing",
        "--set space.lr.log_uniform: the low end 1 is not below the high end 0.1",
        "--set train.epoch: unknown key; did you mean 'epochs'?",
    ]


def test_saved_copy_is_the_same_experiment(tmp_path: Path) -> None:
    text = """\
space:
  lr: {log_uniform: [2e-4, 1e-2]}
  a.b: {uniform: [0, 1], step: 0.1}
  c.d: {int_uniform: [8, 64], step: 8}
  e.f: {int_log_uniform: [1, 512]}
  g.h: {choice: [1, 2.0, x, null, false]}
fixed: {freeze: stem, i.j: 1.0, k.l: 1}
resources: {gpus_per_worker: 0.5, concurrent_trials: 3}
"""
    experiment = load(tmp_path, text)
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

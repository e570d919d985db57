"""Each fault of a specification is one line that says where, what and what to do."""

from collections.abc import Callable

import pytest

SPACE = "space: {lr: {log_uniform: [2.0e-4, 1.6e-2]}}\n"
TWO = "metric: [PCK, latency_ms]\nmode: [max, min]\n"


def knob(name: str, domain: str) -> str:
    return f"space:\n  {name}: {domain}\n"


def hanging(when: str) -> str:
    """A knob with a condition in line 3."""
    return f"space:\n  freeze: {{choice: [none, stem]}}\n  a.b: {{choice: [1], when: {when}}}\nfixed:\n  e.f: 1\n"


def tied(also: str) -> str:
    """A knob that others follow in line 3."""
    return f"fixed: {{e.f: 1}}\nspace:\n  a.b: {{uniform: [1, 2], also: {also}}}\n"


def starting(points: str) -> str:
    """Starting points in line 4."""
    knobs = "freeze: {choice: [none, stem, stage1]}, a.b: {choice: [1], when: {freeze: [stem, stage1]}}"
    return f"space: {{{knobs}}}\nsearch:\n  trials: 3\n  start: {points}"


BAD = [
    # the top level
    (SPACE + "serach: {trials: 3}", "2: serach: unknown key; did you mean 'search'?"),
    (SPACE + "\n\nepochs: 3", "4: epochs: unknown key; 'epochs' belongs below train"),
    (SPACE + "freeze: none", "2: freeze: unknown key; 'freeze' belongs below space (to explore it) or fixed"),
    (SPACE + "unfreeze.at: 1", "2: unfreeze.at: unknown key; 'unfreeze.at' belongs below space (to explore it) or"),
    (SPACE + "lr_mult.norms: 1", "2: lr_mult.norms: unknown key; 'lr_mult.norms' belongs below space (to explore it)"),
    (SPACE + "unfreeze: {at: 1}", "2: unfreeze: unknown key; write unfreeze.at: 0.5 below fixed, or explore it below"),
    (SPACE + "lr_mult: {stem: 1}", "2: lr_mult: unknown key; write lr_mult.backbone: 0.1 below fixed, or explore it"),
    (SPACE + "accumulation: 2", "2: accumulation: unknown key; 'accumulation' belongs below train"),
    (SPACE + "seeds: 2", "2: seeds: unknown key; 'seeds' belongs below final"),
    (SPACE + "1: 2", "2: 1: unknown key; known are model, weights,"),
    (SPACE + "'': 2", "2: '': unknown key; known are model, weights,"),
    (SPACE + "' ': 2", "2: ' ': unknown key; known are model, weights,"),
    (SPACE + "'[key]': 2", "2: [key]: unknown key; known are model, weights,"),
    (SPACE + "fixed: {'[key]': 2}", "2: fixed.[key]: unknown knob; known are lr, freeze,"),
    (SPACE + "fixed: {'': 2}", "2: fixed.'': unknown knob; known are lr, freeze,"),
    ("model: rtmpose-n", "1: space: missing; name at least one knob"),
    ("\nspace: {}", "2: space: no knob is left to explore"),
    (
        "\nspace:",
        "2: space: expected keys with values (lr, freeze, input_size, layer_decay, unfreeze.at, lr_mult.<part>, or",
    ),
    (SPACE + "model: rtmpose-q", "2: model: no preset 'rtmpose-q'; did you mean 'rtmpose-"),
    (SPACE + "model: 3", "2: model: expected text, got 3"),
    (SPACE + "weights:", "2: weights: expected text, got nothing; to start from random weights write none"),
    (SPACE + "data: ''", "2: data: expected some text, got empty text"),
    (SPACE + "metric: ' '", "2: metric: expected the name of a figure"),
    (SPACE + "metric: 3", "2: metric: expected the name of a figure, such as PCK or PCK@0.1, got 3"),
    (SPACE + "metric: [PCK]", "2: metric: expected one name or a list of two, got a list of 1"),
    (SPACE + "metric: [PCK, a, b]\nmode: [max, min]", "2: metric: expected one name or a list of two, got a list of 3"),
    (SPACE + "metric: [PCK, PCK]\nmode: [max, min]", "2: metric: both are 'PCK'; name two different figures"),
    (SPACE + "metric: [PCK, ~]\nmode: [max, min]", "2: metric: expected the name of a figure, such as PCK or PCK@0.1"),
    (
        SPACE + "metric: [PCK, a]",
        "1: mode: say for both metrics whether they are to rise or to fall, as in mode: [max, min]",
    ),
    (SPACE + "metric: [PCK, a]\nmode: max", "3: mode: say for both metrics whether they are to rise or to fall"),
    (SPACE + "metric: [PCK, a]\nmode: [max, min, min]", "3: mode: say for both metrics whether they are to rise or to"),
    (SPACE + "metric: [a, PCK]\nmode: [min, max]", "3: mode: epochs are chosen by the first metric, which is to rise"),
    (SPACE + "metric: [PCK, a]\nmode: [max, up]", "3: mode: expected max or min, got 'up'"),
    (SPACE + "mode: min", "2: mode: one metric is always raised; leave mode out, or name two metrics"),
    (SPACE + "mode: [max]", "2: mode: one metric is always raised; leave mode out, or name two metrics"),
    (SPACE + TWO + "prune: {pruner: asha}", "4: prune.pruner: asha compares trials by one metric; with two write none"),
    (SPACE + TWO + "search: {sampler: cmaes}", "4: search.sampler: cmaes follows one metric; with two use tpe"),
    (SPACE + TWO + "final: {}", "4: final: the winner of two metrics is a front; take final out, or name one metric"),
    (
        SPACE + "test: 0",
        "2: test: expected a folder, or a share of the validation images above 0 and at most 0.5, got 0",
    ),
    (SPACE + "test: 0.51", "2: test: expected a folder, or a share of the validation images above 0 and at most 0.5"),
    (SPACE + "test: ''", "2: test: expected a folder, or a share of the validation images above 0 and at most 0.5"),
    (SPACE + "test: true", "2: test: expected a folder, or a share of the validation images above 0 and at most 0.5"),
    (SPACE + "test: " + "a" * 5000, "2: test: expected a folder, or a share of the validation images above 0 and at"),
    # sections
    (SPACE + "lr_rule: linear", "2: lr_rule: expected keys with values (rule, reference_batch), got 'linear'"),
    (SPACE + "lr_rule: {rule: cubic}", "2: lr_rule.rule: unknown rule 'cubic'; known are none, linear, sqrt"),
    (
        SPACE + "lr_rule: {rule: sqrt}",
        "2: lr_rule.reference_batch: missing; the rule sqrt needs the effective batch at",
    ),
    (SPACE + "lr_rule: {reference_batch: 8}", "2: lr_rule.reference_batch: without a rule no batch is a reference"),
    (
        SPACE + "lr_rule: {rule: linear, reference_batch: 0}",
        "2: lr_rule.reference_batch: expected a number of at least",
    ),
    (SPACE + "train: {accumulation: 0}", "2: train.accumulation: expected a number of at least 1, got 0"),
    (SPACE + "train: {schedule: short}", "2: train.schedule: unknown schedule 'short'; known are compressed, full"),
    (SPACE + "final: 3", "2: final: expected keys with values (top, seeds), got 3"),
    (SPACE + "final: {top: 0}", "2: final.top: expected a number of at least 1, got 0"),
    (SPACE + "final: {seed: 1}", "2: final.seed: unknown key; did you mean 'seeds'?"),
    (SPACE + "train:\n  epochs: 3\n  epoch: 3", "4: train.epoch: unknown key; did you mean 'epochs'?"),
    (SPACE + "train: 8", "2: train: expected keys with values (epochs, schedule, batch_size, accumulation, loader"),
    (SPACE + "train:", "2: train: expected keys with values (epochs, schedule, batch_size, accumulation, loader"),
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
    (SPACE + "failure: [2]", "2: failure: expected keys with values (retries, bad_images), got a list"),
    (SPACE + "failure: {bad_images: 1}", "2: failure.bad_images: expected a number below 1, got 1"),
    (SPACE + "failure: {bad_images: -0.1}", "2: failure.bad_images: expected a number of at least 0, got -0.1"),
    (SPACE + "failure: {bad_images: .nan}", "2: failure.bad_images: expected a finite number, got nan"),
    (SPACE + "failure: {bad_images: 0.1%}", "2: failure.bad_images: expected a number, got '0.1%'"),
    # names of knobs
    (knob("lrr", "{uniform: [0, 1]}"), "2: space.lrr: unknown knob; did you mean 'lr'?"),
    (knob("lr.max", "{uniform: [0, 1]}"), "2: space.lr.max: the knob lr has no parts; write lr alone"),
    (knob("a..b", "{uniform: [0, 1]}"), "2: space.a..b: not a dotted key of the config"),
    (SPACE + "fixed: {inputsize: 96x96}", "2: fixed.inputsize: unknown knob; did you mean 'input_size'?"),
    (SPACE + "fixed:\n  lr: 0.1", "1: space.lr: also in fixed; take it out of one of them"),
    (knob("layer_decay.stem", "{uniform: [0.5, 1]}"), "2: space.layer_decay.stem: the knob layer_decay has no parts"),
    (
        knob("lr_mult", "{uniform: [0.1, 1]}"),
        "2: space.lr_mult: name a part of the model in the same key, such as lr_m",
    ),
    (knob("lr_mult", "\n    stem: {uniform: [0.1, 1]}"), "2: space.lr_mult: name a part of the model in the same key"),
    (
        knob("lr_mult.foo", "{uniform: [0.1, 1]}"),
        "2: space.lr_mult.foo: unknown part of the model 'foo'; known are stem",
    ),
    (knob("lr_mult.none", "{uniform: [0.1, 1]}"), "2: space.lr_mult.none: unknown part of the model 'none'"),
    (
        knob("lr_mult.norm", "{uniform: [0.1, 1]}"),
        "2: space.lr_mult.norm: unknown part of the model 'norm'; did you me",
    ),
    (knob("unfreeze.when", "{uniform: [0.1, 1]}"), "2: space.unfreeze.when: write unfreeze.at, the share of the train"),
    (SPACE + "fixed: {unfreeze: {at: 0.5}}", "2: fixed.unfreeze: write unfreeze.at, the share of the training after"),
    # ranges
    (knob("lr", "0.001"), "2: space.lr: expected {choice: [...]}, or [low, high] of uniform, log_uniform, int_uniform"),
    (knob("lr", "{}"), "2: space.lr: expected {choice: [...]}"),
    (knob("lr", "{log_unifrom: [1, 2]}"), "did you mean 'log_uniform'?"),
    (knob("lr", "{uniform: [1, 2], choice: [3]}"), "2: space.lr: expected one form only, got choice and uniform"),
    (knob("lr", "\n    log_uniform: [0.1, 0.01]"), "3: space.lr.log_uniform: the low end 0.1 is not below the high"),
    (knob("lr", "{uniform: [0.1, 0.1]}"), "2: space.lr.uniform: the low end 0.1 is not below the high end 0.1"),
    (knob("lr", "{uniform: [0, 0.1]}"), "2: space.lr.uniform[0]: a learning rate is above 0, got 0"),
    (knob("layer_decay", "{uniform: [0.5, 1.1]}"), "2: space.layer_decay.uniform[1]: a layer decay is above 0 and at"),
    (knob("unfreeze.at", "{uniform: [0, 1]}"), "2: space.unfreeze.at.uniform[0]: a share of the training is above 0"),
    (knob("lr_mult.backbone.stage1.0", "{int_uniform: [1, 101]}"), ".int_uniform[1]: a factor on the learning rate is"),
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
    (
        knob("freeze", "{choice: [head.]}"),
        "2: space.freeze.choice[0]: unknown freeze set 'head.'; did you mean 'head'?",
    ),
    (knob("freeze", "{choice: [[stem, norm]]}"), "2: space.freeze.choice[0]: unknown freeze set 'norm'; did you mean"),
    (knob("freeze", "{choice: [stem, stem+]}"), "2: space.freeze.choice[1]: unknown freeze set ''; known are none, st"),
    (knob("freeze", "{choice: [[none, stem]]}"), "2: space.freeze.choice[0]: none freezes nothing, so it stands alone"),
    (knob("freeze", "{choice: [[stem, 3]]}"), "2: space.freeze.choice[0]: unknown freeze set '3'; known are none"),
    (
        knob("freeze", "{choice: [[]]}"),
        "2: space.freeze.choice[0]: expected the name of a freeze set, got ''; to freeze",
    ),
    (knob("freeze", "{choice: [[stem, norms], stem + norms]}"), "2: space.freeze.choice: listed twice: 'stem+norms'"),
    (SPACE + "fixed: {freeze: stem+norms+stem}", "2: fixed.freeze: 'stem' is named twice in 'stem+norms+stem'"),
    (
        SPACE + "fixed: {unfreeze.at: half}",
        "2: fixed.unfreeze.at: expected a share of the training, a number above 0 and",
    ),
    (knob("input_size", "{choice: [256]}"), "2: space.input_size.choice[0]: expected an input size as width x height"),
    (knob("input_size", "{choice: [96x96, 100x96]}"), "2: space.input_size.choice[1]: the side 100 of 100x96 is not a"),
    (knob("input_size", "{choice: [2048x96]}"), "2: space.input_size.choice[0]: the side 2048 of 2048x96 is not a mul"),
    (SPACE + "fixed: {freeze: }", "2: fixed.freeze: expected the name of a freeze set, got null"),
    (SPACE + "fixed: {input_size: [96x96]}", "2: fixed.input_size: expected one value (text, a number"),
    # conditions
    (hanging("3"), "3: space.a.b.when: expected knobs with the values they must have, such as {freeze: [none, stem]}"),
    (hanging("{freeze: []}"), "3: space.a.b.when.freeze: expected at least one value, got an empty list"),
    (hanging("{freeze: {}}"), "3: space.a.b.when.freeze[0]: expected one value (text, a number, true, false or null)"),
    (hanging("{freeze: norms}"), "3: space.a.b.when.freeze: freeze never has the value 'norms'"),
    (hanging("{freeze: [none, [stem, norms]]}"), "3: space.a.b.when.freeze: freeze never has the value 'stem+norms'"),
    (hanging("{freze: stem}"), "3: space.a.b.when.freze: unknown knob; did you mean 'freeze'?"),
    (hanging("{c.d: 1}"), "3: space.a.b.when.c.d: neither in space nor in fixed; add it to one of them"),
    (hanging("{a.b: 1}"), "3: space.a.b.when.a.b: a knob cannot hang on itself"),
    (hanging("{e.f: 2}"), "3: space.a.b.when.e.f: never holds: e.f is fixed at 1"),
    (hanging("{e.f: true}"), "3: space.a.b.when.e.f: never holds: e.f is fixed at 1"),
    (hanging("{lr: [0.1, -1]}") + "  lr: 0.1", "3: space.a.b.when.lr: a learning rate is above 0, got -1"),
    (
        "space: {a.a: {choice: [1], when: {b.b: 1}}, b.b: {choice: [1], when: {c.c: 1}},\n"
        "  c.c: {choice: [1], when: {b.b: 1}}}",
        "1: space.b.b.when: hangs on itself: b.b needs c.c, which needs b.b",
    ),
    (
        "space: {a.a: {choice: [1, 2]}, b.b: {choice: [1], when: {a.a: 1}}, c.c: {choice: [1], when: {b.b: 1}},\n"
        "  d.d: {choice: [1], when: {c.c: 1, a.a: 2}}, e.e: {choice: [1], when: {d.d: 1}}}",
        "2: space.d.d.when: never holds: the knobs named here need different values of a.a",
    ),
    # ties
    (tied("c.d"), "3: space.a.b.also: expected a list, got 'c.d'"),
    (tied("[3]"), "3: space.a.b.also[0]: expected text, got 3"),
    (tied("[x..y]"), "3: space.a.b.also[0]: not a dotted key of the config"),
    (tied("[layer_decay]"), "3: space.a.b.also[0]: layer_decay is a knob of its own; only dotted keys can follow"),
    (tied("[lr_mult.foo]"), "3: space.a.b.also[0]: unknown part of the model 'foo'"),
    (tied("[x.y, a.b]"), "3: space.a.b.also[1]: a.b is also in space; take it out of one of them"),
    (tied("[x.y, e.f]"), "3: space.a.b.also[1]: e.f is also in fixed; take it out of one of them"),
    (tied("[x.y, x.y]"), "3: space.a.b.also[1]: x.y follows a.b already"),
    (tied("[unfreeze.at]"), "3: space.a.b.also[0]: a share of the training is above 0 and at most 1, got 2"),
    (
        "space:\n  a.b: {choice: [1], also: [x.y]}\n  c.d: {choice: [1], also: [x.y]}",
        "3: space.c.d.also[0]: x.y follows a.b already",
    ),
    (knob("a.b", "{choice: [1], if: 1}"), "2: space.a.b.if: unknown key; known are choice, when, also"),
    (knob("a.b", "{when: {lr: 1}, unifrom: [0, 1]}"), "int_log_uniform; 'unifrom' is unknown, did you mean 'uniform'?"),
    # starting points
    (starting("{lr: 1}"), "4: search.start: expected a list, got a mapping"),
    (starting("[3]"), "4: search.start[0]: expected knobs with values, such as {lr: 1.0e-3}, got 3"),
    (starting("[{}]"), "4: search.start[0]: expected knobs with values, such as {lr: 1.0e-3}, got none"),
    (starting("[{freeze: none}, {lrr: 1}]"), "4: search.start[1].lrr: unknown knob; did you mean 'lr'?"),
    (starting("\n  - freeze: none\n  - freeze: [stem, x]"), "6: search.start[1].freeze: unknown freeze set 'x'; known"),
    (starting("[{freeze: [[stem]]}]"), "4: search.start[0].freeze: unknown freeze set 'a list'"),
    (starting("[{a.b: []}]"), "4: search.start[0].a.b: expected one value (text, a number, true, false or null), got"),
    (starting("[{lr: 1}]"), "4: search.start[0].lr: not in space; a starting point gives values to the knobs that are"),
    (starting("[{a.b: 1}]"), "4: search.start[0].a.b: exists only with freeze stem or stage1; give that too"),
    (starting("[{a.b: 1, freeze: none}]"), "4: search.start[0].a.b: exists only with freeze stem or stage1; give"),
    (starting("[{freeze: none}, {freeze: none}, {freeze: stem}]"), "4: search.start: trial 0 and these points are 4"),
    # YAML itself
    (SPACE + "data: demo\ndata: x", "3: data: given twice; the first is in line 2"),
    (SPACE + "fixed: {a.b: 1,\n a.b: 2}", "3: fixed.a.b: given twice; the first is in line 2"),
    (SPACE + "fixed: {\n", "3: not valid YAML: while parsing a flow node expected the node content"),
    (SPACE + "train:\n\tepochs: 3", "3: not valid YAML: while scanning for the next token found character '\\t'"),
    (SPACE + "---\nmodel: x", "2: not valid YAML: expected a single document in the stream"),
    (SPACE + "data: !!python/name:os.system x", "2: data: the tag !!python/name:os.system is not supported"),
    (SPACE + "data: *x", "2: not valid YAML: found undefined alias 'x'"),
    (SPACE + 'data: "\\ud800"', "2: data: half of a surrogate pair is not a character"),
    (SPACE + '"\\ud800": 1', "2: \\ud800: half of a surrogate pair is not a character"),
    (SPACE + 'fixed: {"a.\\udc00": 1}', "2: fixed.a.\\udc00: half of a surrogate pair is not a character"),
    (knob("a.b", '\n    {choice: [1], when: {"\\udc00": 1}}'), "3: space.a.b.when.\\udc00: half of a surrogate pair"),
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
def test_one_fault_is_one_line_at_its_place(problems_of: Callable[..., list[str]], text: str, expected: str) -> None:
    problems = problems_of(text)
    assert len(problems) == 1
    assert problems[0].startswith(expected) or (not expected[0].isdigit() and expected in problems[0])


CHAIN = [f"a.k{i}: {{choice: [1], when: {{a.k{(i + 1) % 200}: 1}}}}" for i in range(200)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SPACE + "? " + "x" * 9000 + "\n: 1", "2: " + "x" * 200),
        ("space:\n  ? a" + ".a" * 9000 + "!\n  : 1", "2: space.a.a.a.a"),
        (SPACE + '? "\\ud800' + "x" * 9000 + '"\n: 1', "2: \\ud800x"),
        ("space: {" + ", ".join(CHAIN) + "}", "1: space.a.k0.when: hangs on itself: a.k0 needs a.k1, which needs"),
    ],
    ids=["key", "knob", "half a character", "cycle"],
)
def test_a_fault_of_something_endless_is_told_shortly(
    problems_of: Callable[..., list[str]], text: str, expected: str
) -> None:
    (problem,) = problems_of(text)
    assert problem.startswith(expected) and len(problem) < 700


def test_an_option_without_end_is_told_shortly(problems_of: Callable[..., list[str]]) -> None:
    for problem in problems_of(SPACE, **{"x" * 9000: "1", "y" * 9000: "[", "fixed." + "z" * 9000: "1"}):
        assert problem.startswith("--set ") and len(problem) < 700

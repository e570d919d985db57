"""Plain data, pieces of YAML and bytes: the loader answers with an experiment or with one printable line a problem."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from raypose.errors import SpecError
from raypose.space import Experiment, load_spec, parse_spec

WORDS = (
    *("model", "weights", "data", "metric", "space", "fixed", "search", "prune", "train", "resources", "failure"),
    *(
        "mode",
        "test",
        "lr_rule",
        "final",
        "start",
        "when",
        "also",
        "unfreeze.at",
        "lr_mult.stem",
        "layer_decay",
        "norms",
    ),
    *("lr", "freeze", "input_size", "a.b", "lrr", "choice", "uniform", "log_uniform", "int_uniform", "step", "epochs"),
    *("workers", "gpus_per_worker", "sampler", "grid", "auto", "none", "stem", "96x96", "PCK", "rtmpose-n"),
)
SCALARS = st.one_of(
    st.sampled_from(WORDS), st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(10**400)
)
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | SCALARS, inner, max_size=4),
    max_leaves=12,
)
BOUNDS = st.lists(st.floats() | st.integers() | SCALARS, min_size=1, max_size=3)
FORM = st.sampled_from(["uniform", "log_uniform", "int_uniform", "int_log_uniform", "choice"])
KNOBS = st.sampled_from(["lr", "freeze", "input_size", "a.b", "c.d", "unfreeze.at", "lr_mult.stem", "lrr", "lr_mult"])
SMALL = st.lists(
    st.sampled_from([1, 2, 0.5, True, "stem", "none", "stem+norms", ["stem", "norms"]]), min_size=1, max_size=3
)
TERMS = {"when": st.dictionaries(KNOBS, SMALL | SCALARS, max_size=2), "also": st.lists(KNOBS, max_size=2)}
DOMAINS = st.builds(
    lambda form, values, step, terms: {form: values} | ({} if step is None else {"step": step}) | terms,
    FORM,
    BOUNDS,
    st.none() | st.floats() | st.integers(),
    st.fixed_dictionaries({}, optional=TERMS),
) | st.fixed_dictionaries({"choice": SMALL}, optional=TERMS)
SECTION = st.dictionaries(st.sampled_from(WORDS), SCALARS, max_size=3)
SPECS = st.fixed_dictionaries(
    {"space": st.dictionaries(KNOBS, DOMAINS, max_size=3)},
    optional={"fixed": st.dictionaries(KNOBS, SCALARS, max_size=2)}
    | dict.fromkeys(["metric", "mode", "test"], st.lists(SCALARS, max_size=3) | SCALARS)
    | dict.fromkeys(["search", "prune", "train", "resources", "lr_rule", "final"], SECTION)
    | {"search": st.fixed_dictionaries({"start": st.lists(st.dictionaries(KNOBS, SCALARS, max_size=2), max_size=2)})},
)
PLAIN_KNOBS = st.sampled_from(["a.b", "c.d", "e.f", "lr"])
PLAIN_VALUES = st.sampled_from([1, 2, 3])
LIKELY = st.fixed_dictionaries(  # specifications of which many are sound
    {
        "space": st.dictionaries(
            PLAIN_KNOBS,
            st.fixed_dictionaries(
                {"choice": st.just([1, 2]) | st.just([1])},
                optional={
                    "when": st.dictionaries(PLAIN_KNOBS, PLAIN_VALUES | st.lists(PLAIN_VALUES, max_size=2), max_size=2),
                    "also": st.lists(st.sampled_from(["x.y", "lr_mult.stem", "a.b"]), max_size=2),
                },
            ),
            min_size=1,
        )
    },
    optional={
        "fixed": st.dictionaries(PLAIN_KNOBS | st.just("i.j"), PLAIN_VALUES, max_size=2),
        "search": st.fixed_dictionaries({"start": st.lists(st.dictionaries(PLAIN_KNOBS, PLAIN_VALUES), max_size=2)}),
        "metric": st.sampled_from(["PCK", ["PCK", "AUC"]]),
        "mode": st.sampled_from(["max", ["max", "min"]]),
    },
)
PIECES = st.sampled_from(
    [*WORDS, *": - , [ ] { } & * ! | > ? # ' \" \\ % @ ~ &a *a !!int !t <<: --- ...".split(), "\n", "  ", "\n  ", "\t"]
    + [
        "1",
        "0.1",
        "1e-4",
        ".nan",
        ".inf",
        "0x",
        "\\ud800",
        "\\UFFFFFFFF",
        "\x00",
        "\ud800",
        "\u2028",
        "é",
        "{choice: [",
    ]
)


def check(error: SpecError) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.isprintable() and problem.encode()


def judge_data(data: Any) -> None:
    try:
        experiment = parse_spec(data)
    except SpecError as error:
        check(error)
    else:
        assert parse_spec(experiment.model_dump(mode="json")) == experiment
        assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment


def judge_file(content: bytes, overrides: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spec.yaml"
        file.write_bytes(content)
        try:
            load_spec(file, overrides)
        except SpecError as error:
            check(error)


def test_any_data(hunt: Any) -> None:
    hunt(judge_data, NESTED | SPECS | LIKELY, quick=100, full=6000)


def test_any_text(hunt: Any) -> None:
    texts = st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=40)
    keys = st.text(max_size=5) | st.sampled_from([*WORDS, "space.lr", "fixed.lr", "train.epochs", "."])
    cases = st.tuples(texts, st.dictionaries(keys, st.text()))
    hunt(lambda case: judge_file(case[0].encode("utf-8", "surrogatepass"), case[1]), cases, quick=100, full=6000)


def test_any_bytes(hunt: Any) -> None:
    start = b"space: {lr: {choice: [1]}}\n"
    hunt(lambda content: judge_file(start + content, {}), st.binary(max_size=60), quick=100, full=6000)

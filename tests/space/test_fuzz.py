"""Whatever is thrown at it, the loader answers with an experiment or with SpecError, one printable line a problem."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from raypose.errors import SpecError
from raypose.space import Experiment, load_spec, parse_spec

FAST = settings(max_examples=300, deadline=None)
WORDS = (
    *("model", "weights", "data", "metric", "space", "fixed", "search", "prune", "train", "resources", "failure"),
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
DOMAINS = st.builds(
    lambda form, values, step: {form: values} | ({} if step is None else {"step": step}),
    FORM,
    BOUNDS,
    st.none() | st.floats() | st.integers(),
)
KNOBS = st.sampled_from(["lr", "freeze", "input_size", "a.b", "c.d", "lrr"])
SECTION = st.dictionaries(st.sampled_from(WORDS), SCALARS, max_size=3)
SPECS = st.fixed_dictionaries(
    {"space": st.dictionaries(KNOBS, DOMAINS, max_size=3)},
    optional={"fixed": st.dictionaries(KNOBS, SCALARS, max_size=2)}
    | dict.fromkeys(["search", "prune", "train", "resources"], SECTION),
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


@FAST
@given(NESTED | SPECS)
def test_any_data(data: Any) -> None:
    try:
        experiment = parse_spec(data)
    except SpecError as error:
        check(error)
    else:
        assert parse_spec(experiment.model_dump(mode="json")) == experiment
        assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment


@FAST
@given(
    st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=40),
    st.dictionaries(
        st.text(max_size=5) | st.sampled_from([*WORDS, "space.lr", "fixed.lr", "train.epochs", "."]), st.text()
    ),
)
def test_any_text(text: str, overrides: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spec.yaml"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            load_spec(file, overrides)
        except SpecError as error:
            check(error)


@FAST
@given(st.binary(max_size=60))
def test_any_bytes(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spec.yaml"
        file.write_bytes(b"space: {lr: {choice: [1]}}\n" + content)
        try:
            load_spec(file)
        except SpecError as error:
            check(error)

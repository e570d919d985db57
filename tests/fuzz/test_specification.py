"""Whatever bytes are given as a specification, it is an experiment or one printable line a fault, each at its place."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from raypose.errors import SpecError
from raypose.space import load_spec, parse_spec

SEARCH_SPACES = Path(__file__).parents[2] / "search_spaces"
WHOLE = """\
# a comment
model: rtmpose-n
metric: [PCK, latency_ms]
mode: [max, min]
space:
  lr: &rates {log_uniform: [2.0e-4, 1.6e-2], also: [a.b]}
  freeze: {choice: [none, stem, [stem, norms], backbone]}
  lr_mult.backbone: {log_uniform: [0.05, 1.0], when: {freeze: none}}
  input_size:
    choice:
    - "96x96"
    - 128x128
  optim_wrapper.optimizer.weight_decay: {uniform: [0.0, 0.1], step: 0.01}
fixed: {unfreeze.at: 0.5, c.d: 'text', e.f: null}
search: {sampler: tpe, trials: 12, seed: 0, start: [{lr: 1.0e-3}]}
train: {epochs: 8, batch_size: 32}
resources: {workers: 1, gpus_per_worker: auto}
failure: {retries: 2, bad_images: 0.001}
"""
ODD_VALUES = st.sampled_from(
    [
        *("1e999", "-1e999", "9" * 5000, "0x" + "f" * 5000, "0o8", "1e15", "1000000000000001", "-0", "-0.0", "5e-324"),
        *(".nan", ".inf", "-.INF", "+1", "1_000", "0b1", "1:30", "2024-01-01", "~", "null", "on", "yes", "TRUE"),
        *("!!binary aGk=", "!!set {a}", "!!python/object:os.system {}", "!!float 1", "!!int x", "!local 1", "! x"),
        *("*rates", "&x [*x]", "&rates 1", "<<", "{<<: *rates}", "'", '"', "|", ">-\n  x", "|99", "? ", "- ", "%TAG"),
        *(
            '"\\ud83d\\ude00"',
            '"\\udc00"',
            '"\\0"',
            '"\\x85"',
            '"\\u2028"',
            '"\\U0010FFFF"',
            '"\\UFFFFFFFF"',
            "\U0001f600",
        ),
        *(
            "{" * 19,
            "[" * 25,
            "{a: " * 30,
            "[[[[[[]]]]]]",
            "{choice: [" + "1, " * 3000 + "]}",
            "a" * 70_000,
            "{}",
            "[]",
        ),
        *("\x07", "\x7f", "\x1b[31m", "\u202e", "\u2028", "\x85", "\ufeff", "\ufffe", "\u0000", "\r", "\t", "\r\n"),
    ]
)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp037", "utf-7"])
KEYS = st.sampled_from(
    [
        *("space", "space.lr", "space.freeze", "fixed.lr", "fixed", "train.epochs", "search.start", "data", ".", "a."),
        *("space.", ".lr", "metric", "mode", "test", "final", "failure.bad_images", "resources.workers", "model.x"),
    ]
)


@st.composite
def edited(draw: st.DrawFn) -> bytes:
    """The whole specification with some lines or values replaced, doubled, indented or taken out, and encoded."""
    lines = WHOLE.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        match draw(st.sampled_from(["value", "value", "value", "word", "double", "drop", "indent", "swap", "end"])):
            case "value":
                lines[at] = line.partition(":")[0] + ": " + draw(ODD_VALUES) + "\n"
            case "word":
                words = re.split(r"([\w.]+)", line)
                words[draw(st.integers(0, len(words) - 1))] = draw(ODD_VALUES | st.text(max_size=6))
                lines[at] = "".join(words)
            case "double":
                lines.insert(draw(st.integers(0, len(lines))), line)
            case "drop" if len(lines) > 2:
                del lines[at]
            case "indent":
                lines[at] = draw(st.sampled_from([" ", "    ", "\t", "- ", "? "])) + line
            case "swap":
                lines[at], lines[0] = lines[0], line
            case "end":
                lines[at] = line.rstrip("\n") + draw(
                    st.sampled_from(["\r", "\r\n", "\x85", "\u2028", " \\\n", "\n...\n"])
                )
    encoding = draw(st.sampled_from(["utf-8"]) | ENCODINGS)
    return "".join(lines).encode(encoding, "replace")


def judge(content: bytes, overrides: dict[str, str] | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spec.yaml"
        file.write_bytes(content)
        lines = len(re.split(rb"\r\n|\r|\n|\xc2\x85|\xe2\x80[\xa8\xa9]", content))
        try:
            experiment = load_spec(file, overrides)
        except SpecError as error:
            assert error.problems
            for problem in error.problems:
                assert problem.isprintable() and problem.encode() and len(problem) < 700, problem
                place = re.match(rf"(?:{re.escape(str(file))}:(?:(\d+):)?|--set) (?!: )\S", problem)
                assert place, problem
                assert place[1] is None or 1 <= int(place[1]) <= lines, problem
        else:
            assert parse_spec(experiment.model_dump(mode="json")) == experiment


def test_edited_text(hunt: Any) -> None:
    hunt(judge, edited(), quick=100, full=6000)


def test_damaged_bytes(hunt: Any, mangled: Callable[..., st.SearchStrategy[bytes]]) -> None:
    shipped = [file.read_bytes() for file in sorted(SEARCH_SPACES.rglob("*.yaml"))]
    hunt(judge, st.one_of(*[mangled(whole) for whole in (WHOLE.encode(), *shipped)]), quick=60, full=6000)


def test_options(hunt: Any) -> None:
    options = st.dictionaries(KEYS | st.text(max_size=6), ODD_VALUES | st.text(max_size=20), min_size=1, max_size=3)
    hunt(lambda given: judge(WHOLE.encode(), given), options, quick=60, full=6000)

"""All verbs with odd arguments: what parses wrongly is exit code 2 and a message, and nothing is begun by mistake.

The command line runs in this process, in a folder where `data` is a file, so that nothing can be rendered or trained.
"""

import contextlib
import io
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

SEARCH_SPACES = Path(__file__).parents[2] / "search_spaces"
LR = str(SEARCH_SPACES / "lr.yaml")
NUMBERS = ["0", "1", "-1", "2", "1e3", "0x1", "1_0", "", " 1", "nan", "١", "9" * 30, "9" * 5000, "1.5", "true", "--"]
TEXTS = [
    *(
        "",
        ".",
        "..",
        "/",
        "~",
        "a b",
        "a/b",
        "../up",
        "file",
        "file/in",
        "x" * 300,
        "-",
        "--",
        "-x",
        "=",
        "a=b",
        "%s",
        "{}",
    ),
    *(
        "é",
        "\U0001f600",
        "\u202e",
        "\x1b[31mred",
        "line\nbreak",
        "\r",
        "\x85",
        "\t",
        "\udcff",
        "\x7f",
        "[bold]",
        "[/x]",
        "$HOME",
    ),
    *(
        "http://x/y",
        "sqlite:///x.db",
        "postgresql://u:p@h/d",
        "demo",
        "none",
        "auto",
        "nowhere",
        "null",
        "[",
        "'",
        "*a",
    ),
]
WORDS = st.sampled_from(TEXTS) | st.text(st.characters(exclude_characters="\0"), max_size=6)
NAMES = st.sampled_from(["nowhere", "a", "a-1", "A.b_c", "é", *TEXTS])
SETTINGS = st.builds(
    "{}={}".format,
    st.sampled_from(
        [
            "train.epochs",
            "search.trials",
            "space.lr",
            "fixed.freeze",
            "metric",
            "mode",
            "test",
            "model",
            "weights",
            "prune",
        ]
    )
    | WORDS,
    st.sampled_from(["{log_uniform: [1, 2]}", "[a, b]", "3", "0.5", "{", "&a [*a]", "!!python/name:os.system x", "~"])
    | WORDS,
)
SPECS = st.sampled_from([LR, "broken.yaml", "nix.yaml", ".", "file/x.yaml", ""]) | WORDS
OPTIONS: dict[str, Any] = {
    **dict.fromkeys(["--name", "--from"], NAMES),
    **dict.fromkeys(["--model", "--weights", "--address"], WORDS),
    **dict.fromkeys(
        ["--trials", "--epochs", "--sampled", "--trial", "--steps", "--port", "--interval"], st.sampled_from(NUMBERS)
    ),
    **dict.fromkeys(["--plot", "--mlruns", "--against", "--out", "--show-dir"], WORDS),
    "--set": SETTINGS,
    "--values": st.sampled_from(["lr=1e-3", "freeze=[stem, norms]", "a.b=1", "lr=", "=", "lr=["]) | SETTINGS,
    "--resume": st.none() | WORDS,
    "--load-from": WORDS,
    "--workers": st.sampled_from(NUMBERS),
    **dict.fromkeys(["--json", "--write", "--deep", "--amp", "--help", "--nope", "-h", "--jso", ""], st.none()),
}
THERE = {"home", "data", "file", "broken.yaml"}
SHARED = ["--model", "--weights", "--set"]
TRAINS = ["--values", "--resume", "--load-from", "--workers", "--amp"]
VERBS = {
    "tune": [*SHARED, "--name", "--from", "--trials", "--epochs", "--mlruns", "--address"],
    "train": [*SHARED, *TRAINS, "--name", "--trial", "--epochs", "--mlruns", "--address"],
    "plan": [*SHARED, "--trials", "--epochs", "--sampled", "--trial", "--plot", "--json"],
    "lr-range": [*SHARED, "--steps", "--plot", "--write", "--json"],
    "test": ["--set", "--model", "--against", "--out", "--show-dir", "--interval", "--mlruns", "--json"],
    "restore": ["--mlruns", "--address"],
    "show": ["--mlruns", "--json"],
    "list": ["--mlruns", "--json"],
    "ui": ["--mlruns", "--port"],
}


@st.composite
def arguments(draw: st.DrawFn, specs: st.SearchStrategy[str]) -> list[str]:
    """A verb with its argument and some options, mostly its own; the data of those that train lies nowhere."""
    verb = draw(st.sampled_from([*VERBS, "data check", "data demo", "doctor"]) | WORDS)
    own = VERBS.get(verb, [])
    line = verb.split(" ") if verb.startswith("data ") else [verb]
    if own[:1] == ["--model"]:
        line += [draw(specs), "--data", draw(st.sampled_from(["nowhere", "file", "\udcff", "", "broken.yaml"]))]
    elif verb == "test":
        line += [draw(WORDS | NAMES), "--data", draw(st.sampled_from(["nowhere", "file", ""]))]
    elif verb in ("restore", "show"):
        line.append(draw(NAMES))
    elif verb == "data check":
        line.append(draw(WORDS))
    elif verb == "data demo":  # one that is not even begun, or of two pictures
        sizes = [f"--{split}={draw(st.sampled_from(['1', '0', '-1', 'x', '']))}" for split in ("train", "val")]
        line += [draw(st.sampled_from(TEXTS)), *sizes, "--seed", draw(st.sampled_from(NUMBERS))]
    elif verb == "doctor":
        line.append("--nope")
    for _ in range(draw(st.integers(0, 3))):
        option = draw(st.sampled_from(own or list(OPTIONS)) | st.sampled_from([*OPTIONS]))
        value = draw(OPTIONS[option])
        line += [option] if value is None else [option, value] if draw(st.booleans()) else [f"{option}={value}"]
    return line


def run(line: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line, which writes as strictly as to a terminal or a pipe."""
    from raypose.cli.app import main

    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, newline="") for errors in ("strict", "backslashreplace")
    )
    before, sys.argv = sys.argv, ["raypose", *line]
    code: Any = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = before
    for stream in (out, err):
        stream.flush()
    return code, *(stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a file in the way of the demo set and a broken specification."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("data", "file"):
        (home / name).write_text("no folder")
    (home / "broken.yaml").write_text("space: {lr: {log_uniform: [1]}}\n")
    monkeypatch.chdir(home)
    for variable in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)
    return home


def judge(home: Path, line: list[str]) -> None:
    code, out, err = run(line)
    for text in (out, err):
        bad = [row for row in text.split("\n") if not row.isprintable()]
        assert not bad, bad
    assert "Traceback" not in err
    assert code in (0, 1, 2), code
    if code:
        assert err.strip() or "--json" in line or line[:2] == ["data", "check"], (code, out)
        assert all(re.match("raypose: ", row) for row in err.splitlines()), err
    made = [path for path in (*home.iterdir(), *home.parent.iterdir()) if path.name not in THERE]
    for path in made:  # for the next case
        shutil.rmtree(path)
    assert not made or (line[:2] == ["data", "demo"] and code == 0), made


def test_before_anything_heavy(hunt: Any, home: Path) -> None:
    specs = st.sampled_from(["broken.yaml", "nix.yaml", ".", "", "file/x.yaml"])
    hunt(lambda line: judge(home, line), arguments(specs), quick=60, full=3000)


@pytest.mark.chaos
def test_up_to_the_data(hunt: Any, home: Path) -> None:
    hunt(lambda line: judge(home, line), arguments(SPECS), quick=20, full=3000)

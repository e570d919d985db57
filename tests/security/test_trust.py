"""A config is a program: which ones run, and that others do not."""

import hashlib
import sys
from pathlib import Path

import mmpose
import pytest

from raypose.cli import app
from raypose.cli.options import load_experiment
from raypose.errors import SpecError
from raypose.space.load import parse_spec
from raypose.space.trust import config_sha256, require_trusted
from raypose.training.base import base_config

SHIPPED = (
    Path(mmpose.__file__).parent / ".mim/configs/body_2d_keypoint/rtmpose/mpii/rtmpose-m_8xb64-210e_mpii-256x256.py"
)
SPEC = "space: {lr: {log_uniform: [1.0e-4, 1.0e-2]}}\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "lr.yaml").write_text(SPEC)
    return tmp_path / "lr.yaml"


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A config that leaves a trace as soon as it is run."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n_base_ = {str(SHIPPED)!r}\n")
    return tmp_path / "evil.py"


def sha(*files: Path) -> str:
    each = [hashlib.sha256(file.read_bytes()) for file in files]
    return each[0].hexdigest() if len(each) == 1 else hashlib.sha256(b"".join(d.digest() for d in each)).hexdigest()


@pytest.mark.parametrize("verb", ["tune", "plan", "lr-range"])
@pytest.mark.parametrize("way", ["option", "file", "set"])
def test_a_strange_config_is_not_run(
    spec: Path, evil: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, way: str
) -> None:
    options = {"option": ["--model", str(evil)], "file": [], "set": ["--set", f"model={evil}"]}[way]
    if way == "file":
        spec.write_text(f"model: {evil}\n{SPEC}")
    monkeypatch.chdir(spec.parent)
    monkeypatch.setattr(sys, "argv", ["raypose", verb, str(spec), *options])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"raypose: model: {evil}: a config is a program,") and "add --trust-config" in line
    assert sorted(path.name for path in spec.parent.iterdir()) == ["evil.py", "lr.yaml"]


def test_presets_and_shipped_configs_need_no_word(spec: Path, tmp_path: Path) -> None:
    for model in ("rtmpose-s", str(SHIPPED)):
        for trust in (False, True):
            assert load_experiment(spec, settings=[], model=model, trust=trust).trust_config is None
    link = tmp_path / "link.py"
    link.symlink_to(SHIPPED)
    assert config_sha256(str(link)) is None
    assert config_sha256(str(tmp_path / "gone.py")) is None  # for MMEngine to miss


def test_a_way_through_their_folder_does_not_make_a_config_one_of_theirs(evil: Path) -> None:
    assert (
        config_sha256(str(SHIPPED.parent / "../../../../.." / evil.relative_to("/"))) is None
    )  # there is no such file
    outside = SHIPPED.parent / Path(*[".."] * len(SHIPPED.parent.parts)) / evil.relative_to("/")
    assert outside.is_file() and config_sha256(str(outside)) == sha(evil)


def test_a_trusted_config_is_known_by_its_hash(spec: Path, evil: Path) -> None:
    experiment = load_experiment(spec, settings=[], model=str(evil), trust=True)
    assert experiment.trust_config == sha(evil)
    saved = parse_spec(experiment.model_dump(mode="json"))  # as a restore reads it
    require_trusted(saved)
    before = sha(evil)
    evil.write_text(evil.read_text() + "\n")
    with pytest.raises(SpecError, match=f"evil.py: changed since .* {sha(evil)}; it was {before}.*: put it back"):
        require_trusted(saved)
    assert not (evil.parent / "ran").exists()


def test_an_experiment_that_trusted_nothing_runs_nothing(spec: Path, evil: Path) -> None:
    saved = load_experiment(spec, settings=[], model=str(evil), trust=True).model_dump(mode="json")
    with pytest.raises(SpecError, match="it was none that was trusted"):
        require_trusted(parse_spec({**saved, "trust_config": None}))


@pytest.mark.parametrize("way", ["file", "set"])
def test_a_file_cannot_vouch_for_its_config(spec: Path, evil: Path, way: str) -> None:
    if way == "file":
        spec.write_text(f"trust_config: {sha(evil)}\nmodel: {evil}\n{SPEC}")
    settings = [] if way == "file" else [f"trust_config={'a' * 64}"]
    for trust in (False, True):
        with pytest.raises(SpecError, match="trust_config: only the command line can say"):
            load_experiment(spec, settings=settings, trust=trust)


BASES = {
    "list": ("_base_ = ['./one.py', 'more/two.py']\n", "_base_ = '../three.py'\n"),
    "imports": (
        "with read_base():\n    from .one import *\n    from .more.two import *\n",
        "with read_base():\n    from ..three import *\n",
    ),
}


@pytest.mark.parametrize("kind", BASES)
def test_a_change_of_any_base_is_a_change(tmp_path: Path, kind: str) -> None:
    (tmp_path / "more").mkdir()
    files = [tmp_path / name for name in ("config.py", "one.py", "more/two.py", "three.py")]
    for file, text in zip(
        files, [BASES[kind][0], "lr = 1\n", BASES[kind][1], f"_base_ = {str(SHIPPED)!r}\n"], strict=True
    ):
        file.write_text(text)
    assert config_sha256(str(files[0])) == sha(*files)
    for file in files:
        before = config_sha256(str(files[0]))
        file.write_text(file.read_text() + "more = 1\n")
        assert config_sha256(str(files[0])) not in (before, None)


def test_bases_that_name_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("_base_ = 'b.py'\n")
    (tmp_path / "b.py").write_text("_base_ = ['a.py', 'b.py']\n")
    assert config_sha256(str(tmp_path / "a.py")) == sha(tmp_path / "a.py", tmp_path / "b.py")


@pytest.mark.parametrize(
    "base",
    [
        *("'https://evil.example/x.py'", "['http://evil.example/x.py']", "'x.json'", "'gone.py'", "3", "[None]"),
        *("'mmpose::../../../tmp/x.py'", "'{{ fileDirname }}/x.py'", "[f'{name}.py']", "'x' + '.py'", "bases()"),
    ],
)
def test_a_base_that_cannot_be_known_is_refused(tmp_path: Path, base: str) -> None:
    for name in ("x.py", "x.json"):
        (tmp_path / name).write_text("")
    (tmp_path / "config.py").write_text(f"_base_ = {base}\n")
    with pytest.raises(SpecError, match=r"config.py: _base_"):
        config_sha256(str(tmp_path / "config.py"))


def test_a_base_of_an_installed_package_is_that_package_s(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("_base_ = 'mmpose::_base_/default_runtime.py'\n")
    assert config_sha256(str(tmp_path / "config.py")) == sha(tmp_path / "config.py")


def test_what_is_no_python_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_bytes(b"\xff\x00 not python (")
    assert config_sha256(str(tmp_path / "config.py")) == sha(tmp_path / "config.py")


@pytest.mark.parametrize(
    "text",
    [
        *("raise RuntimeError('sorry')", "raise SystemExit(3)", "assert False", "1 / 0", "x = [0][1]"),
        *("import os\n_base_ = 'mmpose::_base_/default_runtime.py'", "model = 3", "", "def"),
    ],
)
def test_a_program_that_fails_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.py").write_text(text + "\n")
    with pytest.raises(SpecError, match="config.py: not an RTMPose config: ") as caught:
        base_config(str(tmp_path / "config.py"))
    assert len(str(caught.value).splitlines()) == 1

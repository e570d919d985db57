"""`raypose report` as a user meets it."""

from pathlib import Path

from tests.cli.test_app import raypose
from tests.report.conftest import Replayed


def test_a_page_is_written_and_kept_or_else_the_reason_is_told(replayed: Replayed, tmp_path: Path) -> None:
    made = replayed.make("cli", trials=3)
    options = ["--mlruns", str(replayed.mlruns), "--tensorboard", "events"]
    done = raypose("report", "cli", "cli", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "report.html\n"), done.stderr
    assert "no such database yet" in done.stderr, "MLflow has never heard of it"
    assert (tmp_path / "report.html").read_text().count("plotly.js v") == 1
    assert sorted(f.name for f in (tmp_path / "events" / "cli").iterdir()) == [f"trial-000{n}" for n in range(3)]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["events", "report.html"]
    assert not (made.path / "report.html").exists(), "of the record it is only read"


def test_bad_places_and_names_are_one_line(replayed: Replayed, tmp_path: Path) -> None:
    replayed.make("cli-2", trials=1)
    (tmp_path / "file").touch()
    for options, said in {
        ("report", "nix"): "no experiment 'nix' in ",
        ("report", "cli-2", "--out", "nowhere/report.html"): "--out: nowhere/report.html: no such folder",
        ("report", "cli-2", "--out", "."): "--out: .: is a folder",
        ("report", "cli-2", "--tensorboard", "file"): "--tensorboard: file: is a file; name a folder",
    }.items():
        done = raypose(*options, "--mlruns", str(replayed.mlruns), cwd=tmp_path)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_the_verb_explains_itself_with_an_example(tmp_path: Path) -> None:
    done = raypose("report", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "Example: raypose report lr-1" in done.stdout

"""What the doctor finds on a sound machine, and on one with things broken for real."""

import http.server
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from raypose.datasets.demo import ensure_demo
from raypose.machine import doctor
from raypose.machine.doctor import Finding, examine
from raypose.machine.probe import run_alone

QUICK = ["Python", "packages", "bytecode", "C compiler", "memory", "/dev/shm", "mlruns", "data/", "temporary files"]
SLOW = ["training", "GPU", "Ray"]
MACHINE = {"memory", "/dev/shm", "mlruns", "data/", "temporary files", "MLflow"}  # too little room is no fault of ours


@pytest.fixture(autouse=True)
def plain_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, and none of the variables that the doctor heeds."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)


def find(what: str, mlruns: Path = Path("mlruns"), data: str | None = None) -> list[Finding]:
    """The findings of one quick check; the slow ones, which come last, are not begun."""
    found = []
    for finding in examine(mlruns.absolute(), data):
        if finding.what == what:
            found.append(finding)
        if finding.what == "data":
            break
    return found


def alive_with(marker: str) -> list[str]:
    """The processes, other than this one, that have the text in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (process / "environ").read_bytes() and process.name != str(os.getpid()):
                found.append((process / "cmdline").read_text())
        except OSError:  # it has ended meanwhile, or is not ours
            continue
    return found


def test_sound_machine_has_every_finding_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTOR_TEST", str(tmp_path))
    found = list(examine(tmp_path / "mlruns", None))
    assert [finding.what for finding in found] == [*QUICK, "MLflow", "data", *SLOW]
    assert [finding for finding in found if not finding.sound and finding.what not in MACHINE] == []
    assert all(finding.text and "\n" not in finding.text for finding in found)
    assert alive_with(f"DOCTOR_TEST={tmp_path}") == []
    assert list(tmp_path.iterdir()) == []


def test_memory_is_reckoned_as_the_tuner_does() -> None:
    from raypose.tuning.cluster import WORKER_MEMORY

    assert doctor.LANE_MEMORY == WORKER_MEMORY


def test_file_in_place_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    (found,) = find("mlruns", tmp_path / "file" / "mlruns")
    assert not found.sound and f"{tmp_path / 'file'} (Not a directory)" in found.text and "--mlruns" in found.text
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file"))
    (found,) = find("temporary files")
    assert not found.sound and "RAY_TMPDIR" in found.text


def test_too_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("DISK", "SHARED_MEMORY", "LANE_MEMORY"):
        monkeypatch.setattr(doctor, limit, 2**60)
    for what, mend in (("mlruns", "--mlruns"), ("/dev/shm", "--shm-size=8g"), ("memory", "end other programs")):
        (found,) = find(what)
        assert not found.sound and mend in found.text


def pretend_installed(folder: Path, name: str, version: str, *lines: str) -> None:
    """Metadata of a package, as an installer leaves it."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    said = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines]
    place.joinpath("METADATA").write_text("\n".join(said))


def test_packages_out_of_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in (("numpy", "1.26.4"), ("aiohttp", "1.0"), ("opencv_python", "4.11.0")):
        pretend_installed(tmp_path / "site", name, version)
    monkeypatch.syspath_prepend(tmp_path / "site")
    found = find("packages")
    assert not any(finding.sound for finding in found)
    ray, numpy, opencv = sorted((finding.text for finding in found), key=lambda text: text.split()[0])
    assert ray.startswith("aiohttp 1.0 is installed, aiohttp>=3")  # by way of ray[default]
    assert numpy.startswith("numpy 1.26.4 is installed") and f"--python {sys.executable} 'numpy<2.5,>=2.4'" in numpy
    assert "uv pip uninstall opencv-python && " in opencv


def test_check_that_fails_is_a_finding_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(tmp_path / "site", "raypose", "9.0", "Requires-Python: nonsense")
    monkeypatch.syspath_prepend(tmp_path / "site")
    (found,) = find("Python")
    assert not found.sound and "InvalidSpecifier" in found.text and "uv sync --reinstall" in found.text
    assert find("mlruns")


def test_bytecode_and_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    (found,) = find("bytecode")
    assert not found.sound and "torch" in found.text and f"`{sys.executable} -m compileall" in found.text
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = find("C compiler")
    assert found.sound and "build-essential" in found.text  # xtcocotools is built already


def test_data(tmp_path: Path) -> None:
    assert "neither" in find("data")[0].text
    assert find("data", data="demo")[0].sound
    ensure_demo(tmp_path / "data" / "demo", train=4, val=2)
    assert find("data")[0].text.startswith("data/demo found")
    (sound,) = find("data", data="demo")
    assert sound.sound and "4 people in 4 images to train on, 2 in 2 to validate; 0 problems" in sound.text
    shutil.rmtree(tmp_path / "data" / "demo" / "images")
    (broken,) = find("data", data="data/demo")
    assert not broken.sound and "raypose data check data/demo" in broken.text
    (missing,) = find("data", data="nowhere")
    assert not missing.sound and "there is no such folder" in missing.text


def answering(code: int) -> http.server.HTTPServer:
    """A server on a free loopback port that answers everything with one status code."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize(("code", "sound"), [(200, True), (401, True), (404, False), (500, False)])
def test_mlflow_server(code: int, sound: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    server = answering(code)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{server.server_port}")
    (found,) = find("MLflow")
    server.shutdown()
    server.server_close()
    assert found.sound is sound and f"({code})" in found.text and "secret" not in found.text
    (found,) = find("MLflow")
    assert not found.sound and "does not answer" in found.text and "secret" not in found.text


def test_mlflow_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "mlruns" / "mlflow.db"
    database.parent.mkdir()
    with sqlite3.connect(database) as made:
        made.execute("CREATE TABLE runs (run_uuid TEXT)")
    assert find("MLflow")[-1] == Finding("MLflow", True, f"{database} holds 0 runs")
    database.write_text("not a database at all")
    broken = find("MLflow")[-1]
    assert not broken.sound and "file is not a database" in broken.text and "raypose restore" in broken.text
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./folder")
    assert not find("MLflow")[0].sound
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nosuchdb://me:secret@127.0.0.1/mlflow")
    (unknown,) = find("MLflow")
    assert not unknown.sound and "nosuchdb" in unknown.text and "secret" not in unknown.text


def test_child_that_hangs_is_ended_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTOR_TEST", str(tmp_path))
    code = "import os, subprocess, time; subprocess.Popen(['sleep', '60'], preexec_fn=os.setpgrp); print(1, flush=True)"
    with tempfile.TemporaryFile("w+") as output:
        assert run_alone(["-c", f"{code}; time.sleep(60)"], 2, output, subprocess.DEVNULL) is None
        assert run_alone(["-c", code], 60, output, subprocess.DEVNULL) == 0
        output.seek(0)
        assert output.read().split() == ["1", "1"]
    assert alive_with(f"DOCTOR_TEST={tmp_path}") == []

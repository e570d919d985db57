"""The machine in one line, as its system and its GPUs' driver tell."""

import os
from pathlib import Path

import pytest

from raypose.machine.usage import _memory, machine_line


def program(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An nvidia-smi that says this."""
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_processors_and_memory(tmp_path: Path) -> None:
    facts = tmp_path / "meminfo"
    facts.write_text("MemTotal:       8388608 kB\nMemFree:         100 kB\nMemAvailable:    2097152 kB\n")
    assert _memory(facts) == "6.0 of 8.0 GiB of memory used"
    assert _memory(tmp_path / "none") is None
    assert f" on {os.cpu_count()} CPUs" in machine_line()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "echo '87, 1024, 81920'; echo '0, 512, 81920'",
            "GPU 0: 87 % busy, 1.0 of 80.0 GiB used, GPU 1: 0 % busy, 0.5",
        ),
        ("echo '[N/A], 1024, 81920'", None),
        ("echo 'NVIDIA-SMI has failed'; exit 9", None),
    ],
)
def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: str | None) -> None:
    program(tmp_path, said, monkeypatch)
    assert expected in machine_line() if expected else "GPU" not in machine_line()

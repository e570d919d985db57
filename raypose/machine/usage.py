"""How busy the machine is that a command runs on: processors, memory, GPUs. Runs in: command line."""

import os
import re
import shutil
import subprocess
from pathlib import Path

GIB = 2**30
QUERY = ["--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits"]
PATIENCE_S = 5.0  # for nvidia-smi, which on a machine without its daemon wakes the driver


def machine_line() -> str:
    """The load of this machine, of whatever processes, as far as its system tells."""
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    return ", ".join([load, *filter(None, [_memory()]), *_gpus()])


def _memory(facts: Path = Path("/proc/meminfo")) -> str | None:
    """None where the system is not Linux."""
    if not facts.is_file():
        return None
    kib = dict(re.findall(r"^(\w+):\s+(\d+) kB$", facts.read_text(), re.MULTILINE))
    total, free = (int(kib[name]) * 1024 / GIB for name in ("MemTotal", "MemAvailable"))
    return f"{total - free:.1f} of {total:.1f} GiB of memory used"


def _gpus() -> list[str]:
    """One text a GPU; none where there is no driver, or where it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run([program, *QUERY], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return ["GPUs: nvidia-smi does not answer"]
    rows = [line.split(", ") for line in done.stdout.splitlines()]
    return [
        f"GPU {number}: {row[0]} % busy, {float(row[1]) / 1024:.1f} of {float(row[2]) / 1024:.1f} GiB used"
        for number, row in enumerate(rows)
        if len(row) == 3 and all(cell.replace(".", "").isdigit() for cell in row)
    ]

"""What a trial is trained with, `auto` being resolved: how it is made faster, on what, by which versions.

Runs in: GPU worker.
"""

import platform
import re
from importlib.metadata import version
from pathlib import Path

import torch
from mmengine.config import Config

from raypose.space.run import Run


def ran_with(config: Config, run: Run) -> dict[str, str | int | bool | None]:
    """As people read it; `config` is the hastened one. That it was on cached views is among each epoch's figures."""
    on_gpu = torch.cuda.is_available()  # MMEngine trains on what it sees
    return {
        "channels_last": run.channels_last,
        "fused": bool(config.optim_wrapper.optimizer.get("fused", False)),
        "amp": run.amp,
        "transforms": "fast" if run.fast_transforms else "stock",
        "workers": run.workers,
        "device": torch.cuda.get_device_name() if on_gpu else processor(),
        "torch": torch.__version__,
        "mmpose": version("mmpose"),
        **({"cuda": torch.version.cuda} if on_gpu else {}),
    }


def processor(facts: Path = Path("/proc/cpuinfo")) -> str:
    """The model of this machine's CPU; where the system does not tell, its kind."""
    models = re.findall(r"^model name\s*: (.+)$", facts.read_text(), re.MULTILINE) if facts.is_file() else []
    return str(models[0]) if models else platform.machine()

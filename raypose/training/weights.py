"""Where training starts from: read weights without running code, and fit them to the model. Runs in: GPU worker."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from mmengine.logging import MMLogger
from safetensors.torch import load_file
from torch import Tensor, nn

from raypose.errors import WeightsError
from raypose.training.resample import resample
from raypose.training.weights_file import fetched, require_unpacked

# MMPose's published weights describe their data set, with arrays of numbers; older NumPy made them by another name.
_MAKERS: list[Any] = [np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]]
_NUMBERS = [getattr(np.dtypes, n) for n in np.dtypes.__all__ if n.startswith(("Bool", "Int", "UInt", "Float"))]
_ARRAYS = [
    *(np.ndarray, np.dtype, *_NUMBERS, *_MAKERS),
    *((maker, f"numpy.core.multiarray.{maker.__name__}") for maker in _MAKERS),
]
DEMO_WEIGHTS = Path(__file__).parent / "demo_weights.safetensors"
SHOWN = 3  # names in a line of the log


@dataclass(frozen=True)
class Loaded:
    """What became of each tensor of a file and of the model.

    `loaded` as they are, `resampled` from another input size, `skipped` for a reason: together the file's tensors.
    `missing` are the model's that the file does not give, and that so stay as they were initialized.
    """

    loaded: tuple[str, ...]
    resampled: tuple[str, ...]
    skipped: dict[str, str]
    missing: tuple[str, ...]


def load_weights(model: nn.Module, source: str, config_source: dict[str, Any] | None) -> Loaded:
    """Load `source` into the model: demo, none, official (`config_source`, an init_cfg), a file or a URL.

    Backbone and whole-model files are both taken, and a head of another input size is resampled. Raises WeightsError
    if the file cannot be read or no parameter of the backbone fits.
    """
    own = model.state_dict()
    if source == "none":
        return Loaded((), (), {}, tuple(own))
    if source == "official":
        if not config_source or not config_source.get("checkpoint"):
            raise WeightsError("weights: official: this base config names no weights; give a file, demo or none")
        source = str(config_source["checkpoint"])
    state = _with_prefixes(read_weights(source), own)
    resampled = resample(state, own)
    loaded = {k: v for k, v in state.items() if k not in resampled and k in own and own[k].shape == v.shape}
    if not any(name.startswith("backbone.") and name in loaded for name, _ in model.named_parameters()):
        raise WeightsError(
            f"weights: {source}: none of its {len(state)} tensors fits the model's backbone; "
            f"{'demo is of rtmpose-n; ' if source == 'demo' else ''}"
            "set weights: official, none, or a file of this model's weights"
        )
    model.load_state_dict({**loaded, **resampled}, strict=False)
    skipped = {k: _reason(v, own.get(k)) for k, v in state.items() if k not in loaded and k not in resampled}
    missing = tuple(k for k in own if k not in loaded and k not in resampled)
    return Loaded(tuple(loaded), tuple(resampled), skipped, missing)


def tell(source: str, model: nn.Module, loaded: Loaded) -> None:
    """One line in the log; a warning if a part of the backbone starts from random numbers."""
    random = {name for name, _ in model.named_parameters() if name.startswith("backbone.")} & set(loaded.missing)
    MMLogger.get_current_instance().log(logging.WARNING if random else logging.INFO, describe(source, loaded))


def describe(source: str, loaded: Loaded) -> str:
    """For the log: what became of the tensors of the file and of the model."""
    return (
        f"weights {source}: {len(loaded.loaded)} tensors loaded, {len(loaded.resampled)} resampled, "
        f"{len(loaded.skipped)} skipped{_first(loaded.skipped)}, "
        f"{len(loaded.missing)} missing{_first(loaded.missing)}"
    )


def read_weights(source: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pth file or URL; a pickle that asks for more than tensors is refused."""
    try:
        with torch.serialization.safe_globals(_ARRAYS):
            state = _read(weights_file(source))
    except WeightsError:
        raise
    except FileNotFoundError as fault:
        raise WeightsError(f"weights: {source}: no such file") from fault
    except URLError as fault:
        raise WeightsError(
            f"weights: {source}: cannot be fetched: {fault.reason}; fetch it elsewhere, and give the file"
        ) from fault
    except UnpicklingError as fault:
        raise WeightsError(
            f"weights: {source}: cannot be read: damaged, or with Python objects inside, which raypose never runs; "
            "MMPose's tools/misc/publish_model.py leaves only the tensors of a training checkpoint"
        ) from fault
    except Exception as fault:  # a damaged pickle or archive raises almost anything
        why = (str(fault).splitlines() or [""])[0]
        raise WeightsError(f"weights: {source}: cannot be read: {type(fault).__name__}: {why}") from fault
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    if not isinstance(state, dict):
        raise WeightsError(f"weights: {source}: its state_dict is no dict of tensors")
    return {str(k).removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}


def weights_file(source: str) -> Path:
    """The file that `demo`, a path or a URL names. Raises as `fetched` does."""
    return DEMO_WEIGHTS if source == "demo" else fetched(source)


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    require_unpacked(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _reason(tensor: Tensor, wanted: Tensor | None) -> str:
    if wanted is None:
        return "not in the model"
    return f"of shape {tuple(tensor.shape)}, where the model has {tuple(wanted.shape)}"


def _first(names: Collection[str]) -> str:
    shown = [*names][:SHOWN] + ["..."] * (len(names) > SHOWN)
    return f" ({', '.join(shown)})" if shown else ""


def _with_prefixes(state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file that holds the backbone alone may name its tensors without `backbone.`."""
    if any(name in own for name in state):
        return state
    return {f"backbone.{name}": tensor for name, tensor in state.items()}

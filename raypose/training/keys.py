"""Config keys by their dotted path. Runs in: GPU worker, `raypose plan`."""

import difflib
from fnmatch import fnmatchcase
from typing import Any

from mmengine.config import Config

from raypose.errors import SpecError

# Keys that raypose writes itself; changing them would change nothing, or half of what belongs together.
FOLLOWS = {
    "optim_wrapper.optimizer.lr": "lr",
    "optim_wrapper.accumulative_counts": "train.accumulation",
    "*.input_size": "input_size",
    "*.in_featuremap_size": "input_size",
    "train_cfg.*": "train.epochs",
    "param_scheduler.*.T_max": "train.epochs",
    "param_scheduler.*.convert_to_iter_based": "train.epochs",
    "*_dataloader.num_workers": "train.loader_workers",
    "*_dataloader.persistent_workers": "train.loader_workers",
    "*_dataloader.prefetch_factor": "train.loader_workers",
    "*_dataloader.dataset.*_root": "data",
    "*_dataloader.dataset.*_file": "data",
    "model.backbone.init_cfg.*": "weights",
    "optim_wrapper.type": "train.amp",
    "optim_wrapper.dtype": "train.amp",
    "default_hooks.*": None,
    "env_cfg.*": None,
    "visualizer.*": None,
    "log_*": None,
    "default_scope": None,
    "model_wrapper_cfg.*": None,
}


def dotted(config: Any, prefix: str = "") -> dict[str, Any]:
    """All leaves of a config by their path; a list's dicts are addressed by `type`, its other items by number.

    Path of EMA's momentum: `custom_hooks.EMAHook.momentum`.
    """
    if isinstance(config, Config):
        config = config._cfg_dict
    if isinstance(config, dict):
        items = [(str(key), value) for key, value in config.items()]
    elif isinstance(config, list | tuple) and any(isinstance(item, dict) for item in config):
        items = [(_item_name(item, number), item) for number, item in enumerate(config)]
    else:
        return {prefix: config}
    leaves: dict[str, Any] = {}
    for name, value in items:
        leaves.update(dotted(value, f"{prefix}.{name}" if prefix else name))
    return leaves


def _item_name(item: Any, number: int) -> str:
    named = isinstance(item, dict) and isinstance(item.get("type"), str)
    return str(item["type"].split(".")[-1]) if named else str(number)


def get_key(config: Config, path: str) -> Any:
    """The value of a key that may vary. Raises SpecError for one that the config lacks or raypose writes itself."""
    leaves = dotted(config)
    if path not in leaves:
        raise SpecError([_unknown(path, [key for key in leaves if not _follows(key)])])
    if patterns := _follows(path):
        instead = FOLLOWS[patterns[0]]
        hint = f"; set {instead} instead" if instead else ""
        raise SpecError([f"space.{path}: raypose writes this key itself{hint}"])
    return leaves[path]


def set_key(config: Config, path: str, value: Any) -> None:
    """Set a key that may vary, by its dotted path; errors as of `get_key`."""
    get_key(config, path)
    *parents, last = path.split(".")
    node: Any = config
    for name in parents:
        node = _child(node, name)
    node[int(last) if isinstance(node, list) else last] = value


def _follows(path: str) -> list[str]:
    return [pattern for pattern in FOLLOWS if fnmatchcase(path, pattern)]


def _child(node: Any, name: str) -> Any:
    if isinstance(node, list):
        named = [item for item in node if isinstance(item, dict) and str(item.get("type")).split(".")[-1] == name]
        return named[0] if named else node[int(name)]
    return node[name]


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5) if key.split(".")[-1] != "lr" else ["lr"]
    tail = [k for k in known if k.endswith("." + key.split(".")[-1])]
    hint = f"; did you mean '{(near or tail)[0]}'?" if near or tail else ""
    return f"space.{key}: the base config has no such key{hint}"

"""Config keys by their dotted path. Runs in: GPU worker, `raypose plan`."""

import difflib
from typing import Any

from mmengine.config import Config

from raypose.errors import SpecError


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


def set_key(config: Config, path: str, value: Any) -> None:
    """Set an existing leaf of the config by its dotted path."""
    leaves = dotted(config)
    if path not in leaves:
        raise SpecError([unknown_key(path, list(leaves))])
    *parents, last = path.split(".")
    node: Any = config
    for name in parents:
        node = _child(node, name)
    node[int(last) if isinstance(node, list) else last] = value


def _child(node: Any, name: str) -> Any:
    if isinstance(node, list):
        named = [item for item in node if isinstance(item, dict) and str(item.get("type")).split(".")[-1] == name]
        return named[0] if named else node[int(name)]
    return node[name]


def unknown_key(key: str, known: list[str]) -> str:
    """What to tell the user about a key that the config does not have."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    tail = [k for k in known if k.endswith("." + key.split(".")[-1])]
    hint = f"; did you mean '{(near or tail)[0]}'?" if near or tail else ""
    return f"space.{key}: the base config has no such key{hint}"

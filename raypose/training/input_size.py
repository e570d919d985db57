"""The knob `input_size`: one "WxH" rewrites every place that depends on it. Runs in: GPU worker, `raypose plan`."""

import math
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

STRIDE = 32  # CSPNeXt halves the image five times


def set_input_size(config: Config, size: str) -> None:
    """Rewrite every place that depends on the input size, given as "WxH" in pixels.

    Codec copies in head and pipelines, SimCC's sigma = sqrt(side / 8) as in all official configs, the head's input
    and feature-map size, and the crop of every pipeline, the one that the switch hook holds included.
    """
    width, height = (int(side) for side in size.split("x"))
    for node in dicts(config):
        kind = str(node.get("type", "")).split(".")[-1]
        if "simcc_split_ratio" in node and "sigma" in node or kind == "TopdownAffine":
            node["input_size"] = (width, height)
        if "sigma" in node and "simcc_split_ratio" in node:
            node["sigma"] = tuple(round(math.sqrt(side / 8), 2) for side in (width, height))
        if "in_featuremap_size" in node:
            node["input_size"] = (width, height)
            node["in_featuremap_size"] = (width // STRIDE, height // STRIDE)


def dicts(node: Any) -> Iterator[dict[str, Any]]:
    """All dicts inside a config, itself included."""
    if isinstance(node, Config):
        node = node._cfg_dict
    if isinstance(node, dict):
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    for child in children:
        yield from dicts(child)

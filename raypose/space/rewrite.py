"""One value of a YAML file replaced, and every other character of it left alone. Runs in: command line."""

import math
from typing import Any

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from raypose.errors import SpecError
from raypose.space.explain import show_path
from raypose.space.yaml_lines import YamlError, compose, read_yaml


def rewrite_value(text: str, path: tuple[str, ...], flow: str) -> str:
    """The document with another value at this place; only comments between the lines of the old value go with it.

    Args:
        text: a YAML document that can be read.
        path: keys from the top down, such as ("space", "lr"), written down in the document.
        flow: the new value in one line of YAML, such as "{log_uniform: [3.1e-4, 6.0e-3]}".

    Raises:
        SpecError: the place is not in the document, or shares its value with another one through & and *.
    """
    node = _find(compose(text), path)
    start, end = node.start_mark.index, _end(node, text)
    is_block_list = isinstance(node, SequenceNode) and not node.flow_style
    blank = (
        " " if start == end or is_block_list else ""
    )  # `lr:` has no blank yet; a list may stand under its key's start
    rewritten = text[:start] + blank + flow + text[end:]
    if not _reads_as(rewritten, _replaced(read_yaml(text).data, path, read_yaml(flow).data)):
        raise SpecError([f"{show_path(path)}: cannot be replaced by itself; write it as `key: value`, without & and *"])
    return rewritten


def write_range(text: str, knob: str, low: float, high: float) -> str:
    """The document with a logarithmic range for a knob of its space, under the conditions that the knob had.

    Raises SpecError as `rewrite_value` does.
    """
    _find(compose(text), ("space", knob))
    before = read_yaml(text).data["space"][knob]
    kept = {key: before[key] for key in ("when", "also") if isinstance(before, dict) and key in before}
    domain = {"log_uniform": [low, high], **kept}
    flow = yaml.safe_dump(domain, default_flow_style=True, sort_keys=False, width=math.inf)
    return rewrite_value(text, ("space", knob), flow.strip())


def _find(node: Node | None, path: tuple[str, ...]) -> Node:
    for key in path:
        pairs = node.value if isinstance(node, MappingNode) else []
        node = next((value for name, value in pairs if isinstance(name, ScalarNode) and name.value == key), None)
    if node is None:
        raise SpecError([f"{show_path(path)}: not in the file; nothing can be replaced there"])
    return node


def _end(node: Node, text: str) -> int:
    """PyYAML ends a block value at the next key, behind comments; it ends where its last value does."""
    if isinstance(node, CollectionNode) and not node.flow_style:
        last = node.value[-1]
        return _end(last[1] if isinstance(node, MappingNode) else last, text)
    start, end = node.start_mark.index, node.end_mark.index
    return start + len(text[start:end].rstrip())


def _replaced(data: Any, path: tuple[str, ...], value: Any) -> Any:
    """The data with this value at this place."""
    return {**data, path[0]: _replaced(data[path[0]], path[1:], value)} if path else value


def _reads_as(text: str, data: Any) -> bool:
    try:
        document = read_yaml(text)
    except YamlError:
        return False
    return not document.problems and bool(document.data == data)

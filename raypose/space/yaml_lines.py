"""YAML text to plain data that remembers the line of every key. Runs in: command line.

Plain words are read by the rules of YAML 1.2's core schema, as editors do: `2e-4` is a number, `on` and `no` are text,
only `true` and `false` are truth values. Nothing but text, numbers, truth values, null, lists and mappings is built.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_DEPTH: Final = 20
MAX_VALUES: Final = 20_000  # after aliases are followed: a few lines of them can stand for billions of values

Path = tuple[str | int, ...]
Plain = Any
HALF: Final = "half of a surrogate pair is not a character"
_TAG: Final = "tag:yaml.org,2002:"


class YamlError(Exception):
    """The text cannot be read at all; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True)
class Document:
    """Plain data, the line of each key and list item by its path, and faults that did not prevent the reading."""

    data: Plain
    lines: dict[Path, int]
    problems: list[tuple[Path, int, str]]

    def line(self, path: Path) -> int:
        """The line of this place, or of the nearest one around it that is written down."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):
    """PyYAML's parser and composer with the core schema's resolvers and a limit on nesting."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise YamlError(self.line + 1, f"nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})\Z"), _first)


def read_yaml(text: str) -> Document:
    """Reads one YAML document.

    Raises:
        YamlError: the text is not YAML, or nests too deeply.
    """
    builder = _Builder()
    root = compose(text)
    return Document(None if root is None else builder.build(root, ()), builder.lines, builder.problems)


def compose(text: str) -> Node | None:
    """The nodes of one YAML document, with their marks. Raises YamlError like `read_yaml`."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(line, f"the character U+{ord(text[error.position]):04X} is not allowed") from error
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(filter(None, (error.context, error.problem)))
        raise YamlError(mark.line + 1 if mark else 1, f"not valid YAML: {reason}") from error
    except (ValueError, OverflowError) as error:  # PyYAML's scanner lets chr() and int() fail on absurd escapes
        raise YamlError(loader.line + 1, f"not valid YAML: {error}") from error


@dataclass
class _Builder:
    """Turns nodes into plain data, counting what it builds."""

    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[tuple[Path, int, str]] = field(default_factory=list)
    built: int = 0

    def build(self, node: Node, path: Path) -> Plain:
        self.built += 1
        if self.built > MAX_VALUES or len(path) > MAX_DEPTH:
            raise YamlError(node.start_mark.line + 1, "aliases that stand for too many values, or for themselves")
        match node:
            case MappingNode():
                return self._mapping(node, path)
            case SequenceNode():
                return self._sequence(node, path)
            case ScalarNode():
                return self._scalar(node, path)
        raise TypeError(f"PyYAML composed an unknown node {node!r}")

    def _problem(self, node: Node, path: Path, message: str) -> None:
        self.problems.append((path, node.start_mark.line + 1, message))

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Plain]:
        self._known_tag(node, path, "map")
        data: dict[str, Plain] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._problem(key_node, path, "a key is a plain word, not a list or a mapping")
                continue
            key = _joined(key_node.value)
            place = (*path, key)
            if _has_half(key):
                self._problem(key_node, place, HALF)
                continue
            if key in data:
                self._problem(key_node, place, f"given twice; the first is in line {self.lines[place]}")
                continue
            self.lines[place] = key_node.start_mark.line + 1
            data[key] = self.build(value_node, place)
        return data

    def _sequence(self, node: SequenceNode, path: Path) -> list[Plain]:
        self._known_tag(node, path, "seq")
        items = []
        for index, item in enumerate(node.value):
            self.lines[(*path, index)] = item.start_mark.line + 1
            items.append(self.build(item, (*path, index)))
        return items

    def _scalar(self, node: ScalarNode, path: Path) -> Plain:
        text = _joined(node.value)
        try:
            match node.tag.removeprefix(_TAG):
                case "null":
                    return None
                case "bool" if text.lower() in ("true", "false"):
                    return text.lower() == "true"
                case "int":
                    return int(text, 0 if text[:2] in ("0o", "0x") else 10)
                case "float":
                    return float(re.sub(r"\.(inf|nan)$", r"\1", text.lower()))
        except ValueError:
            self._problem(node, path, f"'{text[:40]}' is not a number that can be read")
            return None
        self._known_tag(node, path, "str")
        if _has_half(text):
            self._problem(node, path, HALF)
            return ""
        return text

    def _known_tag(self, node: Node, path: Path, name: str) -> None:
        if node.tag != _TAG + name:
            self._problem(node, path, f"the tag {node.tag.replace(_TAG, '!!')} is not supported; write the plain value")


def _has_half(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _joined(text: str) -> str:
    """The text with each pair of surrogates as the character it stands for: JSON escapes it as two."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")

"""A YAML text as a tree of texts, lists and tables that know their line and their place.

Reading is bounded: 1 MiB, 20 levels, 20,000 values with every alias counted where it is used,
so a small file can't grow into a huge one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from receiver.config.mistakes import list_bare_references
from receiver.config.report import Report, quote
from receiver.config.substitute import Substitution

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_VALUES = 20_000
MAX_TEXT = 10_000
_STANDARD = "tag:yaml.org,2002:"
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Text:
    """A single value. *written* is what stands in the file, *value* what it says filled in.

    Numbers and booleans stay the text they are written as, so `17:00`, `NO` and `0123` mean
    what their reader sees. Problems quote *written* only: *value* may hold a secret.
    """

    line: int
    path: str
    value: str = field(repr=False)
    written: str
    is_null: bool = False
    is_stand_in: bool = False  # the environment's, where the file leaves it out


@dataclass(frozen=True)
class List:
    line: int
    path: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Table:
    """Keys with their values, and the line of each key."""

    line: int
    path: str
    items: dict[str, Item]
    lines: dict[str, int]

    def find(self, key: str) -> Item | None:
        """Return the value; None where the key is absent or has nothing behind it."""
        item = self.items.get(key)
        return None if isinstance(item, Text) and item.is_null else item


Item = Text | List | Table


def parse_document(text: str, report: Report, substitution: Substitution) -> Item | None:
    """Return the tree in *text*, None for an empty one; what can't be read at all raises ConfigError."""
    node = _compose(text, report)
    return None if node is None else _Builder(report, substitution).build(node, "", 0)


class _Loader(yaml.SafeLoader):
    """Stops at MAX_DEPTH, as PyYAML composes by recursion, and at MAX_VALUES, as it is slow."""

    depth = 0
    count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        self.count += 1
        if self.depth > MAX_DEPTH or self.count > 2 * MAX_VALUES:  # keys are nodes, too
            problem = f"more than {MAX_VALUES} values or {MAX_DEPTH} levels"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.get_mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _compose(text: str, report: Report) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        report.stop(line, f"no YAML: {error.problem or error.context or 'it breaks off'}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        report.stop(line, "no YAML: a control character", "printable text")
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML lets these through for \U escapes beyond Unicode and for endless numbers.
        report.stop(1, "no YAML: a number or an escape is out of bounds")


class _Builder:
    def __init__(self, report: Report, substitution: Substitution) -> None:
        self._report = report
        self._substitution = substitution
        self._left = MAX_VALUES

    def build(self, node: yaml.Node, path: str, depth: int) -> Item:
        line = node.start_mark.line + 1
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:  # an alias may stand for much, even for itself
            self._report.stop(line, f"more than {MAX_VALUES} values or {MAX_DEPTH} levels", "fewer aliases")
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, "seq")
            children = (self.build(item, f"{path}[{n}]", depth + 1) for n, item in enumerate(node.value))
            return List(line, path, tuple(children))
        if isinstance(node, yaml.MappingNode):
            self._check_tag(node, "map")
            return self._build_table(node, path, depth)
        return self._build_text(node, path)

    def _build_table(self, node: yaml.MappingNode, path: str, depth: int) -> Table:
        table = Table(node.start_mark.line + 1, path, {}, {})
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _STANDARD + "merge":
                merged.append(value_node)
                continue
            key, line = self._read_key(key_node), key_node.start_mark.line + 1
            item = self.build(value_node, join(path, key), depth + 1)
            if key in table.items:
                self._report.fault(
                    line, f"{quote(key)} is there twice (first in line {table.lines[key]})", "it once"
                )
                continue
            table.items[key], table.lines[key] = item, line
        for value_node in merged:
            self._merge(table, value_node, depth)
        return table

    def _merge(self, table: Table, node: yaml.Node, depth: int) -> None:
        """Add the keys of `<<: *alias` (or a list of them) that the table doesn't have itself."""
        other = self.build(node, table.path, depth + 1)
        for source in other.items if isinstance(other, List) else (other,):
            if not isinstance(source, Table):
                self._report.fault(source.line, "'<<' takes in something else", "an alias of a table")
                continue
            for key, item in source.items.items():
                table.lines.setdefault(key, source.lines[key])
                table.items.setdefault(key, item)

    def _read_key(self, node: yaml.Node) -> str:
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.ScalarNode):
            self._report.fault(line, "a key is a list or a table", "a text")
            return ""
        self._check_text(node.value, line, "a key")
        return str(node.value)

    def _build_text(self, node: yaml.Node, path: str) -> Text:
        line, written = node.start_mark.line + 1, str(node.value)
        if not node.tag.startswith(_STANDARD):
            self._report.fault(line, f"{path or 'it'} has an unknown tag {quote(node.tag)}", "none")
        value, faults = self._substitution.fill(written)
        for fault in faults:
            self._report.fault(line, f"{path}: {fault}")
        for name in list_bare_references(written):
            what = f"{path or 'the file'} holds ${name}, which is not filled in"
            self._report.warn(line, what, f"${{{name}}}, if that is meant")
        self._check_text(value, line, path or "the file")
        return Text(line, path, value.strip(), written, is_null=node.tag == _STANDARD + "null")

    def _check_text(self, value: str, line: int, name: str) -> None:
        if len(value) > MAX_TEXT:
            self._report.stop(line, f"{name} is longer than {MAX_TEXT} characters")
        if _SURROGATE.search(value):
            self._report.stop(line, f"{name} holds half a character", "whole ones")

    def _check_tag(self, node: yaml.Node, kind: str) -> None:
        if node.tag != _STANDARD + kind:
            line = node.start_mark.line + 1
            self._report.fault(line, f"an unknown tag {quote(node.tag)}", "none")


def join(path: str, key: str) -> str:
    """Return the place of *key* as problems name it: `slack.token`."""
    name = quote(key)[1:-1]
    return f"{path}.{name}" if path else name


def describe(item: Item) -> str:
    """Return where an item is and, for a text, what is written there."""
    return f"{item.path} {quote(item.written)}" if isinstance(item, Text) else item.path or "the file"


def walk(item: Item | None) -> Iterator[Item]:
    """Yield the members of a list, or the item itself where one stands alone; nothing for None."""
    if isinstance(item, List):
        yield from item.items
    elif item is not None:
        yield item

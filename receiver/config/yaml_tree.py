"""Parse a YAML file into nodes with lines and paths, expand `${...}`, and collect faults and warnings.

Problems quote values as written in the file, before `${...}` is expanded, and mask whatever looks
like a token, since they end up in terminals, logs and CI output.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

import yaml

from receiver.config.mistakes import list_bare_references
from receiver.errors import ConfigError, Problem
from receiver.text import one_line, truncate_text

_QUOTED_LIMIT = 60
_LISTED_LIMIT = 12
# Slack's tokens by their prefix; others as a long run of mixed letters and digits.
_TOKEN = re.compile(r"\b(?:xox[a-z]|xapp)-\S+|(?=[A-Za-z+/]*\d)(?=[\d+/]*[A-Za-z])[A-Za-z\d+/]{20,}")
_LOGIN = re.compile(r"(?<=://)[^/\s@]+(?=@)")


@dataclass
class Diagnostics:
    """The faults and warnings of one file. A fault rejects the file, a warning doesn't."""

    file: str
    _errors: list[Problem] = field(default_factory=list)
    _warnings: list[Problem] = field(default_factory=list)

    def error(self, line: int, what: str, expected: str = "") -> None:
        self._errors.append(Problem(self.file, line, what, expected))

    def warning(self, line: int, what: str, expected: str = "") -> None:
        self._warnings.append(Problem(self.file, line, what, expected))

    def abort(self, line: int, what: str, expected: str = "") -> NoReturn:
        """Raise at once, with the faults so far: what follows can't be read."""
        self.error(line, what, expected)
        raise ConfigError(_sort_problems(self._errors))

    def raise_errors(self) -> None:
        """Raise ConfigError with every fault, sorted by line, if there is one."""
        if self._errors:
            raise ConfigError(_sort_problems(self._errors))

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return _sort_problems(self._warnings)


def quote_text(text: str) -> str:
    """Return *text* in quotes, short, on one line, with tokens and passwords masked."""
    masked = _LOGIN.sub("***", _TOKEN.sub("***", one_line(text, 10 * _QUOTED_LIMIT)))
    return f"'{truncate_text(masked, _QUOTED_LIMIT)}'"


def suggest_choice(word: str, known: Iterable[str]) -> str:
    """Return the closest match of *word*, or else all choices."""
    choices = list(known)
    near = get_close_matches(one_line(word, _QUOTED_LIMIT), choices, n=1)
    if near:
        return quote_text(near[0])
    if not choices:
        return "none, since none is defined"
    more = ", …" if len(choices) > _LISTED_LIMIT else ""
    return "one of " + ", ".join(one_line(choice, 40) for choice in choices[:_LISTED_LIMIT]) + more


def _sort_problems(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort by line and drop duplicates: an alias is read once for every place that uses it."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: problem.line))


MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_VALUES = 20_000
MAX_TEXT = 10_000
_STANDARD = "tag:yaml.org,2002:"
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class ScalarNode:
    """A single value. *raw* is the text in the file, *value* the same expanded.

    Numbers and booleans keep the text of the file, so that `17:00`, `NO` and `0123` mean what they look
    like. Problems quote *raw* only, since *value* may contain a secret.
    """

    line: int
    path: str
    value: str = field(repr=False)
    raw: str
    is_null: bool = False
    is_from_environment: bool = False  # a default from the environment


@dataclass(frozen=True)
class SequenceNode:
    line: int
    path: str
    items: tuple[Node, ...]


@dataclass(frozen=True)
class MappingNode:
    """Keys with their values, and the line of each key."""

    line: int
    path: str
    items: dict[str, Node]
    lines: dict[str, int]

    def find_node(self, key: str) -> Node | None:
        """Return the value; None if the key is absent or has no value."""
        item = self.items.get(key)
        return None if isinstance(item, ScalarNode) and item.is_null else item


Node = ScalarNode | SequenceNode | MappingNode


def parse_document(text: str, diagnostics: Diagnostics, interpolation: Interpolation) -> Node | None:
    """Parse *text*; None for an empty document. Raises ConfigError for invalid YAML."""
    node = _compose_yaml(text, diagnostics)
    return None if node is None else _Builder(diagnostics, interpolation).build_node(node, "", 0)


class _Loader(yaml.SafeLoader):
    """Stops at MAX_DEPTH, since PyYAML recurses, and at MAX_VALUES, since it is slow."""

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


def _compose_yaml(text: str, diagnostics: Diagnostics) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        diagnostics.abort(line, f"no YAML: {error.problem or error.context or 'it breaks off'}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        diagnostics.abort(line, "no YAML: a control character", "printable text")
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML raises other errors for \U escapes beyond Unicode and for endless numbers.
        diagnostics.abort(1, "no YAML: a number or an escape is out of bounds")


@dataclass
class _Builder:
    diagnostics: Diagnostics
    interpolation: Interpolation
    remaining: int = MAX_VALUES

    def build_node(self, node: yaml.Node, path: str, depth: int) -> Node:
        line = node.start_mark.line + 1
        self.remaining -= 1
        if self.remaining < 0 or depth > MAX_DEPTH:  # an alias may expand to much, even to itself
            what = f"more than {MAX_VALUES} values or {MAX_DEPTH} levels"
            self.diagnostics.abort(line, what, "fewer aliases")
        if isinstance(node, yaml.ScalarNode):
            return self._build_scalar(node, path)
        if node.tag != _STANDARD + ("map" if isinstance(node, yaml.MappingNode) else "seq"):
            self.diagnostics.error(line, f"an unknown tag {quote_text(node.tag)}", "none")
        if isinstance(node, yaml.MappingNode):
            return self._build_mapping(node, path, depth)
        children = (self.build_node(item, f"{path}[{n}]", depth + 1) for n, item in enumerate(node.value))
        return SequenceNode(line, path, tuple(children))

    def _build_mapping(self, node: yaml.MappingNode, path: str, depth: int) -> MappingNode:
        table = MappingNode(node.start_mark.line + 1, path, {}, {})
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _STANDARD + "merge":
                merged.append(value_node)
                continue
            key, line = self._read_key(key_node), key_node.start_mark.line + 1
            item = self.build_node(value_node, join_path(path, key), depth + 1)
            if key in table.items:
                what = f"{quote_text(key)} is there twice (first in line {table.lines[key]})"
                self.diagnostics.error(line, what, "it once")
                continue
            table.items[key], table.lines[key] = item, line
        for value_node in merged:
            self._merge_alias(table, value_node, depth)
        return table

    def _merge_alias(self, table: MappingNode, node: yaml.Node, depth: int) -> None:
        """Add the keys of `<<: *alias` (or a list of them) that the table doesn't define itself."""
        other = self.build_node(node, table.path, depth + 1)
        for source in other.items if isinstance(other, SequenceNode) else (other,):
            if not isinstance(source, MappingNode):
                self.diagnostics.error(source.line, "'<<' takes in something else", "an alias of a table")
                continue
            for key, item in source.items.items():
                table.lines.setdefault(key, source.lines[key])
                table.items.setdefault(key, item)

    def _read_key(self, node: yaml.Node) -> str:
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.ScalarNode):
            self.diagnostics.error(line, "a key is a list or a table", "a text")
            return ""
        self._check_text(node.value, line, "a key")
        return str(node.value)

    def _build_scalar(self, node: yaml.Node, path: str) -> ScalarNode:
        line, raw = node.start_mark.line + 1, str(node.value)
        if not node.tag.startswith(_STANDARD):
            self.diagnostics.error(line, f"{path or 'it'} has an unknown tag {quote_text(node.tag)}", "none")
        value, faults = self.interpolation.expand(raw)
        for fault in faults:
            self.diagnostics.error(line, f"{path}: {fault}")
        for name in list_bare_references(raw):
            what = f"{path or 'the file'} holds ${name}, which is not filled in"
            self.diagnostics.warning(line, what, f"${{{name}}}, if that is meant")
        self._check_text(value, line, path or "the file")
        return ScalarNode(line, path, value.strip(), raw, is_null=node.tag == _STANDARD + "null")

    def _check_text(self, value: str, line: int, name: str) -> None:
        if len(value) > MAX_TEXT:
            self.diagnostics.abort(line, f"{name} is longer than {MAX_TEXT} characters")
        if _SURROGATE.search(value):
            self.diagnostics.abort(line, f"{name} holds half a character", "whole ones")


def join_path(path: str, key: str) -> str:
    """Return the path of *key* as problems name it: `slack.token`."""
    name = quote_text(key)[1:-1]
    return f"{path}.{name}" if path else name


def describe_node(item: Node) -> str:
    """Return the path of a node and, for a text, its text in the file."""
    return f"{item.path} {quote_text(item.raw)}" if isinstance(item, ScalarNode) else item.path or "the file"


def iter_items(item: Node | None) -> Iterator[Node]:
    """Yield the members of a list, or the node itself if it is no list; nothing for None."""
    if isinstance(item, SequenceNode):
        yield from item.items
    elif item is not None:
        yield item


MAX_SECRET_BYTES = 64 * 1024
_REFERENCE = re.compile(r"\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, repr=False)
class Interpolation:
    """Expands references from one environment; a secret's file is read once, relative to *folder*."""

    environ: Mapping[str, str]
    folder: Path
    _files: dict[str, tuple[str, str]] = field(default_factory=dict)

    def expand(self, text: str) -> tuple[str, list[str]]:
        """Return *text* expanded, and a sentence for each reference that can't be expanded.

        An unset variable expands to nothing and is no fault. Values are not expanded again, so a value
        may itself contain `${`.
        """
        faults: list[str] = []

        def value_of(found: re.Match[str]) -> str:
            value, fault = self._resolve_reference(found)
            if fault:
                faults.append(fault)
            return value

        return _REFERENCE.sub(value_of, text), faults

    def _resolve_reference(self, found: re.Match[str]) -> tuple[str, str]:
        reference, is_closed = found[1], found[2]
        if is_closed and reference.startswith("file:"):
            path = reference.removeprefix("file:")
            if path not in self._files:
                self._files[path] = _read_secret(self.folder, path)
            return self._files[path]
        if is_closed and _NAME.fullmatch(reference):
            return self.environ.get(reference, ""), ""
        return "", f"{quote_text(found[0])} is neither ${{NAME}} nor ${{file:/path}}"


def _read_secret(folder: Path, name: str) -> tuple[str, str]:
    """Return the file's text without its last line end, or a sentence why it can't be read."""
    try:
        path = folder / name
        # Reading anything but a regular file (a pipe, a terminal) could block for ever.
        if not path.is_file():
            return "", f"the file {quote_text(name)} is not there"
        with path.open("rb") as file:
            raw = file.read(MAX_SECRET_BYTES + 1)
        if len(raw) > MAX_SECRET_BYTES:
            return "", f"the file {quote_text(name)} is larger than {MAX_SECRET_BYTES // 1024} KiB"
        return raw.decode().rstrip("\r\n"), ""
    except OSError as error:
        return "", f"the file {quote_text(name)} can't be read: {error.strerror or type(error).__name__}"
    except ValueError:  # a NUL in its name, or bytes that are no UTF-8
        return "", f"the file {quote_text(name)} is no text"

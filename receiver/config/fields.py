"""Declared fields: each key of routing.yaml and each environment variable is one field.

A field has a kind, a default and a text: the string that follows it, in Markdown. The kind reads a value, and
describes itself for the JSON Schema. `receiver.config.reference` renders the reference pages and the schema.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from receiver.config import yaml_tree
from receiver.config.mistakes import Mistake, find_quotes, is_bare_reference
from receiver.config.yaml_tree import MappingNode, Node, ScalarNode, SequenceNode
from receiver.model.alert import BUILT_IN_WORDS, SeverityWords

T = TypeVar("T")
S = TypeVar("S", bound="ConfigSection")
Schema = dict[str, Any]
_NAMES = {ScalarNode: "a text", SequenceNode: "a list", MappingNode: "a table"}


class Fault(Exception):
    """What is wrong with a value, and what was expected. The reader of the value adds its place."""

    def __init__(self, what: str, expected: str = "") -> None:
        super().__init__(what)
        self.what, self.expected = what, expected


class Unreadable(Exception):
    """A value has a fault that is already among the diagnostics."""


@dataclass
class Reader:
    """Reads one file: where its faults go, and what its values may refer to."""

    diagnostics: yaml_tree.Diagnostics
    root: Node
    environ: Mapping[str, str]
    folder: Path  # relative paths in the file are resolved against it
    severities: SeverityWords = BUILT_IN_WORDS  # with the file's own words, once these are read

    def fail_at(self, line: int, what: str, expected: str) -> NoReturn:
        """Report a fault. Raises Unreadable."""
        self.diagnostics.error(line, what, expected)
        raise Unreadable

    def fail_kind(self, node: Node, expected: str) -> NoReturn:
        self.fail_at(node.line, f"{node.path or 'the file'} is {_NAMES[type(node)]}", expected)

    def list_names(self, section: str) -> tuple[str, ...]:
        """Return the names that *section*, a table of the top level, defines."""
        node = self.root.find_node(section) if isinstance(self.root, MappingNode) else None
        return tuple(node.items) if isinstance(node, MappingNode) else ()


class Kind(ABC, Generic[T]):
    """How a value is written."""

    is_empty_absent = False  # whether an empty text counts as an absent value
    EMPTY: ClassVar[Any] = None  # what an absent value without a default is

    @abstractmethod
    def read_node(self, node: Node, reader: Reader) -> T:
        """Return the value; raises Unreadable after its faults were added to the diagnostics."""

    def is_blank(self, node: Node) -> bool:
        """Return whether *node* counts as absent."""
        return self.is_empty_absent and isinstance(node, ScalarNode) and not node.value

    @abstractmethod
    def build_schema(self) -> Schema:
        """Return the JSON Schema."""


@dataclass(frozen=True)
class Format(Kind[T]):
    """How a value is written as one text, in the environment and in routing.yaml alike."""

    parse: Callable[[str], T]  # raises Fault, or another error for *mistake*
    pattern: str = ""  # of the whole text; any other text is *mistake*
    schema_pattern: str = ""  # for the JSON Schema, if it isn't *pattern*; a text with `${` always fits
    mistake: Mistake = ("is wrong", "")
    find_mistake: Callable[[str], Mistake | None] = lambda text: None  # noqa: ARG005
    types: tuple[str, ...] = ("string",)  # of the JSON Schema: how it may be written without quotes
    bounds: tuple[int, int] | None = None  # of a value without quotes
    form: str = "a text"  # what is expected in place of a list or table
    is_secret: bool = False  # may be or contain one: never quoted, and checked for quotes and `$NAME`
    is_empty_absent: bool = True
    is_odd: Callable[[T], object] = lambda value: False  # noqa: ARG005 - with *oddity* as a warning
    oddity: Mistake = ("", "")
    write: Callable[[T], str] = str  # how the reference page writes a default

    def read_node(self, node: Node, reader: Reader) -> T:
        if not isinstance(node, ScalarNode):
            reader.fail_kind(node, self.form)
        shown = node.path if self.is_secret else yaml_tree.describe_node(node)
        try:
            if self.is_secret:
                _check_literal(node)
            value = self.parse_node(node, reader)
        except Fault as fault:
            reader.fail_at(node.line, f"{shown} {fault.what}", fault.expected)
        if self.is_odd(value):
            what, expected = self.oddity
            reader.diagnostics.warning(node.line, f"{shown}{what}", expected)
        return value

    def parse_node(self, node: ScalarNode, reader: Reader) -> T:  # noqa: ARG002 - for those that override it
        """Parse the expanded text; a format that needs more of the file than the text overrides this."""
        return self.parse_text(node.value)

    def parse_text(self, text: str) -> T:
        """Return the value of *text*. Raises Fault."""
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise Fault(*self.mistake)
        try:
            value = self.parse(text)
        except (ValueError, LookupError, OSError, OverflowError):
            raise Fault(*self.mistake) from None
        if mistake := self.find_mistake(text):
            raise Fault(*mistake)
        return value

    def build_schema(self) -> Schema:
        schema: Schema = {"type": self.types[0] if len(self.types) == 1 else list(self.types)}
        if pattern := self.schema_pattern or self.pattern:
            schema["pattern"] = rf"^(?:{pattern})$|\$\{{" + ("|^$" if self.is_empty_absent else "")
        if self.bounds:
            schema["minimum"], schema["maximum"] = self.bounds
        return schema


def _check_literal(node: ScalarNode) -> None:
    """Refuse a secret or URL in quotes, or an unexpanded reference in its place.

    A default from the environment is reported with its variable instead.
    """
    if node.is_from_environment:
        return
    if mistake := find_quotes(node.value):
        raise Fault(*mistake)
    if is_bare_reference(node.value):
        is_written = node.value == node.raw.strip()
        shown = f"{yaml_tree.quote_text(node.raw)} " if is_written else ""
        expected = f"${{{node.value.strip('$()%')}}}" if is_written else "the value itself"
        raise Fault(f"{shown}is not filled in, it is taken as it stands", expected)


@dataclass(frozen=True)
class NameReference(Format[str]):
    """A name that another section defines."""

    section: str = ""
    noun: str = ""

    def parse_node(self, node: ScalarNode, reader: Reader) -> str:
        names = reader.list_names(self.section)
        if node.value not in names:
            raise Fault(f"is no {self.noun}", yaml_tree.suggest_choice(node.raw, names))
        return node.value


@dataclass(frozen=True)
class ListOf(Kind[tuple[T, ...]]):
    """Values of one kind; unless *is_strict*, a single one may stand without its list."""

    EMPTY = ()

    item: Kind[T]
    is_strict: bool = False
    limit: int = 0  # 0: none

    def read_node(self, node: Node, reader: Reader) -> tuple[T, ...]:
        if self.is_strict and not isinstance(node, SequenceNode):
            reader.fail_kind(node, "a list")
        members = [member for member in yaml_tree.iter_items(node) if not self.item.is_blank(member)]
        if self.limit and len(members) > self.limit:
            line = members[self.limit].line
            reader.diagnostics.abort(line, f"more than {self.limit} {node.path}", "fewer")
        found = []
        for member in members:
            with suppress(Unreadable):
                found.append(self.item.read_node(member, reader))
        return tuple(found)

    def is_blank(self, node: Node) -> bool:
        return not self.is_strict and self.item.is_blank(node)

    def build_schema(self) -> Schema:
        item = self.item.build_schema()
        several = {"type": "array", "items": item}
        return several if self.is_strict else {"anyOf": [item, several]}


@dataclass(frozen=True)
class MapOf(Kind[Mapping[str, T]]):
    """Values of one kind under names that the user chooses."""

    EMPTY: ClassVar[Mapping[str, Any]] = {}

    item: Kind[T]
    check_name: Callable[[str], object] = str  # raises Fault
    pattern: str = ""  # of the names

    def read_node(self, node: Node, reader: Reader) -> dict[str, T]:
        if not isinstance(node, MappingNode):
            reader.fail_kind(node, "a table")
        found = {}
        for name, line in node.lines.items():
            try:
                self.check_name(name)
                child = node.find_node(name)
                if child is None and isinstance(self.item, Table):
                    absent = MappingNode(line, yaml_tree.join_path(node.path, name), {}, {})
                    found[name] = self.item.read_node(absent, reader)
                elif child is not None and not self.item.is_blank(child):
                    found[name] = self.item.read_node(child, reader)
            except Fault as fault:
                reader.diagnostics.error(line, f"{yaml_tree.quote_text(name)} {fault.what}", fault.expected)
            except Unreadable:
                continue
        return found

    def build_schema(self) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self.item.build_schema()}
        return {**schema, "propertyNames": {"pattern": f"^(?:{self.pattern})$"}} if self.pattern else schema


@dataclass(frozen=True, kw_only=True)
class ConfigSection:
    """A table with known keys: each field made by `key` is one of them."""

    EXCLUSIVE: ClassVar[tuple[str, ...]] = ()  # two keys, of which at most one may be set

    node: MappingNode = field(default=MappingNode(1, "", {}, {}), repr=False, compare=False)

    def report_faults(self, reader: Reader) -> None:
        """Report what is wrong or odd between the keys."""

    def has_value(self, name: str) -> bool:
        """Return whether the file has a value for *name*, valid or not."""
        child = self.node.find_node(name)
        return child is not None and not (isinstance(child, ScalarNode) and not child.value)

    def find_line(self, name: str) -> int:
        """Return the line of the value of *name*, else of the table."""
        child = self.node.find_node(name)
        return child.line if child else self.node.line


@dataclass(frozen=True)
class Table(Kind[S]):
    """A section; a list in its place stands for its key *list_as*."""

    section: type[S]
    form: str = "a table"
    list_as: str = ""

    @cached_property
    def keys(self) -> dict[str, Key]:
        return list_keys(self.section)

    def read_node(self, node: Node, reader: Reader) -> S:
        if isinstance(node, SequenceNode) and self.list_as:
            node = MappingNode(node.line, node.path, {self.list_as: node}, {self.list_as: node.line})
        if not isinstance(node, MappingNode):
            reader.fail_kind(node, self.form)
        self._check_keys(node, reader)
        values: dict[str, Any] = {}
        for attribute, each in self.keys.items():
            with suppress(Unreadable):
                values[attribute] = each.read_node(node, reader)
            if each.default is not MISSING:
                values.setdefault(attribute, each.default)
        if len(values) < len(self.keys):
            raise Unreadable
        section = self.section(node=node, **values)
        section.report_faults(reader)
        return section

    def _check_keys(self, node: MappingNode, reader: Reader) -> None:
        known = [each.name for each in self.keys.values()]
        for name in node.items:
            if name not in known:
                what = f"unknown key {yaml_tree.quote_text(name)}{f' in {node.path}' if node.path else ''}"
                reader.diagnostics.error(node.lines[name], what, yaml_tree.suggest_choice(name, known))
        both = self.section.EXCLUSIVE
        if both and all(name in node.items for name in both):
            what = f"{node.path} has {' and '.join(both)}" if node.path else " and ".join(both)
            reader.diagnostics.error(min(node.lines[name] for name in both), what, "one of the two")

    def build_schema(self) -> Schema:
        texts = list_texts(self.section)
        properties = {each.name: each.build_schema(texts[attribute]) for attribute, each in self.keys.items()}
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        if required := [each.name for each in self.keys.values() if each.required]:
            schema["required"] = required
        if self.section.EXCLUSIVE:
            schema["not"] = {"required": list(self.section.EXCLUSIVE)}
        return {"anyOf": [schema, properties[self.list_as]]} if self.list_as else schema


@dataclass(frozen=True)
class Key:
    """One key of a section, or one environment variable."""

    name: str
    kind: Kind[Any]
    default: Any
    required: str  # for a mandatory key, the expected value in the error message; empty: the key is optional
    variable: str  # the environment variable whose value is the default
    shown: str  # the text for the default on the reference page, if *default* does not describe it

    def read_node(self, table: MappingNode, reader: Reader) -> Any:
        node, path = table.find_node(self.name), yaml_tree.join_path(table.path, self.name)
        line = table.lines.get(self.name, table.line)
        if node is None and self.variable:
            value = reader.environ.get(self.variable, "").strip()
            node = ScalarNode(table.line, path, value, raw="", is_from_environment=True)
        is_empty_list = isinstance(node, SequenceNode) and not node.items
        if self.required and (node is None or is_empty_list or self.kind.is_blank(node)):
            what = f"{table.path} has no {self.name}" if table.path else f"no {self.name}"
            reader.fail_at(line, what, self.required)
        if node is not None and not self.kind.is_blank(node):
            return self.kind.read_node(node, reader)
        if self.default is MISSING and isinstance(self.kind, Table):
            return self.kind.read_node(MappingNode(line, path, {}, {}), reader)
        return self.kind.EMPTY if self.default is MISSING else self.default

    def build_schema(self, text: str) -> Schema:
        schema = self.kind.build_schema()
        if self.required:
            for each in schema.get("anyOf", [schema]):
                each.update({"minItems": 1} if each["type"] == "array" else {})
        else:
            schema = {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}
        plain = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text)  # the links are those of the reference page
        return {"description": plain, **schema} if text else schema


def key(
    kind: Kind[T],
    default: Any = MISSING,
    *,
    name: str = "",
    required: str = "",
    variable: str = "",
    shown: str = "",
) -> T:
    """Declare a key; its name is that of the attribute unless *name* is given.

    Without *default*, an absent list or table is an empty one. Its text is the string below it.
    """
    is_shown = not (isinstance(kind, Format) and kind.is_secret)  # a URL may contain a login
    metadata = {"key": Key(name, kind, default, required, variable, shown)}
    declared: T = field(default=default, repr=is_shown, metadata=metadata)
    return declared


def list_keys(declaring: Any) -> dict[str, Key]:
    """Return the keys of a dataclass by attribute, in the order of their declaration."""
    found = {each.name: each.metadata.get("key") for each in fields(declaring)}
    return {name: replace(each, name=each.name or name) for name, each in found.items() if each}


def list_texts(declaring: type) -> dict[str, str]:
    """Return the Markdown text of each declared field: the string that follows it in the source."""
    texts: dict[str, str] = {}
    for cls in reversed(declaring.__mro__[:-1]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        for before, after in pairwise(getattr(definition, "body", ())):
            if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
                is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                texts[before.target.id] = " ".join(str(after.value.value).split()) if is_text else ""
    return texts

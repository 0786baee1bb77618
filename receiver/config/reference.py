"""Render the reference from the declared fields: the tables of docs/reference/, and the JSON Schema.

`python -m receiver.config.reference` writes both; a test fails while they are stale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from receiver.config.fields import Format, Key, Kind, ListOf, MapOf, Schema, Table, list_keys, list_texts
from receiver.config.routing_fields import RoutingFile
from receiver.config.settings import Settings

# The names of the fields, and the table that follows; the whole page around these is written by hand.
_BLOCK = re.compile(r"(<!-- fields: ([^\n]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = "| {} | default | meaning |\n| --- | --- | --- |\n"
TOP_LEVEL = "top level"
PAGES = ("docs/reference/settings.md", "docs/reference/routing.md")
SCHEMA = "docs/routing.schema.json"


def build_schema() -> Schema:
    """Return the JSON Schema of routing.yaml. It accepts whatever holds a `${…}`."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "routing.yaml of the receiver", **Table(RoutingFile).build_schema()}


def render_page(page: str) -> str:
    """Return *page* with the tables of the fields that its comments name."""
    return _BLOCK.sub(lambda block: f"{block[1]}{_render_table(block[2])}{block[3]}", page)


def list_fields(page: str) -> list[str]:
    """Return what the comments of *page* name: variables, and sections of routing.yaml."""
    return [name for block in _BLOCK.finditer(page) for name in block[2].split(", ")]


def _render_table(names: str) -> str:
    settings = {each.name: (attribute, each) for attribute, each in list_keys(Settings).items()}
    listed = names.split(", ")
    if not settings.keys() & set(listed):
        return _HEAD.format("key") + "".join(_render_section(_find_table(names), ""))
    texts = list_texts(Settings)
    rows = [(settings[name][1], texts[settings[name][0]]) for name in listed]
    return _HEAD.format("variable") + "".join(_render_row(each, text, absent="unset") for each, text in rows)


def _find_table(section: str) -> Table[Any]:
    root = Table(RoutingFile)
    items = {each.name: _find_item(each.kind)[0] for each in root.keys.values()}
    found = root if section == TOP_LEVEL else items[section]
    if not isinstance(found, Table):
        raise TypeError(f"{section} has no keys")
    return found


def _find_item(kind: Kind[Any]) -> tuple[Kind[Any], str]:
    """Return the kind of the members of a list or table, and how their place is written."""
    if isinstance(kind, ListOf):
        return kind.item, "[]"
    return (kind.item, ".NAME") if isinstance(kind, MapOf) else (kind, "")


def _render_section(table: Table[Any], prefix: str) -> Iterator[str]:
    """Yield a row for each key; a section without a text of its own is represented by its keys."""
    texts = list_texts(table.section)
    for attribute, each in table.keys.items():
        item, place = _find_item(each.kind)
        if isinstance(item, Table) and not texts[attribute]:
            yield from _render_section(item, f"{prefix}{each.name}{place}.")
        else:
            yield _render_row(each, texts[attribute], prefix)


def _render_row(each: Key, text: str, prefix: str = "", absent: str = "none") -> str:
    if each.required:
        default = "required"
    elif each.shown or each.variable:
        default = each.shown or f"`${{{each.variable}}}`"
    elif each.default is MISSING or (not each.default and each.default != 0):
        default = absent
    else:
        default = f"`{each.kind.write(each.default) if isinstance(each.kind, Format) else each.default}`"
    return f"| `{prefix}{each.name}` | {default} | {text} |\n"


def main(root: Path) -> None:
    """Write the pages and the schema below *root*."""
    for name in PAGES:
        path = root / name
        path.write_text(render_page(path.read_text(encoding="utf-8")), encoding="utf-8")
    schema = json.dumps(build_schema(), indent=2, ensure_ascii=False)
    (root / SCHEMA).write_text(schema + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path.cwd())

"""Every setting is documented in docs/settings.md with its name and default."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from receiver.config.fields import ListOf, MapOf, Table
from receiver.config.sections import RoutingFile, SeveritySection
from receiver.config.settings import Settings

DOCS = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_every_variable_is_documented(field) -> None:
    name = field.metadata["setting"].name
    default = f"`{field.default}`" if isinstance(field.default, str | int) and field.default else "unset"
    assert f"| `{name}` | {default} |" in DOCS


def list_keys(table: Table) -> Iterator[str]:
    for key in table.keys.values():
        yield key.name
        kind = key.kind
        while isinstance(kind, ListOf | MapOf):
            kind = kind.item
        if isinstance(kind, Table) and kind.section is not SeveritySection:
            yield from list_keys(kind)


@pytest.mark.parametrize("key", sorted(set(list_keys(Table(RoutingFile)))))
def test_every_key_is_documented(key: str) -> None:
    assert any(f"{before}{key}{after}" in DOCS for before in ("| `", ".") for after in ("`", ".", "[]"))

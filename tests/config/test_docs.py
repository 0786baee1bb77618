"""Every setting is in docs/settings.md, under the name and with the default that it has."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from receiver.config import escalations, routing, services
from receiver.config.routing import KEYS
from receiver.config.settings import Settings

DOCS = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_every_variable_is_explained(field) -> None:
    name = field.metadata["setting"].name
    default = f"`{field.default}`" if isinstance(field.default, str | int) and field.default else "unset"
    assert f"| `{name}` | {default} |" in DOCS


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_the_top_level_is_explained(key: str) -> None:
    assert f"\n| `{key}` |" in DOCS or f"\n| `{key}." in DOCS


@pytest.mark.parametrize(
    "key",
    [
        *routing.KEYS,
        *escalations.KEYS,
        *services.ALERTMANAGER_KEYS,
        *services.LIMIT_KEYS,
        *escalations.STEP_KEYS,
        *escalations.POLICY_KEYS,
        *escalations.HEARTBEAT_KEYS,
        *escalations.RESPONDER_KEYS,
        *escalations.PAGERDUTY_KEYS,
    ],
)
def test_every_key_of_a_section_is_explained(key: str) -> None:
    assert any(f"{before}{key}{after}" in DOCS for before in ("| `", ".") for after in ("`", ".", "[]"))

"""Routing files for tests: the smallest valid one, and functions to load a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from receiver.config.model import Routing
from receiver.config.routing_loader import load_routing
from receiver.errors import ConfigError

SMALLEST = """\
version: 1
routes:
  - {channel: "#alerts"}
"""

PEOPLE = """\
responders:
  on-call: {pagerduty: {routing_key: "${ONCALL_KEY}", schedule: PSCHED1}}
  team-lead: {slack: "@team-lead"}
escalations:
  critical: [{notify: on-call}, {notify: team-lead, after: 5m}]
"""


def load(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Routing:
    """Write *text* as routing.yaml into *folder* and load it."""
    path = folder / "routing.yaml"
    path.write_text(text, encoding="utf-8")
    return load_routing(path, environ or {})


def faults(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the faults of *text* as `line: what, expected what`."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    return [str(problem).removeprefix(f"{folder}/routing.yaml:") for problem in caught.value.problems]


def warnings(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the warnings of *text* as `line: what`."""
    routing = load(folder, text, environ)
    return [str(problem).removeprefix(f"{folder}/routing.yaml:") for problem in routing.warnings]

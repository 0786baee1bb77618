"""The reference pages and the JSON Schema follow from the declared fields."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from receiver.config.fields import ListOf, MapOf, Table, list_keys
from receiver.config.reference import PAGES, SCHEMA, build_schema, list_fields, render_page
from receiver.config.routing_fields import RoutingFile
from receiver.config.settings import Settings
from tests.cli.invoke import receiver
from tests.config.files import PEOPLE, SMALLEST, load
from tests.config.test_routing_loader_faults import FAULTS
from tests.config.test_routing_loader_hostile import WHOLE
from tests.rig import ROUTING

ROOT = Path(__file__).parents[2]
PAGE_TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
STALE = "stale: run `python -m receiver.config.reference`"
# A YAML file in the documentation; a snippet of one is completed by the smallest file.
EXAMPLES = re.findall(r"(?ms)^```yaml\n(\w+:.*?)^```", PAGE_TEXTS["docs/reference/routing.md"])
EVERYTHING = (
    """\
version: 1
severities: {critical: [outage], warning: ticket-2}
routes:
  - match: ['severity="critical"', 'team=~"a|b"']
    channel: C0123
    escalation: critical
    fallback: "#spare"
    links: {Wiki: "https://wiki"}
  - {match: severity=warning, channel: "#a", fallback: team-lead}
  - {match: [], channel: "#${TEAM}", review: next-business-day}
runbooks: books/
slack: {token: "${SLACK_BOT_TOKEN}", responders: ["@ops", "#ops members", U0123]}
alertmanager: {urls: ["http://a", "${B}"], look_every: 1m30s, looks: "2", trust_after: 0}
prometheus:
links: {Grafana: "${GRAFANA}"}
business_hours: {days: [mon, "tue-fri"], from: 8:30, to: "24:00", holidays: de-by}
flap_window: 10m
flap_count: 3
heartbeat_url: "https://beat/${ID}"
"""
    + PEOPLE
)


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_up_to_date(name: str) -> None:
    assert render_page(PAGE_TEXTS[name]) == PAGE_TEXTS[name], STALE


def test_the_schema_is_up_to_date_and_printed() -> None:
    assert json.loads((ROOT / SCHEMA).read_text(encoding="utf-8")) == build_schema(), STALE
    assert json.loads(receiver("schema").output) == build_schema()


def test_every_setting_is_on_the_page_once() -> None:
    names = [each.name for each in list_keys(Settings).values()]
    assert sorted(list_fields(PAGE_TEXTS["docs/reference/settings.md"])) == sorted(names)


def test_every_section_is_on_the_page() -> None:
    page = PAGE_TEXTS["docs/reference/routing.md"]
    elsewhere = ["severities", "alertmanagers"]  # a mapping of words; the same keys as alertmanager
    for key in Table(RoutingFile).keys.values():
        item = key.kind.item if isinstance(key.kind, ListOf | MapOf) else key.kind
        if isinstance(item, Table) and key.name not in [*list_fields(page), *elsewhere]:
            for below in item.keys.values():
                assert f"| `{key.name}.{below.name}` |" in page


VALIDATOR = jsonschema_rs.validator_for(build_schema())


@pytest.mark.parametrize(
    "text", [(ROOT / "routing.yaml").read_text(encoding="utf-8"), WHOLE, ROUTING, EVERYTHING]
)
def test_the_schema_accepts_what_the_receiver_accepts(tmp_path: Path, text: str) -> None:
    load(tmp_path, text, {"TEAM": "a"})
    VALIDATOR.validate(yaml.safe_load(text))


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_schema_accepts_the_examples_of_the_page(text: str) -> None:
    VALIDATOR.validate(yaml.safe_load(SMALLEST) | yaml.safe_load(text))


# Faults of the form; the schema knows no references between sections, time zones or countries.
FORMS = (
    "empty file",
    "list at the top",
    "no version",
    "version 2",
    "no routes",
    "routes empty",
    "routes a table",
    "unknown key",
    "unknown key below",
    "a responder that is no name of Slack",
    "responders a text",
    "route without channel",
    "channel without #",
    "unknown review",
    "bad matcher",
    "matcher as a table",
    "handle without @",
    "responder's name with #",
    "step for nobody",
    "escalation without steps",
    "escalation a text",
    "bad duration",
    "duration without unit",
    "bad count",
    "bad rate",
    "address without scheme",
    "link that is a script",
    "url and urls",
    "alertmanager and alertmanagers",
    "bad time of day",
    "heartbeat of anything",
    "heartbeat without interval",
)


@pytest.mark.parametrize("name", FORMS)
def test_the_schema_refuses_faults_of_the_form(name: str) -> None:
    (text,) = [str(each.values[0]) for each in FAULTS if each.id == name]
    assert not VALIDATOR.is_valid(yaml.safe_load(text))


def test_the_schema_accepts_a_reference_in_place_of_any_text() -> None:
    text = (
        PEOPLE
        + "version: 1\nroutes: [{channel: '${A}', match: '${B}'}]\nflap_window: '${C}'\nflap_count: '${D}'\n"
    )
    VALIDATOR.validate(yaml.safe_load(text))

"""The keys of routing.yaml as fields of the routing model."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from receiver.business_hours import BusinessHours
from receiver.config.model import AlertmanagerConfig, Routing
from receiver.config.routing_fields import LimitSettings
from receiver.config.routing_loader import load_routing
from receiver.model.routing import (
    NO_POLICY,
    EscalationPolicy,
    RateLimit,
    Responder,
    Route,
    Step,
    Target,
    parse_matcher,
)
from receiver.text import Secret
from tests.config.files import PEOPLE, SMALLEST, load

SHIPPED = Path(__file__).parents[2] / "routing.yaml"

ON_CALL = Responder("on-call", (Target("pagerduty", "on-call", Secret("k" * 32)),), "PSCHED1")
TEAM_LEAD = Responder("team-lead", (Target("slack", "@team-lead"),))


def _people(folder: Path, more: str = "") -> Routing:
    return load(folder, SMALLEST + PEOPLE + more, {"ONCALL_KEY": "k" * 32})


def test_everything_optional_may_be_omitted(tmp_path: Path) -> None:
    routing = load(tmp_path, SMALLEST)
    assert routing == Routing(routes=(Route("#alerts", "#alerts"),), warnings=routing.warnings)


def test_keys_without_a_value_count_as_omitted(tmp_path: Path) -> None:
    keys = "runbooks slack pagerduty alertmanager prometheus links notices business_hours responders "
    keys += "escalations flap_window flap_count history heartbeats heartbeat_url limits severities"
    routing = load(tmp_path, SMALLEST + "".join(f"{key}:\n" for key in keys.split()))
    assert replace(routing, warnings=()) == replace(load(tmp_path, SMALLEST), warnings=())


def test_responders_and_steps_have_their_names(tmp_path: Path) -> None:
    routing = _people(tmp_path)
    assert routing.responders == {"on-call": ON_CALL, "team-lead": TEAM_LEAD}
    steps = (Step("on-call", ON_CALL), Step("team-lead", TEAM_LEAD, 300.0))
    assert routing.policies == {"critical": EscalationPolicy("critical", steps)}


def test_a_responders_second_step_is_numbered(tmp_path: Path) -> None:
    steps = "  again: [{notify: on-call}, {notify: team-lead, after: 1m}, {notify: on-call, after: 1m}]\n"
    policy = _people(tmp_path, steps).get_policy("again")
    assert [step.name for step in policy.steps] == ["on-call", "team-lead", "on-call#2"]


def test_an_escalation_may_time_acknowledgements_out(tmp_path: Path) -> None:
    policy = _people(tmp_path, "  other: {steps: [{notify: on-call}], ack_timeout: 1h30m}\n").policies[
        "other"
    ]
    assert policy == EscalationPolicy("other", (Step("on-call", ON_CALL),), 5400.0)


def test_an_unknown_policy_has_no_steps(tmp_path: Path) -> None:
    routing = load(tmp_path, SMALLEST)
    assert routing.get_policy("") is NO_POLICY
    assert routing.get_policy("gone") is NO_POLICY


def test_a_pagerduty_target_without_a_key_is_still_a_target(tmp_path: Path) -> None:
    routing = load(tmp_path, SMALLEST + PEOPLE)
    assert routing.responders["on-call"].targets == (Target("pagerduty", "on-call", Secret("")),)


def test_the_first_matching_route_is_used(tmp_path: Path) -> None:
    text = """\
version: 1
routes:
  - {match: 'severity=~"crit.*"', channel: "#critical", fallback: C0123, review: next-business-day}
  - {match: [severity="critical", team!="db"], channel: "#other"}
  - {match: [], channel: "#rest", links: {Wiki: "https://wiki/?a=b#c"}}
"""
    routing = load(tmp_path, text)
    first, _, rest = routing.routes
    assert first.matchers == (parse_matcher('severity=~"crit.*"'),)
    assert (first.fallback, first.review) == ("C0123", "next-business-day")
    assert rest.links == (("Wiki", "https://wiki/?a=b#c"),)
    assert routing.find_route({"severity": "critical"}) is first
    assert routing.find_route({}) is rest


def test_an_alert_that_matches_no_route_uses_the_last(tmp_path: Path) -> None:
    text = "version: 1\nroutes: [{match: a=1, channel: '#a'}, {match: a=2, channel: '#b'}]\n"
    assert load(tmp_path, text).find_route({"a": "3"}).channel == "#b"


def test_routes_with_the_same_channel_have_different_names(tmp_path: Path) -> None:
    routes = ["{match: [a=1], channel: '#a'}", "{match: [a=2, b=3], channel: '#a'}"]
    routes += ["{channel: '#a'}", "{match: [a=2, b=3], channel: '#a'}", "{channel: '#a'}"]
    routing = load(tmp_path, "version: 1\nroutes:\n" + "".join(f"  - {route}\n" for route in routes))
    names = [route.name for route in routing.routes]
    assert names[:2] == ["#a", '#a a="2",b="3"']
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("channel", ["#alerts", "#a_b-c.1", "#störung", "C024BE91L", "G012345", "D0123"])
def test_a_channel_is_a_name_or_an_id(tmp_path: Path, channel: str) -> None:
    routing = load(tmp_path, f"version: 1\nroutes: [{{channel: '{channel}'}}]\n")
    assert routing.routes[0].channel == channel


def test_paths_of_runbooks_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    text = "runbooks: [books/, /srv/runbooks/disk.md, 'https://Wiki.example.org/ops/', '${UNSET}']\n"
    routing = load(tmp_path, SMALLEST + text)
    assert routing.runbooks == (tmp_path / "books", Path("/srv/runbooks/disk.md"))
    assert routing.runbook_hosts == ("wiki.example.org",)


def test_paths_are_valid_after_the_process_changed_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "routing.yaml").write_text(SMALLEST + "runbooks: books/\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    routing = load_routing(Path("routing.yaml"), {})
    assert routing.runbooks == (tmp_path / "books",)


def test_an_alertmanager_has_one_url_or_several(tmp_path: Path) -> None:
    one = load(
        tmp_path,
        SMALLEST + "alertmanager: {url: 'http://a:9093/', look_every: 10s, looks: 2, trust_after: 0}\n",
    )
    assert one.alertmanagers == {"": AlertmanagerConfig(("http://a:9093",), 10.0, 2, 0.0)}
    none = load(tmp_path, SMALLEST + "alertmanager: {urls: '${UNSET}'}\n", {"ALERTMANAGER_URL": "http://a"})
    assert none.alertmanagers == {}
    pair = load(tmp_path, SMALLEST + "alertmanager: {urls: ['http://a', 'http://b', '${UNSET}']}\n")
    assert pair.alertmanagers == {"": AlertmanagerConfig(("http://a", "http://b"))}


def test_several_clusters_are_keyed_by_source(tmp_path: Path) -> None:
    text = "alertmanagers:\n  eu: {url: 'http://eu'}\n  us: {urls: ['http://us']}\n  off: {url: '${UNSET}'}\n"
    routing = load(tmp_path, SMALLEST + text, {"ALERTMANAGER_URL": "http://elsewhere"})
    assert routing.alertmanagers == {
        "eu": AlertmanagerConfig(("http://eu",)),
        "us": AlertmanagerConfig(("http://us",)),
    }


def test_an_empty_url_means_no_alertmanager(tmp_path: Path) -> None:
    text = (
        "alertmanager: {url: '${A}'}\nprometheus: {url: '${B}'}\nheartbeat_url: '${C}'\nlinks: {X: '${D}'}\n"
    )
    routing = load(tmp_path, SMALLEST + text)
    assert (routing.alertmanagers, routing.prometheus_url, routing.heartbeat_url) == ({}, "", "")
    assert routing.links == ()


def test_omitted_keys_come_from_the_environment(tmp_path: Path) -> None:
    environ = {
        "SLACK_BOT_TOKEN": "xoxb-1",
        "PAGERDUTY_API_TOKEN": "pd",
        "ALERTMANAGER_URL": "http://am:9093/",
        "PROMETHEUS_URL": "http://prometheus",
    }
    routing = load(tmp_path, SMALLEST + "alertmanager: {looks: 5}\n", environ)
    assert routing.slack_token == Secret("xoxb-1")
    assert routing.pagerduty_api_token == Secret("pd")
    assert routing.alertmanagers == {"": AlertmanagerConfig(("http://am:9093",), missing_polls=5)}
    assert routing.prometheus_url == "http://prometheus"


def test_the_file_has_priority_over_the_environment(tmp_path: Path) -> None:
    routing = load(tmp_path, SMALLEST + "slack: {token: ''}\n", {"SLACK_BOT_TOKEN": "xoxb-1"})
    assert not routing.slack_token


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("mon,wed", {0, 2}),
        ("Fri-Mon, wed", {4, 5, 6, 0, 2}),
        ("[mon, saturday-sunday]", {0, 5, 6}),
        ("sun", {6}),
    ],
)
def test_days_are_ranges_and_lists(tmp_path: Path, text: str, days: set[int]) -> None:
    value = text if text.startswith("[") else f"'{text}'"
    hours = load(tmp_path, SMALLEST + f"business_hours: {{days: {value}}}\n").business_hours
    assert hours is not None
    assert hours.days == days


def test_business_hours_are_minutes_of_the_day(tmp_path: Path) -> None:
    text = "business_hours: {timezone: Europe/Berlin, from: 8:30, to: 24:00, holidays: NO}\n"
    hours = load(tmp_path, SMALLEST + text).business_hours
    assert hours == BusinessHours("Europe/Berlin", frozenset(range(5)), 510, 1440, "NO")


def test_windows_counts_and_limits_are_parsed(tmp_path: Path) -> None:
    text = "flap_window: 5m\nflap_count: 6\nhistory: 1w\nheartbeat_url: 'https://beat/abc?x=1'\n"
    text += "limits: {slack_posts: 2/s, pagerduty: 1000/h}\nnotices: {channel: '#ops'}\n"
    routing = load(tmp_path, SMALLEST + text)
    assert (routing.flap_window, routing.flap_count, routing.history) == (300.0, 6, 604800.0)
    assert routing.limits == LimitSettings(slack_posts=RateLimit(2, 1.0), pagerduty=RateLimit(1000, 3600.0))
    assert (routing.heartbeat_url, routing.notices_channel) == ("https://beat/abc?x=1", "#ops")


def test_a_heartbeat_names_its_responder(tmp_path: Path) -> None:
    text = "heartbeats: [{match: ['alertname=\"Watchdog\"', c=eu], every: 5m, grace: 30s, notify: on-call}]\n"
    (heartbeat,) = _people(tmp_path, text).heartbeats
    assert heartbeat.name == 'alertname="Watchdog",c="eu"'
    assert (heartbeat.every, heartbeat.grace, heartbeat.notify) == (300.0, 30.0, ON_CALL)


def test_aliases_and_merge_keys_are_expanded(tmp_path: Path) -> None:
    text = """\
version: 1
routes:
  - &base {match: [a=1], channel: "#a", links: &links {Wiki: "https://wiki"}}
  - {<<: *base, match: [a=2], channel: "#b"}
  - channel: "#c"
    links: *links
"""
    first, second, third = load(tmp_path, text).routes
    assert second.channel == "#b"
    assert second.matchers == (parse_matcher("a=2"),)
    assert first.links == second.links == third.links == (("Wiki", "https://wiki"),)


def test_the_shipped_file_is_valid_with_an_empty_environment() -> None:
    routing = load_routing(SHIPPED, {})
    assert [route.name for route in routing.routes] == ["#alerts-critical", "#alerts-warning", "#alerts-info"]
    assert [step.after for step in routing.get_policy("critical").steps] == [0.0, 300.0, 300.0]
    assert [step.after for step in routing.get_policy("warning").steps] == [0.0, 1800.0]
    assert routing.runbooks == (SHIPPED.parent / "runbooks",)
    assert all("is empty" in warning.what for warning in routing.warnings)


def test_the_commented_examples_of_the_shipped_file_are_valid(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^# (heartbeats:|  - \{match|heartbeat_url:)", r"\1", text)
    routing = load(tmp_path, text, {"HEARTBEAT_URL": "https://beat/x"})
    assert len(routing.heartbeats) == 1
    assert routing.heartbeat_url == "https://beat/x"


def test_a_team_may_have_its_own_titles_of_runbook_sections(tmp_path: Path) -> None:
    sections = "runbook_sections: {resolution: [Erste Hilfe], diagnosis: Schau nach, later: [Solution]}\n"
    titles = load(tmp_path, SMALLEST + sections).section_titles
    assert [titles.find_kind(title) for title in ("ERSTE HILFE:", "Schau nach", "Solution", "Impact")] == [
        "Resolution",
        "Diagnosis",
        "Later",
        "Impact",
    ]

"""Each fault is reported with its line and what was expected; all faults of a file at once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from receiver.config.routing_loader import load_routing
from receiver.errors import ConfigError
from tests.config.files import PEOPLE, SMALLEST, faults

ROUTES = 'routes:\n  - {channel: "#a"}\n'

FAULTS = [
    pytest.param("", "1: the file is empty, expected version: 1 and routes:", id="empty file"),
    pytest.param("# later\n", "1: the file is empty, expected version: 1 and routes:", id="only a comment"),
    pytest.param("- a\n", "1: the file is a list, expected a table", id="list at the top"),
    pytest.param("hello\n", "1: the file is a text, expected a table", id="text at the top"),
    pytest.param(ROUTES, "1: no version, expected version: 1", id="no version"),
    pytest.param("version: 2\n" + ROUTES, "1: version '2' is unknown, expected version: 1", id="version 2"),
    pytest.param("version: 1\n", "1: no routes, expected routes: with a channel at least", id="no routes"),
    pytest.param(
        "version: 1\nroutes: []\n",
        "2: no routes, expected routes: with a channel at least",
        id="routes empty",
    ),
    pytest.param("version: 1\nroutes: {}\n", "2: routes is a table, expected a list", id="routes a table"),
    pytest.param(
        SMALLEST + "prometeus: {url: x}\n",
        "4: unknown key 'prometeus', expected 'prometheus'",
        id="unknown key",
    ),
    pytest.param(
        SMALLEST + "slack: {tokn: x}\n",
        "4: unknown key 'tokn' in slack, expected 'token'",
        id="unknown key below",
    ),
    pytest.param(
        SMALLEST + "slack: {responders: []}\n",
        '4: slack.responders is empty: no member may respond, expected "@group", "@user", "#channel" for its members, '
        "or the ID of a user",
        id="nobody may answer",
    ),
    pytest.param(
        SMALLEST + "slack: {responders: [oncall]}\n",
        '4: slack.responders[0] \'oncall\' is no user, group or channel of Slack, expected "@group", "@user", "#channel" for its '
        "members, or the ID of a user",
        id="a responder that is no name of Slack",
    ),
    pytest.param(
        SMALLEST + 'slack: {responders: "@oncall"}\n',
        "4: slack.responders is a text, expected a list",
        id="responders a text",
    ),
    pytest.param(
        SMALLEST + "prometheus: {x: y}\n",
        "4: unknown key 'x' in prometheus, expected one of url",
        id="unknown key like none",
    ),
    pytest.param(
        SMALLEST + "version: 1\n",
        "4: 'version' is there twice (first in line 1), expected it once",
        id="key twice",
    ),
    pytest.param(
        "version: 1\nroutes:\n  - hello\n", "3: routes[0] is a text, expected a table", id="route a text"
    ),
    pytest.param(
        "version: 1\nroutes:\n  - {match: []}\n",
        "3: routes[0] has no channel, expected #name or a Slack ID",
        id="route without channel",
    ),
    pytest.param(
        'version: 1\nroutes:\n  - {channel: "${NOTHING}"}\n',
        "3: routes[0] has no channel, expected #name or a Slack ID",
        id="channel from an unset variable",
    ),
    pytest.param(
        "version: 1\nroutes:\n  - {channel: alerts}\n",
        "3: routes[0].channel 'alerts' is no Slack channel, expected #name or an ID (C…, G…, D…)",
        id="channel without #",
    ),
    pytest.param(
        "version: 1\nroutes:\n  - channel: '#a'\n    escalation: critcal\n" + PEOPLE,
        "4: routes[0].escalation 'critcal' is no escalation, expected 'critical'",
        id="unknown escalation",
    ),
    pytest.param(
        "version: 1\nroutes:\n  - channel: '#a'\n    escalation: critical\n",
        "4: routes[0].escalation 'critical' is no escalation, expected none, since none is defined",
        id="no escalation at all",
    ),
    pytest.param(
        "version: 1\nroutes:\n  - channel: '#a'\n    review: tomorrow\n",
        "4: routes[0].review 'tomorrow' is no review, expected next-business-day",
        id="unknown review",
    ),
    pytest.param(
        "version: 1\nroutes:\n  - channel: '#a'\n    fallback: nobody\n",
        "4: routes[0].fallback 'nobody' is no fallback, expected a Slack channel or a responder's name",
        id="unknown fallback",
    ),
    pytest.param(
        "version: 1\nroutes:\n  - channel: '#a'\n    match: [severity]\n",
        """4: routes[0].match[0] 'severity' is no matcher, expected one like 'severity="critical"'""",
        id="bad matcher",
    ),
    pytest.param(
        "version: 1\nroutes:\n  - channel: '#a'\n    match: [{severity: critical}]\n",
        """4: routes[0].match[0] is a table, expected a matcher like 'severity="critical"'""",
        id="matcher as a table",
    ),
    pytest.param(
        "version: 1\nroutes:\n  - channel: '#a'\n    match: ['a=~\"(\"']\n",
        """4: routes[0].match[0] 'a=~"("' is no matcher: missing ): (,"""
        """ expected one like 'severity="critical"'""",
        id="bad regular expression",
    ),
    pytest.param(
        SMALLEST + "responders:\n  boss: {}\n",
        "5: responders.boss can't be reached, expected slack or pagerduty",
        id="responder without a target",
    ),
    pytest.param(
        SMALLEST + 'responders:\n  boss: {slack: "${NOBODY}"}\n',
        "5: responders.boss can't be reached, expected slack or pagerduty",
        id="responder with an unset handle",
    ),
    pytest.param(
        SMALLEST + "responders:\n  boss:\n",
        "5: responders.boss can't be reached, expected slack or pagerduty",
        id="responder with nothing behind it",
    ),
    pytest.param(
        SMALLEST + "responders:\n  boss: {slack: team lead}\n",
        "5: responders.boss.slack 'team lead' is no user or group of Slack,"
        " expected @name or an ID (U…, W…, S… for a user group)",
        id="handle without @",
    ),
    pytest.param(
        SMALLEST + 'responders:\n  "on#call": {slack: "@x"}\n',
        "5: 'on#call' is no name for a responder, expected letters, digits, - and .",
        id="responder's name with #",
    ),
    pytest.param(
        SMALLEST + PEOPLE + "  other:\n    - {notify: team-led}\n",
        "10: escalations.other[0].notify 'team-led' is no responder, expected 'team-lead'",
        id="unknown responder",
    ),
    pytest.param(
        SMALLEST + PEOPLE + "  other:\n    - {after: 5m}\n",
        "10: escalations.other[0] has no notify, expected a responder's name",
        id="step for nobody",
    ),
    pytest.param(
        SMALLEST + PEOPLE + "  other: []\n",
        "9: escalations.other has no steps, expected {notify: NAME}",
        id="escalation without steps",
    ),
    pytest.param(
        SMALLEST + PEOPLE + "  other: on-call\n",
        "9: escalations.other is a text, expected a list of steps, or {steps: […], ack_timeout: 1h}",
        id="escalation a text",
    ),
    pytest.param(
        SMALLEST + PEOPLE + "  other:\n    - {notify: on-call, after: 5 minutes}\n",
        "10: escalations.other[0].after '5 minutes' is no duration, expected one like 30s, 5m or 1h30m",
        id="bad duration",
    ),
    pytest.param(
        SMALLEST + "flap_window: 300\n",
        "4: flap_window '300' is no duration, expected one like 30s, 5m or 1h30m",
        id="duration without unit",
    ),
    pytest.param(
        SMALLEST + f"history: {'9' * 400}y\n",
        "4: history '***' is no duration, expected one like 30s, 5m or 1h30m",
        id="endless duration, masked like a token",
    ),
    pytest.param(
        SMALLEST + "history: 11y\n",
        "4: history '11y' is out of bounds, expected ten years at most",
        id="too long",
    ),
    pytest.param(
        SMALLEST + "alertmanager: {look_every: 0}\n",
        "4: alertmanager.look_every '0' is out of bounds, expected at least 1s",
        id="too short",
    ),
    pytest.param(
        SMALLEST + "flap_count: many\n",
        "4: flap_count 'many' is no usable number, expected a whole number from 2 on",
        id="bad count",
    ),
    pytest.param(
        SMALLEST + "limits: {pagerduty: 120}\n",
        "4: limits.pagerduty '120' is no rate, expected one like 1/s, 50/m or 1000/h",
        id="bad rate",
    ),
    pytest.param(
        SMALLEST + "prometheus: {url: localhost:9090}\n",
        "4: prometheus.url is no usable address, expected http://… or https://…",
        id="address without scheme",
    ),
    pytest.param(
        SMALLEST + "alertmanager: {url: 'http://a:99999'}\n",
        "4: alertmanager.url is no usable address, expected http://… or https://…",
        id="port beyond 65535",
    ),
    pytest.param(
        SMALLEST + "prometheus: {url: 'http://a/?q=1'}\n",
        "4: prometheus.url is no usable address, expected one without ? and #",
        id="base address with a query",
    ),
    pytest.param(
        SMALLEST + "links: {Bad: 'javascript:alert(1)'}\n",
        "4: links.Bad is no usable address, expected http://… or https://…",
        id="link that is a script",
    ),
    pytest.param(
        SMALLEST + "alertmanager: {url: 'http://a', urls: ['http://b']}\n",
        "4: alertmanager has url and urls, expected one of the two",
        id="url and urls",
    ),
    pytest.param(
        SMALLEST + "alertmanager: {url: 'http://a'}\nalertmanagers: {eu: {url: 'http://b'}}\n",
        "4: alertmanager and alertmanagers, expected one of the two",
        id="alertmanager and alertmanagers",
    ),
    pytest.param(
        SMALLEST + "notices: {channel: me}\n",
        "4: notices.channel 'me' is no Slack channel, expected #name or an ID (C…, G…, D…)",
        id="notices to no channel",
    ),
    pytest.param(
        SMALLEST + "slack: {token: xoxb one two}\n",
        "4: slack.token has blanks in it, expected a token",
        id="token",
    ),
    pytest.param(
        SMALLEST + "business_hours: {timezone: Mars/Base}\n",
        "4: business_hours.timezone 'Mars/Base' is no time zone, expected one like UTC or Europe/Berlin",
        id="unknown time zone",
    ),
    pytest.param(
        SMALLEST + "business_hours: {timezone: ../../etc/passwd}\n",
        "4: business_hours.timezone '../../etc/passwd' is no time zone, expected one like UTC or Europe/Berlin",
        id="time zone that is a path",
    ),
    pytest.param(
        SMALLEST + "business_hours: {days: mon-someday}\n",
        "4: business_hours.days 'mon-someday' are no days, expected mon-fri or mon,wed",
        id="unknown day",
    ),
    pytest.param(
        SMALLEST + "business_hours: {from: 9am}\n",
        """4: business_hours.from '9am' is no time of day, expected one like "09:00\"""",
        id="bad time of day",
    ),
    pytest.param(
        SMALLEST + "business_hours: {from: 18:00}\n",
        "4: business_hours.from is not before business_hours.to, expected an earlier time",
        id="hours that end before they begin",
    ),
    pytest.param(
        SMALLEST + "business_hours: {holidays: Texas}\n",
        "4: business_hours.holidays 'Texas' is no country, expected a code of two letters like US",
        id="unknown country",
    ),
    pytest.param(
        SMALLEST + PEOPLE + "heartbeats:\n  - {every: 5m, notify: on-call}\n",
        """10: heartbeats[0] has no match, expected a matcher like 'alertname="Watchdog"'""",
        id="heartbeat of anything",
    ),
    pytest.param(
        SMALLEST + PEOPLE + "heartbeats:\n  - {match: 'a=b', notify: on-call}\n",
        "10: heartbeats[0] has no every, expected how often it comes, like 5m",
        id="heartbeat without interval",
    ),
    pytest.param(
        SMALLEST + "runbooks: ['http://host/']\n",
        "4: runbooks[0] 'http://host/' is no usable address, expected https://host/",
        id="runbook host in the clear",
    ),
    pytest.param(
        SMALLEST + "slack: {token: '${SLACK_TOKEN'}\n",
        "4: slack.token: '${SLACK_TOKEN' is neither ${NAME} nor ${file:/path}",
        id="reference left open",
    ),
    pytest.param(
        SMALLEST + "slack: {token: '${slack token}'}\n",
        "4: slack.token: '${slack token}' is neither ${NAME} nor ${file:/path}",
        id="reference to no name",
    ),
    pytest.param(
        SMALLEST + "slack: {token: '${file:/no/such/secret}'}\n",
        "4: slack.token: the file '/no/such/secret' is not there",
        id="missing secret",
    ),
    pytest.param(
        SMALLEST + "slack: !ruby {token: x}\n", "4: an unknown tag '!ruby', expected none", id="unknown tag"
    ),
    pytest.param(
        SMALLEST + "slack: {token: !ruby x}\n",
        "4: slack.token has an unknown tag '!ruby', expected none",
        id="tag",
    ),
    pytest.param(
        SMALLEST + "? [a]\n: b\n", "4: a key is a list or a table, expected a text", id="key a list"
    ),
    pytest.param(
        SMALLEST + "<<: hello\n",
        "4: '<<' takes in something else, expected an alias of a table",
        id="bad merge",
    ),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_a_fault_is_reported_with_its_line(tmp_path: Path, text: str, fault: str) -> None:
    assert fault in faults(tmp_path, text)


BROKEN = [
    pytest.param("version: 1\nroutes: [\n", 3, id="bracket left open"),
    pytest.param("version: 1\n\troutes: []\n", 2, id="tab"),
    pytest.param("version: 1\na: *nobody\n", 2, id="unknown alias"),
    pytest.param("version: 1\n---\nversion: 1\n", 2, id="two documents"),
    pytest.param("version: 1\na: \x07\n", 2, id="control character"),
    pytest.param('a: "\\UFFFFFFFF"\n', 1, id="escape beyond Unicode"),
    pytest.param('version: 1\na: "\\ud800"\n', 2, id="half a character"),
    pytest.param("version: 1\na: " + "[" * 5000, 2, id="nested without end"),
    pytest.param("%YAML 1." + "1" * 5000 + "\n---\na: b\n", 1, id="endless number"),
    pytest.param("version: 1\na: &a [*a]\n", 2, id="alias of itself"),
    pytest.param("version: 1\na: " + "x" * 20_000, 2, id="endless text"),
    pytest.param("version: 1\nroutes:\n" + '- {channel: "#a"}\n' * 1500, 1003, id="too many routes"),
]


@pytest.mark.parametrize(("text", "line"), BROKEN)
def test_malformed_yaml_is_reported_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    assert faults(tmp_path, text)[-1].startswith(f"{line}: ")


def test_a_title_of_runbooks_has_one_meaning(tmp_path: Path) -> None:
    text = SMALLEST + "runbook_sections: {resolution: [Fix it, Erste Hilfe], later: [1. FIX IT, '!']}\n"
    found = faults(tmp_path, text)
    assert any("has no letters" in fault for fault in found)
    text = SMALLEST + "runbook_sections: {resolution: [Fix it, Erste Hilfe], later: [1. FIX IT]}\n"
    (fault,) = faults(tmp_path, text)
    assert "'1. FIX IT', which is resolution, too" in fault.replace('"', "'")


def test_aliases_can_not_expand_without_limit(tmp_path: Path) -> None:
    """ "Billion laughs": nine lists of nine aliases each would expand to half a billion values."""
    names = "abcdefghi"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise(names)]
    assert "more than 20000 values or 20 levels" in faults(tmp_path, "\n".join(lines))[-1]


def test_all_faults_are_reported_at_once_ordered_by_line(tmp_path: Path) -> None:
    text = """\
version: 3
flap_count: x
routes:
  - {channel: alerts, escalation: gone, match: [nonsense]}
responders:
  boss: {slak: "@boss"}
"""
    found = faults(tmp_path, text)
    assert [fault.split(":")[0] for fault in found] == ["1", "2", "4", "4", "4", "6", "6"]


def test_a_fault_under_an_alias_is_reported_once(tmp_path: Path) -> None:
    text = "version: 1\nroutes:\n  - {channel: '#a', links: &l {X: nowhere}}\nlinks: *l\n"
    lines = [fault.split(":")[0] for fault in faults(tmp_path, text)]
    assert lines == ["3", "3"]  # two places, one line


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_routing(tmp_path / "none.yaml", {})
    assert str(caught.value) == (
        f"{tmp_path}/none.yaml:1: the file can't be read: No such file or directory, expected a readable file"
    )


def test_a_folder_is_no_routing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load_routing(tmp_path, {})


def test_a_file_that_is_no_utf_8_is_a_fault_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    path.write_bytes(b"version: 1\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=":2: a byte that is no UTF-8"):
        load_routing(path, {})


def test_a_file_larger_than_a_mebibyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="larger than 1024 KiB"):
        load_routing(path, {})

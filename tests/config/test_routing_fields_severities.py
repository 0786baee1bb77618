"""`severities:` adds a team's own severity words; unusual severities in matchers are warnings."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.model.alert import Severity
from tests.config.files import PEOPLE, faults, load, warnings

PAGED = PEOPLE + 'version: 1\nroutes:\n  - {channel: "#a", escalation: critical}\n'
TOKENS = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "PAGERDUTY_API_TOKEN": "p",
    "ONCALL_KEY": "k" * 32,
    "ALERTMANAGER_URL": "http://am:9093",
}


def read(folder: Path, text: str, word: str) -> Severity:
    return load(folder, text).severities.read_severity({"severity": word})


def test_own_words_may_be_a_list_or_a_single_word(tmp_path: Path) -> None:
    text = PAGED + "severities: {critical: [p0, Störung], warning: Ticket-2, none: [heartbeat]}\n"
    assert read(tmp_path, text, "STÖRUNG") is Severity.CRITICAL
    assert read(tmp_path, text, "ticket-2") is Severity.WARNING
    assert read(tmp_path, text, "p0") is Severity.CRITICAL
    assert read(tmp_path, text, "page") is Severity.CRITICAL
    assert load(tmp_path, text).severities.find_unknown_word({"severity": "heartbeat"}) == ""
    assert warnings(tmp_path, text, TOKENS) == []


def test_every_fault_of_severities_is_reported_with_its_line(tmp_path: Path) -> None:
    text = f"""{PAGED}severities:
  critcal: [a]
  critical: [bad, p3]
  warning:
    - bad
    - "  "
    - {{a: 1}}
    - {"w" * 61}
  info: [BAD]
"""
    assert faults(tmp_path, text) == [
        "10: unknown key 'critcal' in severities, expected 'critical'",
        "11: severities.critical[1] 'p3' is built in as warning, expected another word",
        "13: severities.warning[0] 'bad' is critical, too (line 11), expected each word once",
        "14: severities.warning[1] '' is empty, expected a word as alerts have it",
        "15: severities.warning[2] is a table, expected a text",
        f"16: severities.warning[3] '{'w' * 59}…' is longer than 60 characters, expected a word as alerts have it",
        "17: severities.info[0] 'BAD' is critical, too (line 11), expected each word once",
    ]


def test_a_list_instead_of_the_mapping_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, PAGED + "severities: [critical]\n") == [
        "9: severities is a list, expected a table"
    ]


def test_routes_and_heartbeats_use_the_teams_words(tmp_path: Path) -> None:
    text = f"""{PEOPLE}version: 1
severities: {{critical: [störung]}}
routes:
  - {{match: ['severity="critical"'], channel: "#a", escalation: critical}}
  - {{channel: "#b"}}
heartbeats: [{{match: ['severity="critical"', 'job="beat"'], notify: on-call, every: 1m}}]
"""
    routing = load(tmp_path, text)
    assert routing.find_route({"severity": "Störung"}).channel == "#a"
    assert routing.find_route({"severity": "störungen"}).channel == "#b"
    assert routing.heartbeats[0].matches({"severity": "STÖRUNG", "job": "beat"})


@pytest.mark.parametrize(
    ("matcher", "word"),
    [
        ('severity="wobbly"', "wobbly"),
        ('severity!="critcal"', "critcal"),
        ('severity=~"critical|wobbly|"', "wobbly"),
        ('severity!~"(page|wobbly)"', "wobbly"),
    ],
)
def test_an_unknown_word_in_a_matcher_is_a_warning(tmp_path: Path, matcher: str, word: str) -> None:
    text = (
        PEOPLE + f"version: 1\nroutes:\n  - {{match: ['{matcher}'], channel: '#a', escalation: critical}}\n"
    )
    text += "  - {channel: '#b', escalation: critical}\n"
    problems = f'8: routes[0].match[0] has the unknown severity "{word}", expected a known one, or that word in `severities`'
    assert warnings(tmp_path, text, TOKENS) == [problems]
    assert warnings(tmp_path, text + f"severities: {{info: [{word}]}}\n", TOKENS) == []


@pytest.mark.parametrize(
    "matcher",
    [
        'severity="P1"',
        'severity=""',
        'severity!="none"',
        'severity=~"crit.*"',
        'level="wobbly"',
        "severity=~.+",
    ],
)
def test_known_words_and_general_patterns_are_no_warning(tmp_path: Path, matcher: str) -> None:
    text = (
        PEOPLE + f"version: 1\nroutes:\n  - {{match: ['{matcher}'], channel: '#a', escalation: critical}}\n"
    )
    text += "  - {channel: '#b', escalation: critical}\n"
    assert warnings(tmp_path, text, TOKENS) == []


def test_a_word_from_the_environment_is_not_shown(tmp_path: Path) -> None:
    text = (
        PEOPLE
        + """version: 1
routes:
  - {match: ['severity="${WORD}"'], channel: "#a", escalation: critical}
  - {channel: "#b", escalation: critical}
"""
    )
    problems = warnings(tmp_path, text, TOKENS | {"WORD": "xoxb-1234567890-secret"})
    assert not any("secret" in line for line in problems)


def test_an_unknown_word_in_a_heartbeat_is_a_warning(tmp_path: Path) -> None:
    text = PAGED + "heartbeats: [{match: 'severity=\"wobbly\"', notify: on-call, every: 1m}]\n"
    assert ['unknown severity "wobbly"' in line for line in warnings(tmp_path, text, TOKENS)] == [True]


def routes(*lines: str) -> str:
    return PEOPLE + "version: 1\nroutes:\n" + "".join(f"  - {{{line}}}\n" for line in lines)


PAGES = "escalation: critical"
CRITICAL = """match: ['severity="critical"'], channel: '#c', escalation: critical"""


def test_a_critical_alert_without_other_labels_is_checked(tmp_path: Path) -> None:
    text = routes(
        """match: ['severity=~"page|P1"'], channel: '#p', escalation: critical""", "channel: '#rest'"
    )
    assert warnings(tmp_path, text, TOKENS) == [
        (
            '9: routes[1] takes severity="critical" and has no escalation: nobody is paged,'
            " expected an escalation there, or a route for criticals before it"
        )
    ]


def test_a_critical_alert_with_the_labels_of_each_route_is_checked(tmp_path: Path) -> None:
    text = routes(
        "match: [team=web], channel: '#web'",
        CRITICAL,
        """match: ['severity="warning"', 'env="dev"', 'app!="x"'], channel: '#dev'""",
        "channel: '#rest'",
    )
    assert warnings(tmp_path, text, TOKENS) == [
        (
            '8: routes[0] takes severity="critical" with the labels of routes[0] and has no escalation: nobody is paged,'
            " expected an escalation there, or a route for criticals before it"
        )
    ]


def test_a_route_hides_a_critical_route_of_another_team_only_if_it_matches(tmp_path: Path) -> None:
    text = routes(CRITICAL, "match: [team=web], channel: '#web'", "channel: '#rest'")
    assert warnings(tmp_path, text, TOKENS) == []


def test_the_last_route_is_checked_for_unmatched_alerts_too(tmp_path: Path) -> None:
    text = routes(
        f"match: [team=web], channel: '#web', {PAGES}", """match: ['severity="info"'], channel: '#info'"""
    )
    assert any(
        line.startswith('9: routes[1] takes severity="critical" and')
        for line in warnings(tmp_path, text, TOKENS)
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('severity="critical"', 'severity="page"'),
        ('severity="warning"', 'severity="error"'),
        ('severity=~"critical|warning"', 'severity="P2"'),
        ('severity=~"crit.*"', 'severity="critical"'),
    ],
)
def test_a_severity_that_an_earlier_route_matches_is_never_reached(
    tmp_path: Path, before: str, after: str
) -> None:
    text = routes(
        f"match: ['{before}'], channel: '#a', {PAGES}",
        f"match: ['{after}', 'a=1'], channel: '#b', {PAGES}",
        f"channel: '#c', {PAGES}",
    )
    assert warnings(tmp_path, text, TOKENS) == [
        "9: routes[1] is never reached: routes[0] takes all its alerts"
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('severity="error"', 'severity="warning"'),
        ('severity="page"', 'severity="critical"'),
        ('severity!="info"', 'severity="page"'),
        ('severity="critical"', 'severity=~"page|critical"'),
    ],
)
def test_a_severity_that_an_earlier_route_matches_partly_is_reached(
    tmp_path: Path, before: str, after: str
) -> None:
    text = routes(
        f"match: ['{before}'], channel: '#a', {PAGES}",
        f"match: ['{after}'], channel: '#b', {PAGES}",
        f"channel: '#c', {PAGES}",
    )
    assert warnings(tmp_path, text, TOKENS) == []


def test_a_thousand_routes_are_checked_in_time(tmp_path: Path) -> None:
    lines = [f"""match: [team=t{n}, 'severity="critical"'], channel: '#t{n}', {PAGES}""" for n in range(999)]
    assert warnings(tmp_path, routes(*lines, "channel: '#rest'"), TOKENS) == [
        (
            '1007: routes[999] takes severity="critical" and has no escalation: nobody is paged,'
            " expected an escalation there, or a route for criticals before it"
        )
    ]

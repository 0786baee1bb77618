"""Unusual or simulated configuration is a warning and does not refuse the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import PEOPLE, SMALLEST, warnings

TOKENS = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "PAGERDUTY_API_TOKEN": "p",
    "ONCALL_KEY": "k" * 32,
    "ALERTMANAGER_URL": "http://am:9093",
}
UNPAGED = (
    '{}: routes[{}] takes severity="critical"{} and has no escalation: nobody is paged,'
    " expected an escalation there, or a route for criticals before it"
)
NOT_POLLED = (
    "1: alertmanager.url is empty: Alertmanager is not polled for silences and resolved alerts, "
    "expected its address, or ALERTMANAGER_URL"
)
USED = PEOPLE + 'version: 1\nroutes:\n  - {channel: "#a", escalation: critical}\n'


def test_a_complete_file_has_no_warnings(tmp_path: Path) -> None:
    assert warnings(tmp_path, USED, TOKENS) == []


def test_channels_without_secrets_are_simulated(tmp_path: Path) -> None:
    assert warnings(tmp_path, USED + "slack: {token: '${SLACK_BOT_TOKEN}'}\n") == [
        "1: pagerduty.api_token is empty: PagerDuty's REST API is not called",
        NOT_POLLED,
        "2: responders.on-call.pagerduty.routing_key is empty: these pages are simulated",
        "9: slack.token is empty: Slack is simulated",
    ]


def test_pagerdutys_token_is_not_missing_if_no_responder_has_a_routing_key(tmp_path: Path) -> None:
    assert warnings(tmp_path, SMALLEST) == [
        "1: slack.token is empty: Slack is simulated",
        NOT_POLLED,
        UNPAGED.format(3, 0, ""),
    ]


def test_a_routing_key_of_another_form_is_a_warning(tmp_path: Path) -> None:
    assert warnings(tmp_path, USED, TOKENS | {"ONCALL_KEY": "test-key"}) == [
        (
            "2: responders.on-call.pagerduty.routing_key has not the form of a PagerDuty integration key,"
            " expected 32 letters and digits"
        ),
    ]


def test_a_route_after_a_catch_all_is_a_warning(tmp_path: Path) -> None:
    text = "version: 1\nroutes:\n  - {channel: '#a'}\n  - {match: [a=1], channel: '#b'}\n"
    assert warnings(tmp_path, text, TOKENS) == [
        UNPAGED.format(3, 0, ""),
        "4: routes[1] is never reached: routes[0] takes all its alerts",
    ]


def test_a_route_after_a_wider_one_is_a_warning(tmp_path: Path) -> None:
    text = "version: 1\nroutes:\n  - {match: [a=1], channel: '#a'}\n  - {match: [b=2, a=1], channel: '#b'}\n"
    text += "  - {channel: '#c'}\n"
    assert warnings(tmp_path, text, TOKENS) == [
        UNPAGED.format(3, 0, " with the labels of routes[0]"),
        "4: routes[1] is never reached: routes[0] takes all its alerts",
        UNPAGED.format(5, 2, ""),
    ]


def test_a_last_route_that_is_no_catch_all_is_a_warning(tmp_path: Path) -> None:
    text = "version: 1\nroutes:\n  - {match: [a=1], channel: '#a'}\n  - {match: [a=2], channel: '#b'}\n"
    assert warnings(tmp_path, text, TOKENS) == [
        UNPAGED.format(3, 0, " with the labels of routes[0]"),
        "4: alerts that match no route go to the last one, routes[1], expected match: [] there",
        UNPAGED.format(4, 1, ""),
    ]


def test_an_unused_escalation_is_a_warning(tmp_path: Path) -> None:
    assert warnings(tmp_path, SMALLEST + PEOPLE, TOKENS) == [
        UNPAGED.format(3, 0, ""),
        "8: no route uses the escalation 'critical'",
    ]


def test_a_later_step_without_a_wait_is_a_warning(tmp_path: Path) -> None:
    text = USED.replace(", after: 5m", "")
    assert warnings(tmp_path, text, TOKENS) == [
        "5: escalations.critical[1] has no `after`: it is notified together with the step before"
    ]


def test_a_missing_runbook_is_a_warning(tmp_path: Path) -> None:
    assert warnings(tmp_path, SMALLEST + "runbooks: [nowhere/]\n", TOKENS) == [
        UNPAGED.format(3, 0, ""),
        "4: runbooks[0] 'nowhere/' is not there, expected a Markdown file or a folder of them",
    ]


def test_a_channel_in_capitals_is_a_warning(tmp_path: Path) -> None:
    assert warnings(tmp_path, "version: 1\nroutes:\n  - {channel: '#Alerts'}\n", TOKENS) == [
        "3: routes[0].channel '#Alerts': Slack knows channels in lower case only",
        UNPAGED.format(3, 0, ""),
    ]


def test_an_alertmanager_without_a_url_is_a_warning_at_its_line(tmp_path: Path) -> None:
    tokens = TOKENS | {"ALERTMANAGER_URL": ""}
    assert warnings(tmp_path, USED, tokens) == [NOT_POLLED]
    section = "alertmanager: {url: '${ALERTMANAGER_URL}', looks: 2}\n"
    assert warnings(tmp_path, USED + section, tokens) == [NOT_POLLED.replace("1:", "9:")]
    several = "alertmanagers:\n  eu: {url: http://eu}\n  us: {url: '${US}'}\n"
    assert warnings(tmp_path, USED + several, tokens) == [
        "11: alertmanagers.us.url is empty: Alertmanager is not polled for silences and resolved alerts, expected its address"
    ]
    assert warnings(tmp_path, USED + "alertmanager: {urls: [http://a, http://b]}\n", tokens) == []


@pytest.mark.parametrize(
    ("written", "name"),
    [("$SCHEDULE", "SCHEDULE"), ("P-$(SCHEDULE)", "SCHEDULE"), ("a $b c", "b"), ("$A$B", "A")],
)
def test_an_unexpanded_reference_is_a_warning(tmp_path: Path, written: str, name: str) -> None:
    found = warnings(tmp_path, USED.replace("PSCHED1", f'"{written}"'), TOKENS)
    assert found[0] == (
        f"2: responders.on-call.pagerduty.schedule holds ${name}, which is not filled in, "
        f"expected ${{{name}}}, if that is meant"
    )


def test_a_dollar_sign_of_a_regular_expression_is_no_warning(tmp_path: Path) -> None:
    text = USED.replace(
        "- {channel", """- {match: ['a=~"x$|y$|z{2}$1"', 'b=~"[$]c"'], channel: "#b"}\n  - {channel"""
    )
    assert warnings(tmp_path, text, TOKENS) == []


def test_a_token_that_is_no_bot_token_is_a_warning(tmp_path: Path) -> None:
    assert warnings(tmp_path, USED, TOKENS | {"SLACK_BOT_TOKEN": "abc"}) == [
        "1: slack.token has not the form of a bot token, expected one like xoxb-…"
    ]
    assert warnings(tmp_path, USED, TOKENS | {"SLACK_BOT_TOKEN": "xoxe.xoxb-1-abc"}) == []


def test_a_second_heartbeat_with_the_same_matchers_is_a_warning(tmp_path: Path) -> None:
    text = SMALLEST + "responders: {a: {slack: '@a'}}\nheartbeats:\n"
    for matchers in ("x=1, y=2", "x=1", "y=2, x=1"):
        text += f"  - {{match: [{matchers}], every: 5m, notify: a}}\n"
    line = text.count("\n")
    found = [one for one in warnings(tmp_path, text, TOKENS) if "heartbeats" in one]
    what = "heartbeats[2] has the same matchers as heartbeats[0], so the same alert beats for both"
    assert found == [f"{line}: {what}, expected one of them"]

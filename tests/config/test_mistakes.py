"""Typical mistakes in values: each is a fault or a warning with the value's name and the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from receiver.config.settings import Settings, load_settings
from receiver.errors import ConfigError, Problem
from receiver.model.routing import parse_matcher
from tests.cli.invoke import receiver
from tests.config.files import SMALLEST, faults, load

VARIABLES = [
    "REDIS_URL",
    "SLACK_BOT_TOKEN",
    "SLACK_SIGNING_SECRET",
    "SLACK_APP_TOKEN",
    "PAGERDUTY_API_TOKEN",
    "PAGERDUTY_WEBHOOK_SECRET",
    "RECEIVER_WEBHOOK_TOKEN",
    "RECEIVER_API_TOKEN",
    "RECEIVER_VIEWER_TOKEN",
    "OIDC_ISSUER",
    "OIDC_CLIENT_ID",
    "RECEIVER_RESPONDERS",
    "RECEIVER_TRUSTED_PROXY",
    "RECEIVER_USER_HEADER",
    "PUBLIC_URL",
    "SLACK_API_URL",
    "ALERTMANAGER_URL",
    "PROMETHEUS_URL",
]
SLACK = "slack: {{token: {}}}\n"
PAGER = "responders: {{a: {{pagerduty: {{routing_key: {}}}}}}}\n"


def problems(**environ: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ)
    return list(caught.value.problems)


def only_problem(**environ: str) -> Problem:
    (name,) = environ
    found = [problem for problem in problems(**environ) if problem.what.startswith(f"{name} ")]
    assert len(found) == 1
    assert (found[0].file, found[0].line) == ("environment", 1)
    assert found[0].expected
    return found[0]


# --- quotes ---


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("quoted", ['"{}"', "'{}'", "“{}”", '"{}', "{}'"])
def test_a_variable_in_quotes_is_a_fault(name: str, quoted: str) -> None:
    problem = only_problem(**{name: quoted.format("hidden")})
    assert "stands in quotes" in problem.what
    assert "without" in problem.expected
    assert "hidden" not in str(problem)


def test_a_quote_inside_a_secret_is_part_of_it() -> None:
    assert load_settings({"RECEIVER_API_TOKEN": 'a"b'}).api_tokens[0].reveal() == 'a"b'


@pytest.mark.parametrize(
    "text", [SLACK, PAGER, "pagerduty: {{api_token: {}}}\n", "prometheus: {{url: {}}}\n"]
)
def test_a_quoted_value_of_a_variable_is_a_fault_at_its_reference(tmp_path: Path, text: str) -> None:
    found = faults(tmp_path, SMALLEST + text.format("'${VALUE}'"), {"VALUE": '"http://h1dden"'})
    assert [fault.partition(":")[0] for fault in found] == ["4"]
    assert "stands in quotes, expected the value without them" in found[0]
    assert "h1dden" not in found[0]


def test_a_mounted_secret_in_quotes_is_a_fault_too(tmp_path: Path) -> None:
    (tmp_path / "token").write_text('"xoxb-1"\n')
    assert (
        "4: slack.token stands in quotes" in faults(tmp_path, SMALLEST + SLACK.format("'${file:token}'"))[0]
    )


# --- references that are not expanded ---


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("value", ["$TOKEN", "${TOKEN}", "$(TOKEN)", "%TOKEN%", "a-${TOKEN}", "${file:/x}b"])
def test_a_variable_with_a_reference_to_another_is_a_fault(name: str, value: str) -> None:
    problem = only_problem(**{name: value})
    assert "names another variable" in problem.what
    assert "TOKEN" not in problem.what.removeprefix(name)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:${REDIS_PASSWORD}@host",
        "redis://:$(REDIS_PASSWORD)@host",
        "redis://:$REDIS_PASSWORD@host",
        "redis://$USER:pw@host",
        "redis://:pw@$HOST:6379",
        "redis://:pw@$HOST",
    ],
)
def test_a_reference_in_a_url_is_a_fault(url: str) -> None:
    assert "nothing fills in" in only_problem(REDIS_URL=url).what


def test_a_dollar_sign_in_a_password_is_accepted() -> None:
    url = "redis://:pa$word$@host"
    assert load_settings({"REDIS_URL": url}).redis_url.reveal() == url


@pytest.mark.parametrize("text", [SLACK, PAGER, "pagerduty: {{api_token: {}}}\n", "heartbeat_url: {}\n"])
def test_an_unexpanded_reference_in_a_secret_is_a_fault(tmp_path: Path, text: str) -> None:
    for written in ("$THE_NAME", "$(THE_NAME)", "'%THE_NAME%'"):
        (fault,) = faults(tmp_path, SMALLEST + text.format(written))
        assert fault.startswith("4: ")
        assert f"'{written.strip(chr(39))}' is not filled in" in fault
        assert fault.endswith("expected ${THE_NAME}")


def test_a_value_that_expands_to_a_reference_is_a_fault_that_does_not_show_it(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, SMALLEST + SLACK.format("'${TOKEN}'"), {"TOKEN": "$h1dden"})
    assert fault == "4: slack.token is not filled in, it is taken as it stands, expected the value itself"


# --- tokens of another kind ---


@pytest.mark.parametrize(
    ("name", "token", "expected"),
    [
        ("SLACK_BOT_TOKEN", "xoxp-1-h1dden", "is a user token (xoxp-…), expected a bot token, xoxb-…"),
        ("SLACK_BOT_TOKEN", "xoxe.xoxp-1-h1dden", "is a user token (xoxe.xoxp-…)"),
        ("SLACK_BOT_TOKEN", "xapp-1-h1dden", "is an app-level token (xapp-…)"),
        ("SLACK_BOT_TOKEN", "xoxa-h1dden", "is a workspace token"),
        ("SLACK_APP_TOKEN", "xoxb-h1dden", "is a bot token (xoxb-…), expected an app-level token, xapp-…"),
        ("SLACK_SIGNING_SECRET", "xoxb-h1dden", "is a bot token (xoxb-…), expected no token of Slack's"),
        ("PAGERDUTY_API_TOKEN", "xoxb-h1dden", "expected no token of Slack's"),
    ],
)
def test_a_token_of_another_kind_is_a_fault(name: str, token: str, expected: str) -> None:
    problem = only_problem(**{name: token})
    assert expected in str(problem)
    assert "h1dden" not in str(problem)


def test_a_user_token_is_a_fault_at_its_reference(tmp_path: Path) -> None:
    text = SMALLEST + SLACK.format("'${TOKEN}'")
    assert faults(tmp_path, text, {"TOKEN": "xoxp-1-h1dden"}) == [
        "4: slack.token is a user token (xoxp-…), expected a bot token, xoxb-…"
    ]


@pytest.mark.parametrize("token", ["xoxb-1", "xoxe.xoxb-1-abc"])
def test_a_bot_token_is_accepted(tmp_path: Path, token: str) -> None:
    assert load(tmp_path, SMALLEST, {"SLACK_BOT_TOKEN": token}).slack_token.reveal() == token
    assert load_settings({"SLACK_BOT_TOKEN": token}) != Settings()


# --- URLs with a login ---


@pytest.mark.parametrize(("sign", "code"), [("#", "%23"), ("/", "%2F"), ("?", "%3F"), ("[", "%5B")])
@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa{}ss@host:6379/0",
        "rediss://me:pa{}ss@host",
        "redis://:12{}34@host:6379/0",
        "redis://:p@a{}ss@host:6379/0",
        "redis+sentinel://me:pa{}ss@one:1,two:2/service",
        "redis+cluster://:pa{}ss@one:1,two:2",
    ],
)
def test_a_special_character_in_a_redis_password_is_reported_with_its_percent_code(
    url: str, sign: str, code: str
) -> None:
    problem = only_problem(REDIS_URL=url.format(sign))
    assert f"{code} for {sign}" in problem.expected
    assert "ss@" not in str(problem)
    assert load_settings({"REDIS_URL": url.format(code).replace("p@a", "p%40a")}).redis_url


@pytest.mark.parametrize(
    ("sign", "code"), [("#", "%23"), ("/", "%2F"), ("?", "%3F"), ("[", "%5B"), ("{", "%7B")]
)
@pytest.mark.parametrize(
    "name", ["ALERTMANAGER_URL", "PROMETHEUS_URL", "SLACK_API_URL", "PAGERDUTY_EVENTS_URL"]
)
@pytest.mark.parametrize("login", ["me:pa{}ss", "me:12{}34"])
def test_a_special_character_in_another_password_is_reported_with_its_percent_code(
    name: str, sign: str, code: str, login: str
) -> None:
    problem = only_problem(**{name: f"http://{login.format(sign)}@host:9093"})
    assert f"{code} for {sign}" in problem.expected
    assert login not in str(problem)
    load_settings({name: f"http://{login.format(code)}@host:9093"})


def test_a_special_character_in_the_password_of_a_url_in_the_file_is_reported(tmp_path: Path) -> None:
    text = SMALLEST + "alertmanager: {url: 'http://me:${PW}@am:9093'}\n"
    assert faults(tmp_path, text, {"PW": "h1#dden"}) == [
        "4: alertmanager.url is no usable address, expected what stands before its last @ with %23 for #"
    ]


def test_an_at_sign_and_a_percent_sign_are_accepted() -> None:
    for url in ("redis://:p@ss@host", "redis://:100%@host"):
        assert load_settings({"REDIS_URL": url}).redis_url.reveal() == url
    assert load_settings({"ALERTMANAGER_URL": "http://me:p@ss@am"}).alertmanager_url


# --- options of REDIS_URL ---


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://host?socket_timeout=abc", "no usable socket_timeout"),
        ("redis://host?socket_timeout=0", "no usable socket_timeout"),
        ("redis://host?socket_timeout=-1", "no usable socket_timeout"),
        ("redis://host?socket_timeout=nan", "no usable socket_timeout"),
        ("redis://host?socket_timeout=", "no usable socket_timeout"),
        ("redis://host?socket_connect_timeout=1e9", "no usable socket_connect_timeout"),
        ("redis://host?health_check_interval=x", "no usable health_check_interval"),
        ("redis://host?max_connections=0", "no usable max_connections"),
        ("redis://host?socket_keepalive=perhaps", "no usable socket_keepalive"),
        ("redis://host?db=one", "no usable db"),
        ("redis://host/one", "ends in a database that is no number"),
        ("redis://host/0/1", "ends in a database that is no number"),
        ("redis://host/0#1", "ends in a database that is no number"),
        ("redis://host?decode_responses=true", "unknown option"),
        ("redis://host?ssl_ca_certs=/ca.pem", "options of TLS"),
        ("redis://host?ssl=true", "unknown option"),
        ("rediss://host?ssl_cert_reqs=perhaps", "no usable ssl_cert_reqs"),
        ("rediss://host?ssl_check_hostname=perhaps", "no usable ssl_check_hostname"),
        ("unix:///socket?socket_keepalive=1", "unknown option"),
        ("redis+sentinel://a:1/service/one", "ends in a database that is no number"),
        ("redis+sentinel://a:1/service?socket_timeout=abc", "no usable socket_timeout"),
        ("redis+sentinel://a:1/service?sentinel_passwort=x", "unknown option"),
        ("redis+cluster://a:1?socket_timeout=abc", "no usable socket_timeout"),
    ],
)
def test_an_option_that_redis_py_would_fail_on_is_a_fault(url: str, what: str) -> None:
    assert what in only_problem(REDIS_URL=url).what


def test_a_misspelt_option_is_reported_with_the_right_one() -> None:
    assert only_problem(REDIS_URL="redis://host?socket_timout=1").expected == "'socket_timeout'"


def test_check_reports_it_before_any_request(tmp_path: Path) -> None:
    (tmp_path / "routing.yaml").write_text(SMALLEST)
    for command in ("check", "run"):
        result = receiver(
            command, "--config", tmp_path / "routing.yaml", REDIS_URL="redis://h?socket_timeout=abc"
        )
        assert result.exit_code == 1
        assert (
            "environment:1: REDIS_URL has no usable socket_timeout behind its ?, expected seconds"
            in result.output
        )


def test_the_url_of_the_command_line_is_checked_likewise() -> None:
    for url, says in (
        ('"http://h"', "stands in quotes"),
        ("$URL", "names another"),
        ("http://me:p#w@h", "%23 for #"),
    ):
        result = receiver("incidents", RECEIVER_URL=url)
        assert result.exit_code == 1
        assert says in result.output


# --- matchers ---


@pytest.mark.parametrize(
    "matcher",
    [
        "severity == critical",
        'severity == "critical"',
        "severity==critical",
        "severity = = critical",
        "severity =~~ critical",
        "severity=!critical",
        "severity => critical",
        "severity=~='critical'",
        "severity='critical'",
        "severity=~'critical|page'",
        "severity = ‘critical’",
        "severity=“critical”",
        "severity=critical,team=db",
        'severity=critical, team="db"',
        "severity=~critical|page, team!=db",
    ],
)
def test_a_matcher_that_could_never_match_is_a_fault(tmp_path: Path, matcher: str) -> None:
    with pytest.raises(ValueError, match="no matcher"):
        parse_matcher(matcher)
    text = f"version: 1\nroutes:\n  - match:\n    - {json.dumps(matcher)}\n    channel: '#a'\n  - channel: '#b'\n"
    (fault,) = faults(tmp_path, text)
    assert fault.startswith("4: routes[0].match[0] '")
    assert fault.endswith("""is no matcher, expected one like 'severity="critical"'""")


@pytest.mark.parametrize(
    ("matcher", "value"),
    [
        ("severity = critical", "critical"),
        ('severity="= critical"', "= critical"),
        ("severity=a=b", "a=b"),
        ("severity=a,b", "a,b"),
        ("""severity="'critical'\"""", "'critical'"),
        ("severity=~crit.{2,4}", "crit.{2,4}"),
        ("severity=", ""),
        ('severity=""', ""),
        ("owner=o'neill", "o'neill"),
    ],
)
def test_a_matcher_that_could_match_is_accepted(matcher: str, value: str) -> None:
    assert parse_matcher(matcher).value == value

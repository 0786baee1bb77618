"""`receiver check`: all faults at once, then the warnings, then a summary."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.invoke import receiver

KEY = "0123456789abcdef0123456789abcdef"
ROUTING = f"""\
version: 1
runbooks: [runbooks/]
slack: {{token: "${{SLACK_BOT_TOKEN}}"}}
pagerduty: {{api_token: "${{PAGERDUTY_API_TOKEN}}"}}
responders:
  on-call:   {{pagerduty: {{routing_key: {KEY}}}}}
  team-lead: {{slack: "@lead", pagerduty: {{routing_key: "${{LEAD_KEY}}"}}}}
escalations:
  critical: [{{notify: on-call}}, {{notify: team-lead, after: 5m}}]
routes:
  - {{match: ['severity="critical"'], channel: "#alerts-critical", escalation: critical}}
  - {{match: [], channel: "#alerts-info"}}
"""
FULL = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "PAGERDUTY_API_TOKEN": "abc",
    "LEAD_KEY": KEY,
    "ALERTMANAGER_URL": "http://am:9093",
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "disks.md").write_text("### DiskFull (Critical)\n\n**Impact**: no room.\n")
    file = tmp_path / "routing.yaml"
    file.write_text(ROUTING)
    return file


@pytest.mark.usefixtures("config")
def test_a_valid_configuration_is_summarized_in_one_sentence() -> None:
    result = receiver("check", **FULL)
    assert result.exit_code == 0
    assert result.stdout == (
        "routing.yaml is fine: 2 routes, 1 escalation, 2 responders, 1 runbook; nothing is simulated.\n"
    )


@pytest.mark.usefixtures("config")
def test_the_required_credentials_are_listed() -> None:
    environ = {
        "RECEIVER_API_TOKEN": "t0ken",
        "RECEIVER_VIEWER_TOKEN": "v1ewer",
        "RECEIVER_TRUSTED_PROXY": "10.1.0.0/16",
        "RECEIVER_USER_HEADER": "Remote-User",
        "OIDC_ISSUER": "https://login.example",
        "OIDC_CLIENT_ID": "receiver",
        "OIDC_CLIENT_SECRET": "s3cret",
        "PUBLIC_URL": "https://ops.example",
    }
    result = receiver("check", **FULL, **environ)
    assert result.stdout.splitlines()[0] == (
        "let in to API and page: RECEIVER_API_TOKEN; RECEIVER_VIEWER_TOKEN (reads); "
        "Remote-User from 10.1.0.0/16; signing in with https://login.example"
    )


@pytest.mark.usefixtures("config")
def test_simulated_channels_are_warnings_and_named_at_the_end() -> None:
    result = receiver("check")
    assert result.exit_code == 0
    assert "warning: routing.yaml:3: slack.token is empty" in result.stdout
    assert "alertmanager.url is empty" in result.stdout
    assert "with 4 warnings" in result.stdout
    assert result.stdout.endswith("Slack and PagerDuty for team-lead are simulated.\n")


def test_every_fault_is_reported_with_its_line(config: Path) -> None:
    config.write_text(
        ROUTING.replace("notify: on-call", "notify: oncall").replace('channel: "#alerts-info"', "chanel: x")
    )
    result = receiver("check", "--config", config, SLACK_BOT_TOKEN="xoxb secret", LEAD_KEY=KEY)
    assert result.exit_code == 1
    assert "environment:1: SLACK_BOT_TOKEN has blanks in it, expected a token\n" in result.stdout
    assert "\nrouting.yaml:9: " in result.stdout
    assert "\nrouting.yaml:12: " in result.stdout
    assert "routing.yaml is not fine: " in result.stdout
    assert "secret" not in result.output


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    result = receiver("check", "--config", tmp_path / "nowhere.yaml")
    assert result.exit_code == 1
    assert "nowhere.yaml:1: the file can't be read" in result.stdout


def test_a_runbook_that_disagrees_with_the_escalations_is_a_warning(config: Path) -> None:
    (config.parent / "runbooks" / "matrix.md").write_text(
        "## Escalation Matrix\n\n| Severity | Response | Path |\n|---|---|---|\n| Critical | 5 min | On-call → Manager |\n"
    )
    result = receiver("check", "--config", config, **FULL)
    assert result.exit_code == 0
    assert (
        "warning: runbooks/matrix.md:5: the Escalation Matrix says 'critical' goes to On-call → Manager"
        in result.stdout
    )


def test_a_second_runbook_for_an_alert_is_a_warning(config: Path) -> None:
    (config.parent / "runbooks" / "more.md").write_text(
        "### DiskFull (Critical)\n\n**Impact**: other words.\n"
    )
    assert "warning: runbooks/more.md:1: a second runbook for DiskFull" in receiver("check", **FULL).stdout


def test_missing_runbooks_are_reported_once(config: Path) -> None:
    config.write_text(ROUTING.replace("runbooks/", "elsewhere/"))
    result = receiver("check", **FULL)
    assert result.exit_code == 0
    assert result.stdout.count("elsewhere") == 1


def test_control_characters_of_a_runbook_are_not_printed(config: Path) -> None:
    (config.parent / "runbooks" / "evil.md").write_text("### A\x1b[2JB (Critical)\n\n**Impact**: x.\n" * 2)
    assert "\x1b" not in receiver("check", **FULL).stdout


def test_the_shipped_configuration_is_valid() -> None:
    shipped = Path(__file__).parents[2] / "routing.yaml"
    result = receiver("check", "--config", shipped)
    assert result.exit_code == 0
    assert "13 runbooks; Slack and PagerDuty are simulated." in result.stdout


def test_a_critical_route_without_pages_and_an_unknown_severity_are_warnings(config: Path) -> None:
    config.write_text(
        ROUTING.replace('severity="critical"', 'severity="page"')
        + "heartbeats: [{match: 'severity=\"wobbly\"', notify: on-call, every: 5m}]\n"
    )
    result = receiver("check", **FULL)
    assert result.exit_code == 0
    assert (
        'warning: routing.yaml:12: routes[1] takes severity="critical" and has no escalation' in result.stdout
    )
    assert 'warning: routing.yaml:13: heartbeats[0].match has the unknown severity "wobbly"' in result.stdout
    assert "with 3 warnings" in result.stdout  # the third is that of the runbook


def test_a_fault_in_the_severities_is_reported_with_its_line(config: Path) -> None:
    config.write_text(f"{ROUTING}severities: {{warning: [p1]}}\n")
    result = receiver("check", **FULL)
    assert result.exit_code == 1
    assert "routing.yaml:13: severities.warning[0] 'p1' is built in as critical" in result.stdout

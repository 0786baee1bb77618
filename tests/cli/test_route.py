"""`receiver route LABEL=VALUE...`: a dry run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.invoke import receiver

KEY = "0123456789abcdef0123456789abcdef"
ROUTING = """\
version: 1
runbooks: [runbooks/]
slack: {token: "${SLACK_BOT_TOKEN}"}
responders:
  on-call:   {pagerduty: {routing_key: "${PAGERDUTY_ONCALL_KEY}"}}
  team-lead: {slack: "@team-lead", pagerduty: {routing_key: "${PAGERDUTY_TEAM_LEAD_KEY}"}}
  manager:   {slack: "@manager"}
escalations:
  critical: [{notify: on-call}, {notify: team-lead, after: 5m}, {notify: manager, after: 5m}]
routes:
  - {match: ['severity="critical"', 'team=~"web|db"'], channel: "#alerts-critical", escalation: critical}
  - {match: ['severity="info"'], channel: "#alerts-info", review: next-business-day}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "disks.md").write_text(
        "# Disks\n\n### DiskFull (Critical)\n\n**Impact**: no room.\n"
    )
    file = tmp_path / "routing.yaml"
    file.write_text(ROUTING)
    return file


def test_the_dry_run_shows_route_channel_steps_and_runbook(config: Path) -> None:
    result = receiver("route", "--config", config, "alertname=DiskFull", "severity=critical", "team=web")
    assert result.exit_code == 0
    assert (
        result.stdout
        == f"""\
Route       #alerts-critical: severity="critical", team=~"web|db"
Channel     #alerts-critical (simulated)
Severity    critical
Escalation  critical: On-call at once, Team Lead after 5m, Manager after 10m
On-call     pagerduty:on-call (simulated)
Team Lead   pagerduty:team-lead (simulated), slack:@team-lead (simulated)
Manager     slack:@manager (simulated)
Runbook     DiskFull ({config.parent / "runbooks" / "disks.md"}:3)
"""
    )


def test_the_runbook_is_the_one_that_a_message_quotes(config: Path) -> None:
    """The section's title may be the name of another runbook."""
    folder = config.parent / "runbooks"
    (folder / "a.md").write_text("## Checks and mitigation\n\nwrong\n")
    (folder / "pay.md").write_text("# Payments\n\n## Impact\n\nbad\n\n## Mitigation\n\nfail over\n")
    link = "runbook_url=https://github.com/acme/rb/blob/main/pay.md#mitigation"
    result = receiver("route", "--config", config, "alertname=PayDown", link)
    assert f"Mitigation ({folder / 'pay.md'}:7)" in result.stdout


def test_no_secret_is_ever_shown(config: Path) -> None:
    secrets = {
        "SLACK_BOT_TOKEN": "xoxb-1-secret",
        "PAGERDUTY_ONCALL_KEY": KEY,
        "PAGERDUTY_TEAM_LEAD_KEY": KEY,
    }
    for flags in ((), ("--json",)):
        result = receiver("route", "--config", config, "severity=critical", "team=db", *flags, **secrets)
        assert result.exit_code == 0
        assert KEY not in result.output
        assert "xoxb" not in result.output
        assert "simulated" not in result.output


def test_json_has_seconds_from_the_start(config: Path) -> None:
    result = receiver(
        "route", "--config", config, "--json", "alertname=DiskFull", "severity=critical", "team=web"
    )
    routes = json.loads(result.stdout)
    assert [(step["step"], step["after_s"], step["at_s"]) for step in routes["steps"]] == [
        ("on-call", 0, 0),
        ("team-lead", 300, 300),
        ("manager", 300, 600),
    ]
    assert routes["steps"][1]["targets"] == ["pagerduty:team-lead", "slack:@team-lead"]
    assert {name: routes[name] for name in ("route", "channel", "escalation", "runbook", "severity")} == {
        "route": "#alerts-critical",
        "channel": "#alerts-critical",
        "escalation": "critical",
        "runbook": "DiskFull",
        "severity": "critical",
    }
    assert routes["matchers"] == ['severity="critical"', 'team=~"web|db"']


def test_a_route_without_escalation_sends_no_pages(config: Path) -> None:
    text = receiver("route", "--config", config, "severity=info").stdout
    assert "none, nobody is paged" in text
    assert "next-business-day" in text
    routes = json.loads(receiver("route", "--config", config, "severity=info", "--json").stdout)
    assert (routes["escalation"], routes["steps"], routes["runbook"]) == (None, [], None)


def test_labels_that_no_route_matches_use_the_last_one(config: Path) -> None:
    result = receiver("route", "--config", config, "severity=page")
    assert result.exit_code == 0
    assert "#alerts-info: no route matches these labels, so the last one takes them" in result.stdout
    assert "Severity    critical" in result.stdout


@pytest.mark.parametrize("labels", [["severity"], ["=critical"], [], ["a=1", "a=2"]])
def test_an_invalid_label_is_a_usage_error(config: Path, labels: list[str]) -> None:
    result = receiver("route", "--config", config, *labels)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_a_value_may_contain_an_equals_sign_or_be_empty(config: Path) -> None:
    assert receiver("route", "--config", config, "expr=a=b", "team=").exit_code == 0


def test_a_faulty_configuration_is_reported_by_line(tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text("version: 1\nroutes:\n  - {chanel: x}\n")
    result = receiver("route", "--config", file, "severity=critical")
    assert result.exit_code == 1
    assert f"{file}:3: " in result.stderr


def test_the_dry_run_sends_no_request(config: Path) -> None:
    """Nothing listens at the configured URLs; the dry run still succeeds."""
    result = receiver("route", "--config", config, "severity=info", REDIS_URL="redis://127.0.0.1:1/0")
    assert result.exit_code == 0


def test_a_severity_alias_is_understood(config: Path) -> None:
    result = receiver("route", "--config", config, "severity=P1", "team=web", "--json")
    body = json.loads(result.stdout)
    assert (body["route"], body["severity"], body["warnings"]) == ("#alerts-critical", "critical", [])
    config.write_text(f"{ROUTING}severities: {{critical: [störung]}}\n")
    body = json.loads(receiver("route", "--config", config, "severity=STÖRUNG", "team=web", "--json").stdout)
    assert (body["route"], body["severity"]) == ("#alerts-critical", "critical")


def test_a_critical_route_without_pages_is_a_warning(config: Path) -> None:
    result = receiver("route", "--config", config, "severity=page", "team=mail")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == (
        "warning: it is critical, but route #alerts-info has no escalation: nobody is paged"
    )


def test_an_unknown_severity_is_a_warning(config: Path) -> None:
    result = receiver("route", "--config", config, "severity=wobbly")
    assert result.exit_code == 0
    assert 'warning: unknown severity "wobbly": it counts as none' in result.stdout
    body = json.loads(receiver("route", "--config", config, "severity=wobbly", "--json").stdout)
    assert body["severity"] == "none"
    assert body["warnings"][0].startswith('unknown severity "wobbly"')


@pytest.mark.parametrize("label", ["severity=none", "severity=", "severity=warning", "team=web"])
def test_a_missing_severity_is_no_warning(config: Path, label: str) -> None:
    assert "warning:" not in receiver("route", "--config", config, label).stdout

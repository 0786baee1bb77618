"""`receiver check --online`: the requests to the services, and the faults and warnings from their responses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from receiver.cli import vendor_probes
from tests.cli.invoke import receiver
from tests.cli.stub import Stub
from tests.mocks.openid import MockProvider
from tests.mocks.slack import MockSlack

KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "xoxb-s3cret-t0ken"
ROUTING = """\
version: 1
responders:
  on-call: {pagerduty: {routing_key: "${ONCALL_KEY}"}}
escalations:
  critical: [{notify: on-call}]
notices: {channel: "#monitoring"}
routes:
  - {match: [], channel: "#alerts-critical", escalation: critical, fallback: "#alerts-info"}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "routing.yaml"
    file.write_text(ROUTING)
    return file


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def channels(*names: str, **changes: Any) -> dict[str, Any]:
    listed = [{"id": f"C0{n:06}", "name": name, "is_member": True} | changes for n, name in enumerate(names)]
    return {"ok": True, "channels": listed, "response_metadata": {"next_cursor": ""}}


def check_slack(stub: Stub) -> Result:
    return receiver("check", "--online", SLACK_BOT_TOKEN=TOKEN, SLACK_API_URL=f"{stub.url}/api/")


def test_the_openid_provider_is_checked(config: Path) -> None:
    home = {"PUBLIC_URL": "https://ops.example"}
    with MockProvider(redirect_uri="https://ops.example/sign-in/callback") as provider:
        result = receiver("check", "--online", **provider.environ, **home)
        assert f"ok: {provider.url} has people sign in; https://ops.example/sign-in/callback" in result.stdout
        provider.published = []
        result = receiver("check", "--online", **provider.environ, **home)
        assert result.exit_code == 1
        assert "environment:1: the provider of OIDC_ISSUER can't be asked: it names no key" in result.stdout


AUTH = "GET /api/auth.test"
LIST = "GET /api/conversations.list"
GREETING = {"ok": True, "user": "receiver", "team": "Acme"}
NAMES = ("alerts-critical", "alerts-info", "monitoring")


def test_without_settings_there_is_nothing_to_check(config: Path) -> None:
    result = receiver("check", "--online", "--config", config)
    assert result.exit_code == 0
    assert "ok: nothing to try online" in result.stdout


@pytest.mark.usefixtures("config")
def test_a_slack_with_all_channels_passes(stub: Stub) -> None:
    stub.set_response(AUTH, GREETING)
    stub.set_response(LIST, channels(*NAMES))
    result = check_slack(stub)
    assert result.exit_code == 0
    assert "ok: Slack takes the token: receiver in Acme" in result.stdout
    assert all(f"ok: Slack has #{name}\n" in result.stdout for name in NAMES)
    assert stub.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.usefixtures("config")
def test_the_mock_slack_passes() -> None:
    with MockSlack() as slack:
        result = receiver("check", "--online", SLACK_BOT_TOKEN=TOKEN, SLACK_API_URL=slack.url)
    assert "ok: Slack takes the token" in result.stdout
    assert "ok: Slack has #alerts-critical" in result.stdout


def name_responders(config: Path, *names: str) -> None:
    listed = ", ".join(f'"{name}"' for name in names)
    config.write_text(ROUTING + f'slack: {{responders: [{listed}], token: "${{SLACK_BOT_TOKEN}}"}}\n')


def test_the_responders_of_slack_are_looked_up(config: Path) -> None:
    name_responders(config, "@oncall", "@alice", "U0ALICE1", "#alerts-critical")
    with MockSlack() as slack:
        slack.add_usergroup("S0ONCALL", "OnCall")
        result = receiver("check", "--online", SLACK_BOT_TOKEN=TOKEN, SLACK_API_URL=slack.url)
    assert all(
        f"ok: {name} may answer in Slack" in result.stdout for name in ("@oncall", "@alice", "U0ALICE1")
    )


@pytest.mark.parametrize("name", ["@oncal", "@gone", "#alerts-critcal"])
def test_an_unknown_slack_responder_is_a_fault(config: Path, name: str) -> None:
    name_responders(config, name)
    with MockSlack() as slack:
        slack.add_usergroup("S0ONCALL", "oncall")
        slack.add_user("U0GONE", "gone", deleted=True)
        result = receiver("check", "--online", SLACK_BOT_TOKEN=TOKEN, SLACK_API_URL=slack.url)
    assert result.exit_code == 1
    assert f"slack.responders: Slack shows no {name}" in result.stdout


def test_responders_are_a_warning_if_slack_does_not_list_its_users(config: Path, stub: Stub) -> None:
    name_responders(config, "@oncall")
    stub.set_response(AUTH, GREETING)
    stub.set_response(LIST, channels(*NAMES))
    stub.set_response("GET /api/usergroups.list", {"ok": False, "error": "missing_scope"})
    result = check_slack(stub)
    assert result.exit_code == 0
    assert "whether there is @oncall can't be told" in result.stdout


@pytest.mark.usefixtures("config")
def test_a_refused_token_is_a_fault_that_does_not_show_it(stub: Stub) -> None:
    stub.set_response(AUTH, {"ok": False, "error": "invalid_auth"})
    result = check_slack(stub)
    assert result.exit_code == 1
    assert "routing.yaml:1: Slack refuses slack.token: invalid_auth, expected a bot's token" in result.stdout
    assert "s3cret" not in result.output


@pytest.mark.usefixtures("config")
def test_a_missing_channel_is_a_fault(stub: Stub) -> None:
    stub.set_response(AUTH, GREETING)
    stub.set_response(LIST, channels(*NAMES[:2]))
    result = check_slack(stub)
    assert result.exit_code == 1
    assert "routing.yaml:1: Slack shows no channel #monitoring" in result.stdout


@pytest.mark.usefixtures("config")
def test_channels_are_searched_on_every_page(stub: Stub) -> None:
    stub.set_response(AUTH, GREETING)
    first = channels(*NAMES[:2]) | {"response_metadata": {"next_cursor": "c="}}
    stub.set_response(LIST, first, channels(NAMES[2]))
    assert check_slack(stub).exit_code == 0
    assert stub.requests[-1].query["cursor"] == "c="


@pytest.mark.usefixtures("config")
def test_a_bot_that_is_no_member_of_its_channel_is_a_warning_unless_it_may_post_anywhere(stub: Stub) -> None:
    stub.set_response(LIST, channels(*NAMES, is_member=False))
    stub.set_response(AUTH, GREETING)
    result = check_slack(stub)
    assert result.exit_code == 0
    assert "warning: routing.yaml:1: the bot is not in #monitoring" in result.stdout
    stub.set_response(AUTH, GREETING, X_OAuth_Scopes="chat:write,chat:write.public,channels:read")
    assert "not in #monitoring" not in check_slack(stub).stdout


@pytest.mark.usefixtures("config")
def test_a_token_that_may_not_post_is_a_fault(stub: Stub) -> None:
    stub.set_response(AUTH, GREETING, X_OAuth_Scopes="channels:read")
    stub.set_response(LIST, channels(*NAMES))
    assert "lacks the scope chat:write" in check_slack(stub).stdout


@pytest.mark.usefixtures("config")
def test_a_token_that_may_not_list_channels_is_a_warning_with_the_scope(stub: Stub) -> None:
    stub.set_response(AUTH, GREETING)
    stub.set_response(LIST, {"ok": False, "error": "missing_scope", "needed": "channels:read"})
    result = check_slack(stub)
    assert result.exit_code == 0
    assert (
        "Slack says missing_scope (needed: channels:read), expected the scopes channels:read" in result.stdout
    )


@pytest.mark.usefixtures("config")
def test_a_channel_may_be_private_where_private_ones_cannot_be_listed(stub: Stub) -> None:
    stub.set_response(AUTH, GREETING)
    stub.set_response(
        LIST, {"ok": False, "error": "missing_scope", "needed": "groups:read"}, channels(*NAMES[:2])
    )
    result = check_slack(stub)
    assert result.exit_code == 0
    assert "warning: routing.yaml:1: Slack shows no public channel #monitoring" in result.stdout
    assert stub.requests[-1].query["types"] == "public_channel"


@pytest.mark.usefixtures("config")
def test_a_server_that_is_not_slack_is_reported(stub: Stub) -> None:
    stub.set_response(AUTH, b"<html>", status=502)
    result = check_slack(stub)
    assert result.exit_code == 1
    assert "(status 502) is not Slack" in result.stdout


@pytest.mark.usefixtures("config")
def test_pagerdutys_token_is_checked_and_its_routing_keys_are_not(stub: Stub) -> None:
    stub.set_response("GET /abilities", {"abilities": []})
    addresses = {"PAGERDUTY_API_URL": stub.url, "PAGERDUTY_EVENTS_URL": stub.url}
    result = receiver("check", "--online", PAGERDUTY_API_TOKEN="api-t0ken", ONCALL_KEY=KEY, **addresses)
    assert result.exit_code == 0
    assert "1 routing key is not tried, since that would page somebody" in result.stdout
    assert "ok: PagerDuty takes the API token" in result.stdout
    assert stub.requests[-1].headers["Authorization"] == "Token token=api-t0ken"
    assert all(asked.method == "GET" and KEY not in str(asked.headers) for asked in stub.requests)


def a_service(**changes: Any) -> dict[str, Any]:
    """Return a service in the form of PagerDuty's list, with the integration of on-call's routing key."""
    key = {"type": "events_api_v2_inbound_integration", "integration_key": KEY}
    service = {"id": "PSVC1", "summary": "Payments", "status": "active", "auto_resolve_timeout": None}
    return {**service, "integrations": [key], **changes}


def check_services(
    stub: Stub, *services: dict[str, Any], windows: list[dict[str, Any]] | None = None
) -> Result:
    stub.set_response("GET /abilities", {"abilities": []})
    stub.set_response("GET /services", {"services": list(services), "more": False})
    stub.set_response("GET /maintenance_windows", {"maintenance_windows": windows or [], "more": False})
    addresses = {"PAGERDUTY_API_URL": stub.url, "PAGERDUTY_EVENTS_URL": stub.url}
    return receiver("check", "--online", PAGERDUTY_API_TOKEN="api-t0ken", ONCALL_KEY=KEY, **addresses)


@pytest.mark.usefixtures("config")
def test_an_active_service_passes(stub: Stub) -> None:
    result = check_services(stub, a_service(integrations=[]), a_service())
    assert result.exit_code == 0
    assert "ok: PagerDuty's service 'Payments' of on-call is enabled, and resolves nothing" in result.stdout
    assert KEY not in result.output


@pytest.mark.usefixtures("config")
def test_a_disabled_service_is_a_fault(stub: Stub) -> None:
    result = check_services(stub, a_service(status="disabled"))
    assert result.exit_code == 1
    assert "routing.yaml:1: PagerDuty's service 'Payments' of on-call is disabled" in result.stdout


@pytest.mark.usefixtures("config")
def test_auto_resolve_is_a_warning(stub: Stub) -> None:
    result = check_services(stub, a_service(auto_resolve_timeout=14400))
    assert result.exit_code == 0
    assert "resolves its incidents after 4h (auto_resolve_timeout)" in result.output


@pytest.mark.usefixtures("config")
def test_current_and_future_maintenance_windows_are_warnings(stub: Stub) -> None:
    window = {
        "start_time": "2026-11-23T12:00:00Z",
        "end_time": "2026-11-23T14:00:00Z",
        "services": [{"id": "PSVC1", "type": "service_reference"}],
    }
    result = check_services(stub, a_service(), windows=[window])
    assert result.exit_code == 0
    assert "is in a maintenance window until 2026-11-23T14:00:00Z" in result.output
    assert "will be in a maintenance window from 2026-11-23T12:00:00Z" in result.output
    result = check_services(stub, a_service(), windows=[{**window, "services": [{"id": "PSVC2"}]}])
    assert "maintenance window" not in result.output


@pytest.mark.usefixtures("config")
def test_a_key_of_no_service_is_a_warning(stub: Stub) -> None:
    result = check_services(stub, a_service(integrations=[{"integration_key": "f" * 32}]))
    assert result.exit_code == 0
    assert "no PagerDuty service that the API token may see has the routing key of on-call" in result.output
    assert KEY not in result.output


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("body", [b"<html>", {"services": "x"}, {"services": [None, {"integrations": 7}]}])
def test_services_that_can_not_be_loaded_are_a_warning(stub: Stub, body: Any) -> None:
    stub.set_response("GET /abilities", {"abilities": []})
    stub.set_response("GET /services", body)
    addresses = {"PAGERDUTY_API_URL": stub.url, "PAGERDUTY_EVENTS_URL": stub.url}
    result = receiver("check", "--online", PAGERDUTY_API_TOKEN="api-t0ken", ONCALL_KEY=KEY, **addresses)
    assert result.exit_code == 0
    assert "warning" in result.output


@pytest.mark.usefixtures("config")
def test_a_token_that_pagerduty_refuses_is_a_fault(stub: Stub) -> None:
    stub.set_response("GET /abilities", {"error": {}}, status=401)
    result = receiver("check", "--online", PAGERDUTY_API_TOKEN="api-t0ken", PAGERDUTY_API_URL=stub.url)
    assert result.exit_code == 1
    assert "routing.yaml:1: PagerDuty refuses pagerduty.api_token" in result.stdout
    assert "t0ken" not in result.output


@pytest.mark.usefixtures("config")
def test_alertmanager_and_prometheus_are_checked(stub: Stub) -> None:
    stub.set_response("GET /am/api/v2/status", {"cluster": {}, "versionInfo": {"version": "0.27.0"}})
    stub.set_response("GET /-/healthy", b"Healthy")
    result = receiver("check", "--online", ALERTMANAGER_URL=f"{stub.url}/am", PROMETHEUS_URL=stub.url)
    assert result.exit_code == 0
    assert f"ok: Alertmanager 0.27.0 answers at {stub.url}/am\n" in result.stdout
    assert f"ok: Prometheus answers at {stub.url}" in result.stdout


@pytest.mark.usefixtures("config")
def test_unknown_severities_of_prometheus_rules_are_warnings(stub: Stub) -> None:
    rules = [
        ("A", "wobbly"),
        ("B", "wobbly"),
        ("C", "page"),
        ("D", ""),
        ("E", "{{ $labels.x }}"),
        ("F", "none"),
    ]
    found = [{"type": "alerting", "name": name, "labels": {"severity": word}} for name, word in rules]
    stub.set_response("GET /-/healthy", b"Prometheus Server is Healthy.")
    stub.set_response("GET /api/v1/rules", {"status": "success", "data": {"groups": [{"rules": found}]}})
    result = receiver("check", "--online", PROMETHEUS_URL=stub.url)
    assert result.exit_code == 0
    assert """Prometheus' rule A has the unknown severity "wobbly", expected a known one""" in result.stdout
    assert result.stdout.count("unknown severity") == 1


@pytest.mark.usefixtures("config")
def test_another_server_at_alertmanagers_url_and_an_unhealthy_prometheus_are_faults(stub: Stub) -> None:
    stub.set_response("GET /api/v2/status", {"status": "success"})
    stub.set_response("GET /-/healthy", b"", status=503)
    address = stub.url.replace("//", "//ana:pass@")
    result = receiver("check", "--online", ALERTMANAGER_URL=address, PROMETHEUS_URL=address)
    assert result.exit_code == 1
    assert "(status 200) is no Alertmanager" in result.stdout
    assert "is not healthy (status 503)" in result.stdout
    assert "2 faults" in result.stdout
    assert "pass@" not in result.output


@pytest.mark.usefixtures("config")
def test_unavailable_services_are_faults_that_name_their_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor_probes, "TIMEOUT_S", 0.5)
    with Stub() as gone:
        url = gone.url
    redis = url.replace("http", "redis").replace("//", "//:p4ssw0rd@")
    result = receiver(
        "check",
        "--online",
        REDIS_URL=redis,
        SLACK_BOT_TOKEN=TOKEN,
        SLACK_API_URL=url,
        PAGERDUTY_EVENTS_URL=url,
        ONCALL_KEY=KEY,
        ALERTMANAGER_URL=url,
        PROMETHEUS_URL=url,
    )
    assert result.exit_code == 1
    assert "environment:1: REDIS_URL can't be used: " in result.stdout
    assert result.stdout.count("connection refused") == 4
    assert "5 faults" in result.stdout
    assert "p4ssw0rd" not in result.output


def test_faults_of_the_file_are_reported_without_any_request(config: Path, stub: Stub) -> None:
    config.write_text("version: 2\n")
    assert receiver("check", "--online", ALERTMANAGER_URL=stub.url).exit_code == 1
    assert stub.requests == []

"""A secret in every setting that can contain one appears in no output."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver import logs
from receiver.app.channels import build_slack_interactions
from receiver.app.worker import build_reconcilers
from receiver.config.routing_loader import load_routing
from receiver.config.settings import load_settings
from receiver.logs import JsonFormatter, hide_secrets
from tests.cli.running import call
from tests.mocks.openid import MockProvider
from tests.rig import ROUTING, Rig

CANARY = "c4n4ry"
AWAY = f"127.0.0.1:1/{CANARY[::-1]}"  # nothing listens there
PAGER_KEY = f"{CANARY}0123456789abcdef0123456789"

ENVIRON = {
    "SLACK_SIGNING_SECRET": f"{CANARY}-signing",
    "SLACK_APP_TOKEN": f"xapp-{CANARY}",
    "PAGERDUTY_API_TOKEN": f"{CANARY}-rest",
    "PAGERDUTY_WEBHOOK_SECRET": f"{CANARY}-webhook",
    "PAGERDUTY_TEAM_LEAD_KEY": PAGER_KEY,
    "RECEIVER_WEBHOOK_TOKEN": f"{CANARY}-hook,{CANARY}-hook-next",
    "RECEIVER_API_TOKEN": f"{CANARY}-api,{CANARY}-api-next",
    "RECEIVER_VIEWER_TOKEN": f"{CANARY}-viewer",
    "OIDC_ISSUER": "http://127.0.0.1:1",
    "OIDC_CLIENT_ID": "the-receiver",
    "OIDC_CLIENT_SECRET": f"{CANARY}-client",
    "PUBLIC_URL": "http://127.0.0.1:9",
    "ALERTMANAGER_URL": f"http://me:{CANARY}-am@{AWAY}",
    "PROMETHEUS_URL": f"http://me:{CANARY}-prom@{AWAY}",
    "PAGERDUTY_API_URL": f"http://me:{CANARY}-pd@{AWAY}",
    "HEARTBEAT": f"http://127.0.0.1:1/{CANARY}-beat",
}
SECRETS_IN_FILE = 'heartbeat_url: "${HEARTBEAT}"\npagerduty: {api_token: "${PAGERDUTY_API_TOKEN}"}\n'
API = {"Authorization": f"Bearer {CANARY}-api"}
HOOK = {"Authorization": f"Bearer {CANARY}-hook"}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that any logger writes, in its final form."""
    stream, root, known = io.StringIO(), logging.getLogger(), set(logs._secrets)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(before)
    root.removeHandler(handler)
    logs._secrets.clear()
    logs._secrets.update(known)


@pytest.fixture
def rig_with_canaries(rig: Rig, log: io.StringIO) -> Rig:
    """The whole receiver with a canary value in every secret, and the log as the CLI configures it."""
    rig.environ |= {**ENVIRON, "SLACK_BOT_TOKEN": f"xoxb-{CANARY}"}
    rig.configure(ROUTING + SECRETS_IN_FILE)
    hide_secrets(rig.services.settings, rig.services.routing)
    return rig


def test_no_value_prints_a_secret(rig_with_canaries: Rig) -> None:
    reconcilers, interactions = (
        build_reconcilers(rig_with_canaries.services),
        build_slack_interactions(rig_with_canaries.services),
    )
    for thing in (
        rig_with_canaries.services,
        rig_with_canaries.services.settings,
        rig_with_canaries.services.routing,
        reconcilers,
        interactions,
    ):
        assert CANARY not in repr(thing) + str(thing)
    for responder in rig_with_canaries.services.routing.responders.values():
        assert CANARY not in repr(responder)


def test_no_response_page_metric_or_log_contains_a_secret(rig_with_canaries: Rig, log: io.StringIO) -> None:
    body = rig_with_canaries.payload(rig_with_canaries.alert("DiskFull"))
    answer = rig_with_canaries.client.post("/webhooks/alertmanager", json=body, headers=HOOK)
    incident = answer.json["incidents"][0]
    rig_with_canaries.passes("11m")
    texts = [answer.text]
    client = rig_with_canaries.client.application.test_client(use_cookies=False)
    post, get = client.post, client.get
    for headers in (
        API,
        {"Authorization": f"Bearer {CANARY}-wrong"},
        {"Authorization": f"Basic {CANARY}"},
        {"Authorization": f"Bearer {CANARY}-viewer"},
        {"Cookie": f"receiver_session={CANARY}; receiver_sign_in={CANARY}"},
        {},
    ):
        paths = ["/", f"/incidents/{incident}", "/metrics", "/nothing", "/runbooks/x", "/readyz"]
        paths += ["/sign-in", f"/sign-in/callback?code={CANARY}&state={CANARY}", "/sign-in?by=token"]
        reads = (f"incidents/{incident}", "incidents", "history", "openapi.json", "runbooks/x")
        paths += [f"/api/v1/{path}" for path in reads]
        texts += [get(path, headers=headers).text for path in paths]
        verbs = ("acknowledge", "silence", "snooze", "resolve")
        asked = [f"/api/v1/incidents/{incident}/{verb}" for verb in verbs]
        texts += [post(path, json={"for": "1h"}, headers=headers).text for path in asked]
        hooks = ("alertmanager", "pagerduty", "slack/commands", "slack/interactions")
        texts += [post(f"/webhooks/{hook}", data=b"{", headers=headers).text for hook in hooks]
    rig_with_canaries.passes("11m")
    assert {incident.routing_key for incident in rig_with_canaries.pagerduty.opened()} >= {PAGER_KEY}
    text = "\n".join(texts) + repr(rig_with_canaries.visible_output()[0])
    assert CANARY not in text
    assert CANARY not in log.getvalue()
    assert log.getvalue()


def test_a_login_shows_no_secret(rig_with_canaries: Rig, log: io.StringIO) -> None:
    """For a successful login, a provider that refuses our client, and one that echoes the request."""
    back = "http://127.0.0.1:9/sign-in/callback"
    with MockProvider(redirect_uri=back, clock=rig_with_canaries.clock) as provider:
        provider.client_secret = f"{CANARY}-client"
        rig_with_canaries.environ["OIDC_ISSUER"] = provider.url
        rig_with_canaries.configure(ROUTING + SECRETS_IN_FILE)
        texts = []
        echoes: list[tuple[int, Any]] = [
            (401, {"error": f"{CANARY}-client"}),
            (400, {"error": f"{CANARY}-client"}),
            (400, {"error": "invalid_grant", "error_description": f"{CANARY}-client"}),
            (200, {"access_token": CANARY, "id_token": CANARY}),
            (500, {"error": CANARY}),
        ]
        for fault in (None, *echoes):
            provider.faults = {"/token": fault} if fault else {}
            begun = rig_with_canaries.client.get("/sign-in", headers={"Accept": "text/html"})
            address = provider.signs_in(begun.headers["Location"], "alice").removeprefix("http://127.0.0.1:9")
            answer = rig_with_canaries.client.get(address, headers={"Accept": "text/html"})
            texts += [begun.text, str(begun.headers), answer.text, str(answer.headers)]
            texts.append(rig_with_canaries.client.get("/", headers={"Accept": "text/html"}).text)
        assert "alice" in texts[4]
    assert CANARY not in "\n".join(texts)
    assert CANARY not in log.getvalue()
    assert "signed in" in log.getvalue()


def test_an_unavailable_redis_does_not_reveal_its_password(rig_with_canaries: Rig, log: io.StringIO) -> None:
    rig_with_canaries.environ["REDIS_URL"] = f"redis://me:{CANARY}-redis@127.0.0.1:1/0"
    rig_with_canaries.configure(ROUTING + SECRETS_IN_FILE)
    answer = rig_with_canaries.client.post(
        "/webhooks/alertmanager", json=rig_with_canaries.payload(rig_with_canaries.alert("A")), headers=HOOK
    )
    assert answer.status_code == 503
    for path in ("/", "/readyz", "/metrics"):
        answer = rig_with_canaries.client.get(path, headers=API)
        assert answer.status_code == 503
        assert CANARY not in answer.text
    assert CANARY not in repr(rig_with_canaries.services)
    assert CANARY not in log.getvalue()


def test_a_url_in_the_error_of_a_library_is_masked(log: io.StringIO) -> None:
    """The URL may be quoted completely, without its scheme, or with the decoded password."""
    settings = load_settings({"ALERTMANAGER_URL": f"http://me:{CANARY}%21pass@am:9093"})
    hide_secrets(settings)
    for text in (settings.alertmanager_url, f"me:{CANARY}%21pass@am", f"password {CANARY}!pass refused"):
        error = ConnectionError(text)
        logging.getLogger("library").error("could not connect to %s", text, exc_info=error)
    assert CANARY not in log.getvalue()


def test_heartbeat_url_is_a_secret(tmp_path: Path, log: io.StringIO) -> None:
    path = tmp_path / "routing.yaml"
    path.write_text(
        f'version: 1\nroutes: [{{channel: "#a"}}]\nheartbeat_url: https://beat.example/{CANARY}\n'
    )
    hide_secrets(load_routing(path, {}))
    logging.getLogger("library").error("no answer from https://beat.example/%s", CANARY)
    assert CANARY not in log.getvalue()


@pytest.mark.parametrize(
    "arguments", [["check"], ["check", "--online"], ["route", "severity=critical"], ["run"], ["incidents"]]
)
@pytest.mark.parametrize("fault", ["", "colour: red\n"])
def test_no_command_shows_a_secret(tmp_path: Path, arguments: list[str], fault: str) -> None:
    (tmp_path / "routing.yaml").write_text(ROUTING + SECRETS_IN_FILE + fault)
    (tmp_path / "runbooks").mkdir()
    if arguments == ["run"]:
        arguments = ["run", "--listen", "nowhere.invalid:1", "--insecure"]
    environ = {
        **ENVIRON,
        "SLACK_BOT_TOKEN": f"xoxb-{CANARY}",
        "SLACK_API_URL": f"http://me:{CANARY}-slack@{AWAY}",
        "PAGERDUTY_EVENTS_URL": f"http://me:{CANARY}-events@{AWAY}",
        "REDIS_URL": f"redis://me:{CANARY}-redis@127.0.0.1:1/0",
        "RECEIVER_URL": "http://me:" + CANARY + "-receiver@127.0.0.1:1",
    }
    ended = call(tmp_path, *arguments, **environ)
    assert ended.stdout + ended.stderr
    assert CANARY not in ended.stdout + ended.stderr

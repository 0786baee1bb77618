"""Principals and their roles: viewers read, responders make changes; and how a principal is identified."""

from __future__ import annotations

import logging
import random
import re
from base64 import b64encode
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from receiver.web.app import create_app
from receiver.web.auth.guard import ALERTS_API
from receiver.web.auth.principal import name_attribute
from tests.mocks.openid import MockProvider
from tests.rig import ROUTING, Rig
from tests.web.auth.signing_in import (
    API,
    BASE_URL,
    CALLBACK,
    HOOK,
    HTML,
    browse,
    configure,
    opens,
    signs_in,
    submits,
)

PROXY = {"REMOTE_ADDR": "10.0.0.5"}
VIEWER = {"Authorization": "Bearer viewer-token"}


def set_up(rig: Rig, **environ: str) -> None:
    rig.environ |= {
        "RECEIVER_API_TOKEN": "api-token",
        "RECEIVER_WEBHOOK_TOKEN": "hook-token",
        "PUBLIC_URL": BASE_URL,
        **environ,
    }
    rig.configure(ROUTING)
    rig.client = create_app(rig.services, rate_limits=None).test_client()


def behind_proxy(rig: Rig, **environ: str) -> None:
    set_up(
        rig,
        **{
            "RECEIVER_TRUSTED_PROXY": "10.0.0.5, 10.1.0.0/16, fd00::/8",
            "RECEIVER_USER_HEADER": "X-Forwarded-User",
            "RECEIVER_GROUPS_HEADER": "X-Forwarded-Groups",
            **environ,
        },
    )


def fires(rig: Rig) -> str:
    body = rig.payload(rig.alert("DiskFull"))
    incident = str(rig.client.post("/webhooks/alertmanager", json=body, headers=HOOK).json["incidents"][0])
    rig.works()
    return incident


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


# --- viewers ---


@pytest.fixture
def viewed(rig: Rig) -> Rig:
    set_up(rig, RECEIVER_VIEWER_TOKEN="viewer-token,viewer-next")
    return rig


@pytest.mark.parametrize("token", ["viewer-token", "viewer-next"])
def test_a_viewers_token_reads_everything(viewed: Rig, token: str) -> None:
    incident = fires(viewed)
    for path in ("/", f"/incidents/{incident}", "/history", "/routing", "/metrics", "/api/v1/incidents"):
        for headers in ({"Authorization": f"Bearer {token}"}, basic("dashboard", token)):
            assert viewed.client.get(path, headers=headers).status_code == 200


def test_a_viewers_token_is_refused_for_every_change(viewed: Rig) -> None:
    """Checked for every existing route, so that a new one can't be forgotten."""
    incident = fires(viewed)
    refused = 0
    for rule in create_app(viewed.services, rate_limits=None).url_map.iter_rules():
        for method in (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}:
            if rule.rule.startswith("/webhooks/") or rule.rule == ALERTS_API:
                continue
            path = re.sub(r"<[^>]+>", incident, rule.rule)
            response = viewed.client.open(path, method=method, json={}, headers=VIEWER)
            assert response.status_code == 403, path
            assert response.json["error"] == {
                "type": "forbidden",
                "message": "this token only reads; one of RECEIVER_API_TOKEN may answer, too",
            }
            refused += 1
    assert refused >= 12
    assert not viewed.services.incidents.load_incident(incident).acknowledged_at


def test_a_viewers_token_is_refused_for_webhooks(viewed: Rig) -> None:
    for path in ("/webhooks/alertmanager", ALERTS_API):
        response = viewed.client.post(path, json=viewed.payload(), headers=VIEWER)
        assert response.status_code == 401


def test_a_viewer_sees_no_button_that_would_be_refused(viewed: Rig) -> None:
    viewed.configure(ROUTING + 'alertmanager: {url: "http://127.0.0.1:1"}\n')
    viewed.pagerduty.routing_keys = []
    incident = fires(viewed)
    viewed.passes("1m")
    paths = ["/", f"/incidents/{incident}", "/routing?labels=alertname%3DA"]
    buttons = [
        "Acknowledge",
        "Resolve",
        "Silence</button>",
        "Send again",
        "Send this as a test alert",
        "Page nobody",
    ]
    compare_pages(viewed, paths, buttons)
    viewed.client.post("/api/v1/maintenance", json={"for": "1h"}, headers=API)
    compare_pages(viewed, ["/", "/history", "/runbooks"], ["End it"])


def test_a_viewer_of_a_storm_sees_no_button_either(viewed: Rig) -> None:
    viewed.configure(ROUTING + "limits: {}\n")
    for n in range(60):
        alert = viewed.alert(f"Alert{n}")
        body = viewed.payload(alert, group={"host": str(n)})
        assert viewed.client.post("/webhooks/alertmanager", json=body, headers=HOOK).status_code == 200
    viewed.passes("20s")
    storms = viewed.client.get("/api/v1/storms", headers=API).json["storms"]
    assert storms
    compare_pages(viewed, [f"/storms/{storms[0]['id']}"], ["Acknowledge all"])


def compare_pages(rig: Rig, paths: list[str], buttons: list[str]) -> None:
    """Load pages with both tokens: a responder sees each of *buttons* on some page, a viewer sees none."""
    theirs = [rig.client.get(path, headers={**HTML, **basic("bob", "viewer-token")}).text for path in paths]
    assert all('bob <span class="mark">viewer</span>' in page for page in theirs)
    assert 'method="post"' not in "".join(theirs)
    ours = "".join(rig.client.get(path, headers={**HTML, **API}).text for path in paths)
    assert [words for words in buttons if words not in ours] == []


def test_a_form_submitted_by_a_viewer_is_refused_with_a_message(viewed: Rig) -> None:
    incident = fires(viewed)
    response = viewed.client.post(f"/incidents/{incident}/acknowledge", headers={**HTML, **VIEWER})
    assert response.status_code == 403
    assert "<h1>You may only read</h1>" in response.text
    assert not viewed.services.incidents.load_incident(incident).acknowledged_at


def test_every_page_names_the_principal(viewed: Rig) -> None:
    shown = {
        'alice <span class="mark">responder</span>': basic("alice", "api-token"),
        'somebody with a token <span class="mark">responder</span>': API,
        'somebody with a token <span class="mark">viewer</span>': VIEWER,
    }
    for words, headers in shown.items():
        for path in ("/", "/history", "/runbooks", "/routing", "/incidents/none"):
            assert words in viewed.client.get(path, headers={**HTML, **headers}).text


def test_without_authentication_every_client_is_a_responder(rig: Rig) -> None:
    page = rig.client.get("/", headers=HTML).text
    assert 'somebody <span class="mark">responder</span>' in page
    assert "Page nobody" in page


# --- a trusted proxy ---


def proxy_headers(name: str, groups: str = "") -> dict[str, str]:
    return {"X-Forwarded-User": name, **({"X-Forwarded-Groups": groups} if groups else {})}


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        ("10.0.0.5", 200),
        ("10.1.255.1", 200),
        ("::ffff:10.0.0.5", 200),
        ("fd00::1", 200),
        ("fd00::1%eth0", 200),
        ("10.0.0.6", 401),
        ("10.2.0.1", 401),
        ("127.0.0.1", 401),
        ("::1", 401),
        ("", 401),
        ("unix:", 401),
    ],
)
def test_the_user_header_is_accepted_only_from_a_trusted_proxy(rig: Rig, peer: str, status: int) -> None:
    """Loopback is trusted only if it is listed; a client without an address never is."""
    behind_proxy(rig)
    forwarded = {"X-Forwarded-For": "10.0.0.5", "X-Real-IP": "10.0.0.5", "Forwarded": "for=10.0.0.5"}
    response = rig.client.get(
        "/", headers={**proxy_headers("alice"), **forwarded}, environ_base={"REMOTE_ADDR": peer}
    )
    assert response.status_code == status


def test_without_the_setting_the_header_is_ignored(rig: Rig) -> None:
    set_up(rig)
    assert rig.client.get("/", headers=proxy_headers("alice"), environ_base=PROXY).status_code == 401


def test_loopback_may_be_listed(rig: Rig) -> None:
    behind_proxy(rig, RECEIVER_TRUSTED_PROXY="127.0.0.1,::1")
    assert rig.client.get("/", headers=proxy_headers("alice")).status_code == 200
    assert rig.client.get("/").status_code == 401


@pytest.mark.parametrize("name", ["", "  ", "\u200b", "alice,mallory", "alice, alice"])
def test_a_user_header_with_no_name_or_two_names_is_refused(
    rig: Rig, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A forged header that the proxy passes through beside its own arrives joined to it by a comma."""
    behind_proxy(rig)
    headers = {"X-Forwarded-User": name.encode().decode("latin-1")}
    assert rig.client.get("/", headers=headers, environ_base=PROXY).status_code == 401
    assert ("proxy sent several users" in caplog.text) == ("," in name)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("alice", "alice"),
        ("Zoë <b>", "Zoë &lt;b&gt;"),
        ("a" * 200, "a" * 79 + "…"),
        ("a\u202eb", "ab"),
    ],
)
def test_a_name_is_cut_and_escaped(rig: Rig, name: str, shown: str) -> None:
    behind_proxy(rig)
    headers = {**HTML, "X-Forwarded-User": name.encode().decode("latin-1")}
    page = rig.client.get("/", headers=headers, environ_base=PROXY).text
    assert f'{shown} <span class="mark">responder</span>' in page
    assert "Sign out" not in page


def test_the_user_of_the_proxy_is_the_actor_of_a_transition(rig: Rig) -> None:
    behind_proxy(rig)
    incident = fires(rig)
    path = f"/api/v1/incidents/{incident}/acknowledge"
    headers = {**proxy_headers("alice"), **basic("mallory", "what the proxy asked for")}
    response = rig.client.post(path, json={"by": "mallory"}, headers=headers, environ_base=PROXY)
    assert response.status_code == 200
    assert response.json["acknowledged_by"] == "alice"


def test_a_token_has_priority_over_the_proxys_user_header(rig: Rig) -> None:
    """A CLI behind the proxy sends a token and names the user it acts for."""
    behind_proxy(rig, RECEIVER_RESPONDERS="alice")
    incident = fires(rig)
    path = f"/api/v1/incidents/{incident}/acknowledge"
    headers = {**proxy_headers("robot"), **API}
    response = rig.client.post(path, json={"by": "bob"}, headers=headers, environ_base=PROXY)
    assert (response.status_code, response.json["acknowledged_by"]) == (200, "bob")


# --- roles ---

ROLES = [
    # responders, viewers, name, groups -> status of a read request, of a change
    ("", "", "alice", "", 200, 200),
    ("alice", "", "alice", "", 200, 200),
    ("alice", "", "bob", "", 200, 403),
    ("alice, bob", "", "bob", "", 200, 200),
    ("Alice@Example.org", "", "alice@example.ORG", "", 200, 200),
    ("alice", "", "Alice", "", 200, 403),
    ("group:sre", "", "alice", "dev, sre", 200, 200),
    ("group:sre", "", "alice", "dev", 200, 403),
    ("group:sre", "", "sre", "", 200, 403),
    ("sre", "", "alice", "sre", 200, 403),
    ("group:sre", "", "group:sre", "", 200, 403),
    ("alice", "bob", "alice", "", 200, 200),
    ("alice", "bob", "bob", "", 200, 403),
    ("alice", "bob", "carol", "", 403, 403),
    ("alice", "group:dev", "carol", "dev", 200, 403),
]


@pytest.mark.parametrize("case", ROLES, ids=str)
def test_roles_are_assigned_by_names_and_groups(rig: Rig, case: tuple[str, str, str, str, int, int]) -> None:
    responders, viewers, name, groups, reads, answers = case
    behind_proxy(rig, RECEIVER_RESPONDERS=responders, RECEIVER_VIEWERS=viewers)
    incident = fires(rig)
    path, headers = f"/api/v1/incidents/{incident}/acknowledge", proxy_headers(name, groups)
    assert rig.client.get("/", headers=headers, environ_base=PROXY).status_code == reads
    response = rig.client.post(path, json={}, headers=headers, environ_base=PROXY)
    assert response.status_code == answers
    if answers == 403:
        assert name in response.json["error"]["message"]
        assert "RECEIVER_RESPONDERS" in response.json["error"]["message"]
        assert not rig.services.incidents.load_incident(incident).acknowledged_at


@pytest.fixture
def provider(rig: Rig) -> Iterator[MockProvider]:
    with MockProvider(redirect_uri=CALLBACK, clock=rig.clock) as provider:
        provider.people = {
            "alice": {"groups": ["sre", "dev"]},
            "bob": {"groups": "dev", "email": "Bob@example.org", "email_verified": True},
            "carol": {"email": "bob@example.org", "email_verified": False},
            "bob@example.org": {},
            "sre": {"name": "sre", "teams": ["sre"]},
        }
        yield provider


def role_of(client: FlaskClient) -> str:
    found = re.search(r'<span class="mark">(viewer|responder)</span></span>', opens(client, "/").text)
    return found[1] if found else "nobody"


@pytest.mark.parametrize(
    ("responders", "name", "role"),
    [
        ("group:sre", "alice", "responder"),
        ("group:sre", "bob", "viewer"),
        ("group:dev", "bob", "responder"),
        ("group:sre", "sre", "viewer"),
        ("bob", "bob", "responder"),
        ("bob@example.org", "bob", "responder"),
        ("bob@example.org", "carol", "viewer"),
        ("bob@example.org", "bob@example.org", "viewer"),
        ("id-of-bob", "bob", "viewer"),
    ],
)
def test_roles_are_assigned_only_by_claims_that_users_can_not_choose(
    rig: Rig, provider: MockProvider, responders: str, name: str, role: str
) -> None:
    """Not by a display name, nor by an unverified e-mail address or a user name that looks like one."""
    configure(rig, provider, RECEIVER_RESPONDERS=responders)
    client = browse(rig)
    signs_in(client, provider, name)
    assert role_of(client) == role


def test_groups_may_be_in_another_claim(rig: Rig, provider: MockProvider) -> None:
    configure(rig, provider, RECEIVER_RESPONDERS="group:sre", OIDC_GROUPS_CLAIM="teams")
    client = browse(rig)
    signs_in(client, provider, "sre")
    assert role_of(client) == "responder"


def test_a_user_without_a_role_gets_a_message_with_their_name(rig: Rig, provider: MockProvider) -> None:
    configure(rig, provider, RECEIVER_RESPONDERS="alice", RECEIVER_VIEWERS="bob")
    client = browse(rig)
    response = signs_in(client, provider, "carol")
    assert response.status_code == 403
    assert "You are carol and neither in RECEIVER_RESPONDERS nor" in response.text
    assert opens(client, "/").status_code == 303


def test_a_user_removed_from_a_list_loses_the_role_at_once(rig: Rig, provider: MockProvider) -> None:
    configure(rig, provider, RECEIVER_RESPONDERS="group:sre,bob")
    client = browse(rig)
    signs_in(client, provider)
    cookie = client.get_cookie("__Host-receiver_session", domain="ops.example")
    assert cookie is not None
    for viewers, role, status in (("", "viewer", 200), ("carol", "nobody", 403)):
        configure(rig, provider, RECEIVER_RESPONDERS="bob", RECEIVER_VIEWERS=viewers)
        client = browse(rig)
        client.set_cookie(cookie.key, cookie.value, domain="ops.example", secure=True)
        assert role_of(client) == role
        assert opens(client, "/").status_code == status


def test_any_number_of_groups_fits_a_cookie(rig: Rig, provider: MockProvider) -> None:
    """A browser drops a cookie that is too long, so the login would start again for ever."""
    chance = random.Random(1)
    groups = ["".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(90)) for _ in range(100)]
    configure(
        rig,
        provider,
        RECEIVER_RESPONDERS=f"group:{groups[7]}",
        RECEIVER_VIEWERS=",".join(f"group:{group}" for group in groups),
    )
    provider.people["alice"] = {"groups": groups}
    client = browse(rig)
    cookie = signs_in(client, provider).headers["Set-Cookie"]
    assert 500 < len(cookie.split(";")[0]) < 4000
    assert role_of(client) == "responder"


def test_a_signed_in_viewer_can_not_make_changes_by_page_or_api(
    rig: Rig, provider: MockProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    configure(rig, provider, RECEIVER_RESPONDERS="alice")
    rig.client = create_app(rig.services, rate_limits=None).test_client()
    incident, client, responder = fires(rig), browse(rig), browse(rig)
    signs_in(client, provider, "bob")
    signs_in(responder, provider, "alice")
    page = opens(responder, f"/incidents/{incident}").text
    for what in ("acknowledge", "resolve", "silence"):
        response = submits(client, page, f"/incidents/{incident}/{what}")
        assert response.status_code == 403
        assert "You are bob, a viewer, and only read" in response.text
        path = f"/api/v1/incidents/{incident}/{what}"
        assert client.post(path, json={"for": "1h"}, base_url=BASE_URL).status_code == 403
    assert rig.services.incidents.load_incident(incident).state == "open"
    assert "<button" in page
    buttons = re.findall(r"<button[^>]*>([^<]+)", opens(client, f"/incidents/{incident}").text)
    assert buttons == ["Sign out"]
    assert submits(client, opens(client, "/").text, "/sign-out").status_code == 200


def test_email_addresses_are_compared_case_insensitively_in_ascii_only() -> None:
    """Else the Kelvin sign would be lowered to k, and a user could take another user's role."""
    assert name_attribute("Kim@Example.org") == name_attribute("kim@example.org")
    assert name_attribute("\N{KELVIN SIGN}im@example.org") != name_attribute("kim@example.org")
    assert name_attribute("K\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}m@example.org") != name_attribute(
        "kim@example.org"
    )

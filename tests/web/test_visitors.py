"""Visitors and what they may do: viewers read, responders answer, and who says who they are."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest

from receiver.web.app import create_app
from tests.rig import ROUTING, Rig

API = {"Authorization": "Bearer api-token"}
HOOK = {"Authorization": "Bearer hook-token"}
HTML = {"Accept": "text/html,application/xhtml+xml"}
HOME = "https://ops.example"
PROXY = {"REMOTE_ADDR": "10.0.0.5"}
VIEWER = {"Authorization": "Bearer viewer-token"}


def set_up(rig: Rig, **environ: str) -> None:
    rig.environ |= {
        "RECEIVER_API_TOKEN": "api-token",
        "RECEIVER_WEBHOOK_TOKEN": "hook-token",
        "PUBLIC_URL": HOME,
        **environ,
    }
    rig.configure(ROUTING)
    rig.client = create_app(rig.parts).test_client()


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


def test_a_viewers_token_is_refused_whatever_would_change_anything(viewed: Rig) -> None:
    """Asked of every route there is, so that a new one can't be forgotten."""
    incident = fires(viewed)
    refused = 0
    for rule in create_app(viewed.parts).url_map.iter_rules():
        for method in (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}:
            if rule.rule.startswith("/webhooks/"):
                continue
            path = re.sub(r"<[^>]+>", incident, rule.rule)
            answer = viewed.client.open(path, method=method, json={}, headers=VIEWER)
            assert answer.status_code == 403, path
            assert answer.json["error"] == {
                "type": "forbidden",
                "message": "this token only reads; one of RECEIVER_API_TOKEN may answer, too",
            }
            refused += 1
    assert refused >= 12
    assert not viewed.parts.incidents.load(incident).acknowledged_at


def test_a_viewers_token_is_none_for_webhooks(viewed: Rig) -> None:
    answer = viewed.client.post("/webhooks/alertmanager", json=viewed.payload(), headers=VIEWER)
    assert answer.status_code == 401


def test_a_viewer_sees_no_button_that_would_be_refused(viewed: Rig) -> None:
    incident = fires(viewed)
    viewed.client.post("/api/v1/maintenance", json={"for": "1h"}, headers=API)
    paths = ("/", f"/incidents/{incident}", "/routing?labels=alertname%3DA", "/history", "/runbooks")
    for path in paths:
        page = viewed.client.get(path, headers={**HTML, **basic("bob", "viewer-token")}).text
        assert 'bob <span class="mark">viewer</span>' in page
        assert '<form method="post"' not in page
    responder = [viewed.client.get(path, headers={**HTML, **API}).text for path in paths]
    assert ['<form method="post"' in page for page in responder] == [True] * 5  # maintenance can be ended


def test_a_form_that_a_viewer_sends_all_the_same_is_refused_in_words(viewed: Rig) -> None:
    incident = fires(viewed)
    answer = viewed.client.post(f"/incidents/{incident}/acknowledge", headers={**HTML, **VIEWER})
    assert answer.status_code == 403
    assert "<h1>You may only read</h1>" in answer.text
    assert not viewed.parts.incidents.load(incident).acknowledged_at


def test_every_page_says_who_one_is(viewed: Rig) -> None:
    shown = {
        'alice <span class="mark">responder</span>': basic("alice", "api-token"),
        'somebody with a token <span class="mark">responder</span>': API,
        'somebody with a token <span class="mark">viewer</span>': VIEWER,
    }
    for words, headers in shown.items():
        for path in ("/", "/history", "/runbooks", "/routing", "/incidents/none"):
            assert words in viewed.client.get(path, headers={**HTML, **headers}).text


def test_where_nobody_is_asked_everybody_is_a_responder(rig: Rig) -> None:
    page = rig.client.get("/", headers=HTML).text
    assert 'somebody <span class="mark">responder</span>' in page
    assert "Page nobody" in page


# --- a trusted proxy ---


def says(name: str, groups: str = "") -> dict[str, str]:
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
def test_only_the_proxys_own_word_is_believed(rig: Rig, peer: str, status: int) -> None:
    """This machine is trusted only where it is listed, and what has no address never."""
    behind_proxy(rig)
    forwarded = {"X-Forwarded-For": "10.0.0.5", "X-Real-IP": "10.0.0.5", "Forwarded": "for=10.0.0.5"}
    answer = rig.client.get("/", headers={**says("alice"), **forwarded}, environ_base={"REMOTE_ADDR": peer})
    assert answer.status_code == status


def test_without_the_setting_the_header_says_nothing(rig: Rig) -> None:
    set_up(rig)
    assert rig.client.get("/", headers=says("alice"), environ_base=PROXY).status_code == 401


def test_this_machine_may_be_listed(rig: Rig) -> None:
    behind_proxy(rig, RECEIVER_TRUSTED_PROXY="127.0.0.1,::1")
    assert rig.client.get("/", headers=says("alice")).status_code == 200
    assert rig.client.get("/").status_code == 401


@pytest.mark.parametrize("name", ["", "  ", "\u200b", "alice,mallory", "alice, alice"])
def test_a_proxy_that_names_nobody_or_two_lets_nobody_in(
    rig: Rig, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Two headers, one of a stranger whom the proxy let through, reach us as one with a comma."""
    behind_proxy(rig)
    headers = {"X-Forwarded-User": name.encode().decode("latin-1")}
    assert rig.client.get("/", headers=headers, environ_base=PROXY).status_code == 401
    assert ("proxy names more than one" in caplog.text) == ("," in name)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("alice", "alice"),
        ("Zoë <b>", "Zoë &lt;b&gt;"),
        ("a" * 200, "a" * 79 + "…"),
        ("a\u202eb", "ab"),
    ],
)
def test_a_name_is_bounded_and_harmless(rig: Rig, name: str, shown: str) -> None:
    behind_proxy(rig)
    headers = {**HTML, "X-Forwarded-User": name.encode().decode("latin-1")}
    page = rig.client.get("/", headers=headers, environ_base=PROXY).text
    assert f'{shown} <span class="mark">responder</span>' in page
    assert "Sign out" not in page


def test_who_comes_by_the_proxy_answers_by_that_name(rig: Rig) -> None:
    behind_proxy(rig)
    incident = fires(rig)
    path = f"/api/v1/incidents/{incident}/acknowledge"
    headers = {**says("alice"), **basic("mallory", "what the proxy asked for")}
    answer = rig.client.post(path, json={"by": "mallory"}, headers=headers, environ_base=PROXY)
    assert answer.status_code == 200
    assert answer.json["acknowledged_by"] == "alice"


def test_a_token_goes_before_the_proxys_word(rig: Rig) -> None:
    """A command line behind the proxy shows one, and says whom it is for."""
    behind_proxy(rig, RECEIVER_RESPONDERS="alice")
    incident = fires(rig)
    path = f"/api/v1/incidents/{incident}/acknowledge"
    headers = {**says("robot"), **API}
    answer = rig.client.post(path, json={"by": "bob"}, headers=headers, environ_base=PROXY)
    assert (answer.status_code, answer.json["acknowledged_by"]) == (200, "bob")


# --- roles ---

ROLES = [
    # responders, viewers, name, groups -> status of reading, of answering
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
def test_roles_go_by_names_and_groups(rig: Rig, case: tuple[str, str, str, str, int, int]) -> None:
    responders, viewers, name, groups, reads, answers = case
    behind_proxy(rig, RECEIVER_RESPONDERS=responders, RECEIVER_VIEWERS=viewers)
    incident = fires(rig)
    path, headers = f"/api/v1/incidents/{incident}/acknowledge", says(name, groups)
    assert rig.client.get("/", headers=headers, environ_base=PROXY).status_code == reads
    answer = rig.client.post(path, json={}, headers=headers, environ_base=PROXY)
    assert answer.status_code == answers
    if answers == 403:
        assert name in answer.json["error"]["message"]
        assert "RECEIVER_RESPONDERS" in answer.json["error"]["message"]
        assert not rig.parts.incidents.load(incident).acknowledged_at

"""The guard of pages and API: tokens, rate limits, and the origin of requests."""

from __future__ import annotations

import io
import json
import re
from base64 import b64encode

import pytest
from flask import Flask, render_template_string
from flask.testing import FlaskClient

from receiver.web.app import create_app
from receiver.web.auth.guard import RateLimits
from tests.rig import ROUTING, Rig

HOOK = "/webhooks/alertmanager"
WRONG = {"Authorization": "Bearer wrong-token"}
HOOK_TOKEN = {"Authorization": "Bearer hook-token"}
API_TOKEN = {"Authorization": "Bearer api-token"}
HERE = {"REMOTE_ADDR": "192.0.2.1"}


@pytest.fixture
def guarded(rig: Rig) -> Rig:
    rig.environ |= {
        "RECEIVER_WEBHOOK_TOKEN": "hook-token",
        "RECEIVER_API_TOKEN": "api-token,api-next",
        "PUBLIC_URL": "https://ops.example",
    }
    rig.configure(ROUTING)
    rig.client = create_app(rig.services, rate_limits=RateLimits(rig.clock)).test_client()
    return rig


@pytest.fixture
def open_rig(rig: Rig) -> Rig:
    rig.client = create_app(rig.services, rate_limits=RateLimits(rig.clock)).test_client()
    return rig


# --- tokens ---


def test_every_page_and_every_call_requires_a_token(guarded: Rig) -> None:
    """Checked for every existing route, so that a new one can't be forgotten."""
    app = create_app(guarded.services, rate_limits=None)
    open_to_all = set()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "a", rule.rule)
        method = "POST" if "POST" in (rule.methods or ()) else "GET"
        if app.test_client().open(path, method=method).status_code != 401:
            open_to_all.add(rule.rule)
    assert open_to_all == {"/healthz", "/readyz", "/static/<path:filename>"}


def test_no_redirect_uses_the_host_header(guarded: Rig) -> None:
    headers = {**API_TOKEN, "Host": "evil.example"}
    values = 0
    for rule in create_app(guarded.services, rate_limits=None).url_map.iter_rules():
        for path in ("/" + rule.rule, rule.rule + "/", rule.rule.replace("/", "//")):
            response = guarded.client.get(re.sub(r"<[^>]+>", "a", path), headers=headers)
            values += 300 <= response.status_code < 400
            assert "evil" not in response.headers.get("Location", "")
    assert values > 0


def test_an_unknown_path_is_401_without_a_token(guarded: Rig) -> None:
    assert guarded.client.get("/nothing").status_code == 401
    assert guarded.client.get("/nothing", headers=API_TOKEN).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "//",
        "/healthz/../",
        "/static/..%2f",
        "/static/../metrics",
        "/webhooks/..%2fapi/v1/incidents",
        "/metrics;a",
    ],
)
def test_no_spelling_of_a_path_bypasses_the_guard(guarded: Rig, path: str) -> None:
    assert guarded.client.get(path).status_code in (401, 404)


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer \xe9", "Basic", "Basic !!!", "Basic /w==", "Digest a=b", "Bearer a,b=c", ":", "\x00"],
)
def test_malformed_credentials_cause_no_server_error(guarded: Rig, header: str) -> None:
    assert guarded.client.get("/", headers={"Authorization": header}).status_code == 401


def test_a_token_with_non_ascii_characters_is_compared(guarded: Rig) -> None:
    guarded.environ["RECEIVER_API_TOKEN"] = "schlüssel"
    guarded.configure(ROUTING)
    shown = {"Authorization": "Basic " + b64encode("me:schlüssel".encode()).decode()}
    assert guarded.client.get("/", headers=shown).status_code == 200


# --- rate limits ---


def fail(client: FlaskClient, path: str = "/", times: int = 20) -> list[int]:
    return [client.get(path, headers=WRONG, environ_base=HERE).status_code for _ in range(times)]


def test_after_twenty_wrong_tokens_an_address_must_wait(guarded: Rig) -> None:
    assert fail(guarded.client) == [401] * 20
    response = guarded.client.get("/api/v1/incidents", headers=WRONG, environ_base=HERE)
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "3"
    assert response.json["error"]["type"] == "too_many_requests"
    elsewhere = guarded.client.get("/", headers=WRONG, environ_base={"REMOTE_ADDR": "192.0.2.2"})
    assert elsewhere.status_code == 401
    guarded.clock.moment += 60
    assert fail(guarded.client) == [401] * 20


def test_a_valid_token_is_accepted_also_from_an_address_that_failed(guarded: Rig) -> None:
    """Behind one proxy all clients have one address: failures must not lock out Alertmanager."""
    fail(guarded.client, times=100)
    body = guarded.payload(guarded.alert("DiskFull"))
    assert guarded.client.post(HOOK, json=body, headers=HOOK_TOKEN, environ_base=HERE).status_code == 200
    assert guarded.client.get("/", headers=API_TOKEN, environ_base=HERE).status_code == 200


def test_wrong_tokens_of_webhooks_count_as_well(guarded: Rig) -> None:
    for _ in range(20):
        assert guarded.client.post(HOOK, headers=WRONG, environ_base=HERE).status_code == 401
    assert guarded.client.post(HOOK, headers=WRONG, environ_base=HERE).status_code == 429


def test_a_request_without_a_token_is_no_failure(guarded: Rig) -> None:
    for _ in range(50):
        assert guarded.client.get("/", environ_base=HERE).status_code == 401


def test_accepted_webhooks_are_not_rate_limited(open_rig: Rig) -> None:
    body = open_rig.payload(open_rig.alert("DiskFull"))
    assert {open_rig.client.post(HOOK, json=body).status_code for _ in range(400)} == {200}


def test_pages_and_api_accept_fifty_requests_a_second(guarded: Rig) -> None:
    def ask(path: str, count: int) -> list[int]:
        return [
            guarded.client.get(path, headers=API_TOKEN, environ_base=HERE).status_code for _ in range(count)
        ]

    assert set(ask("/api/v1/runbooks/a", 299)) == {404}
    assert ask("/", 2) == [200, 429]
    guarded.clock.moment += 1
    assert ask("/api/v1/runbooks/a", 51) == [404] * 50 + [429]
    assert ask("/metrics", 1) == [200]
    assert guarded.client.get("/healthz", environ_base=HERE).status_code == 200


def test_repeated_sign_ins_without_credentials_do_not_lock_out_a_responder(guarded: Rig) -> None:
    """Behind one proxy all clients have one address."""
    guarded.environ |= {
        "OIDC_ISSUER": "https://id.example",
        "OIDC_CLIENT_ID": "receiver",
        "OIDC_CLIENT_SECRET": "secret",
    }
    guarded.configure(ROUTING)
    client = create_app(guarded.services, rate_limits=RateLimits(guarded.clock)).test_client()
    strange = [client.get("/sign-in/callback?code=x", environ_base=HERE).status_code for _ in range(400)]
    assert strange.count(429) >= 300
    assert client.get("/", headers=API_TOKEN, environ_base=HERE).status_code == 200
    assert client.get("/api/v1/incidents", headers=API_TOKEN, environ_base=HERE).status_code == 200


def test_two_principals_with_one_address_have_separate_rate_limits(guarded: Rig) -> None:
    def ask(name: str, token: str) -> int:
        basic = "Basic " + b64encode(f"{name}:{token}".encode()).decode()
        return guarded.client.get("/", headers={"Authorization": basic}, environ_base=HERE).status_code

    assert 429 in [ask("dashboard", "api-token") for _ in range(310)]
    assert ask("alice", "api-token") == 200
    assert ask("dashboard", "api-next") == 200


def test_a_forwarded_address_is_ignored(guarded: Rig) -> None:
    for n in range(20):
        guarded.client.get("/", headers={**WRONG, "X-Forwarded-For": f"10.0.0.{n}"}, environ_base=HERE)
    assert fail(guarded.client, times=1) == [429]


# --- origin of requests ---

OURS = [
    {},  # as a program sends it
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://ops.example"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "https://ops.example"},
    {"Origin": "http://localhost"},
]
THEIRS = [
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "something-new"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "https://ops.example.evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://[::1"},
]


def acknowledge(rig: Rig, incident: str, headers: dict[str, str]) -> int:
    path = f"/api/v1/incidents/{incident}/acknowledge"
    basic = {"Authorization": "Basic " + b64encode(b"me:api-token").decode()}
    return rig.client.post(path, json={"by": "alice"}, headers={**basic, **headers}).status_code


@pytest.mark.parametrize("headers", OURS, ids=str)
def test_programs_and_our_own_pages_may_change_incidents(guarded: Rig, headers: dict[str, str]) -> None:
    body = guarded.payload(guarded.alert("DiskFull"))
    incident = guarded.client.post(HOOK, json=body, headers=HOOK_TOKEN).json["incidents"][0]
    assert acknowledge(guarded, incident, headers) == 200


@pytest.mark.parametrize("headers", THEIRS, ids=str)
def test_a_foreign_page_may_not_change_incidents_with_the_browsers_stored_login(
    guarded: Rig, headers: dict[str, str]
) -> None:
    body = guarded.payload(guarded.alert("DiskFull"))
    incident = guarded.client.post(HOOK, json=body, headers=HOOK_TOKEN).json["incidents"][0]
    assert acknowledge(guarded, incident, headers) == 403
    assert not guarded.services.incidents.load_incident(incident).acknowledged_at


def test_read_requests_with_a_token_are_accepted_from_any_origin(guarded: Rig) -> None:
    """For example from a link in Slack."""
    response = guarded.client.get("/", headers={**API_TOKEN, "Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9080", 200),
        ("127.0.0.1:9080", 200),
        ("[::1]:9080", 200),
        ("evil.example:9080", 403),
        ("127.0.0.1.evil.example:9080", 403),
    ],
)
def test_without_tokens_a_foreign_host_name_that_resolves_to_us_is_refused(
    open_rig: Rig, host: str, status: int
) -> None:
    incident = open_rig.fires("DiskFull")
    path = f"/api/v1/incidents/{incident}/acknowledge"
    headers = {"Host": host, "Origin": f"http://{host}"}
    for more in ({}, {"Sec-Fetch-Site": "same-origin"}):
        assert open_rig.client.post(path, json={}, headers={**headers, **more}).status_code == status


ELSEWHERE = [
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    {"Host": "evil.example:9080"},
    {"Host": "evil.example:9080", "Origin": "http://evil.example:9080", "Sec-Fetch-Site": "same-origin"},
    {"Host": "localhost.evil.example"},
    {"Host": "receiver"},
    {"Host": "[::1"},
]


def list_statuses(rig: Rig, headers: dict[str, str], **base: str) -> dict[str, int]:
    """Return the status of a request to every existing route."""
    client = rig.client
    found = {}
    for rule in client.application.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "a", rule.rule)
        method = "POST" if "POST" in (rule.methods or ()) else "GET"
        found[rule.rule] = client.open(
            path, method=method, headers=headers, environ_overrides=base
        ).status_code
    return found


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
def test_without_tokens_every_route_refuses_requests_of_foreign_pages(
    rig: Rig, headers: dict[str, str]
) -> None:
    answers = list_statuses(rig, headers)
    signed = {
        rule: answers.pop(rule) for rule in list(answers) if rule.startswith(("/webhooks/s", "/webhooks/p"))
    }
    assert len(answers) > 30
    assert set(answers.values()) == {403}
    assert set(signed.values()) <= {401, 403, 404, 503}


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9080", "localhost:9080", "[::1]:9080", "10.0.0.7", "ops.example"]
)
def test_without_tokens_a_program_is_accepted_at_our_own_host_names(rig: Rig, host: str) -> None:
    """Alertmanager sends neither Origin nor Sec-Fetch-Site."""
    rig.environ["PUBLIC_URL"] = "https://ops.example"
    rig.configure(ROUTING)
    body = rig.payload(rig.alert("DiskFull"))
    assert rig.client.post(HOOK, json=body, headers={"Host": host}).status_code == 200
    assert list_statuses(rig, {"Host": host}) == list_statuses(rig, {})


def test_a_foreign_page_can_send_no_webhook_as_plain_text(rig: Rig) -> None:
    body = json.dumps(rig.payload(rig.alert("DiskFull")))
    page = {"Content-Type": "text/plain", "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    refused = rig.client.post(HOOK, data=body, headers=page)
    assert refused.status_code == 403
    assert "somebody else" in refused.json["error"]["message"]
    assert rig.client.get("/api/v1/incidents").json["incidents"] == []


def test_without_tokens_a_link_to_a_page_may_be_followed_from_anywhere(rig: Rig) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert rig.client.get("/", headers=link).status_code == 200
    assert rig.client.post("/api/v1/maintenance", json={}, headers=link).status_code == 403


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("receiver.internal:9080", "", 200),
        ("receiver.internal:9080", "http://receiver.internal:9080", 200),
        ("receiver.internal:9080", "https://evil.example", 403),
        ("evil.example", "", 200),
    ],
)
def test_beyond_loopback_only_the_headers_of_a_browser_are_checked(
    rig: Rig, host: str, origin: str, status: int
) -> None:
    """With --insecure on another address, our own host names are not known."""
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    found = list_statuses(rig, headers, SERVER_NAME="0.0.0.0")
    assert (found["/api/v1/incidents"] == 403) == (status == 403)
    assert (found["/webhooks/alertmanager"] == 403) == (status == 403)


@pytest.mark.parametrize("bound", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("receiver.internal:9080", 200),
        ("RECEIVER.internal", 200),
        ("10.0.0.7:9080", 200),
        ("localhost", 200),
        ("evil.example", 403),
        ("receiver.internal.evil.example", 403),
    ],
)
def test_the_accepted_host_names_can_be_configured(rig: Rig, bound: str, host: str, status: int) -> None:
    rig.environ["RECEIVER_ALLOWED_HOSTS"] = "Receiver.internal, alerts.internal"
    rig.configure(ROUTING)
    for path in ("/", "/metrics", "/api/v1/incidents"):
        found = rig.client.get(path, headers={"Host": host}, environ_overrides={"SERVER_NAME": bound})
        assert found.status_code == status


@pytest.mark.parametrize(
    "path", ["/nope", "/api/v1/incidents", "/", "/webhooks/slackfoo", "/webhooks/nobody"]
)
@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_without_tokens_a_webhook_at_a_wrong_path_is_checked_like_other_requests(
    rig: Rig, path: str, headers: dict[str, str]
) -> None:
    body = rig.payload(rig.alert("DiskFull"))
    assert rig.client.post(path, json=body, headers=headers).status_code == 403
    assert rig.services.notices.list_pending() == ({}, 0)


def test_with_tokens_any_host_name_is_accepted(guarded: Rig) -> None:
    headers = {**API_TOKEN, "Host": "whatever.example"}
    assert guarded.client.get("/api/v1/incidents", headers=headers).status_code == 200
    body = guarded.payload(guarded.alert("DiskFull"))
    assert (
        guarded.client.post(HOOK, json=body, headers={**HOOK_TOKEN, "Host": "x.example"}).status_code == 200
    )


def test_with_a_token_only_for_pages_webhooks_of_foreign_pages_are_still_refused(rig: Rig) -> None:
    rig.environ["RECEIVER_API_TOKEN"] = "api-token"
    rig.configure(ROUTING)
    body = rig.payload(rig.alert("DiskFull"))
    origin = {"Origin": "https://evil.example"}
    assert rig.client.post(HOOK, json=body, headers=origin).status_code == 403
    assert rig.client.post(HOOK, json=body).status_code == 200


@pytest.mark.parametrize("public_url", ["", "https://ops.example"])
@pytest.mark.parametrize(("host", "status"), [("127.0.0.1:9080", 200), ("evil.example:9080", 403)])
def test_a_form_with_a_null_origin_is_checked_by_its_host_header(
    rig: Rig, public_url: str, host: str, status: int
) -> None:
    """Browsers send `null` if a page or a browser setting forbids them to send the origin."""
    rig.environ["PUBLIC_URL"] = public_url
    rig.configure(ROUTING)
    headers = {"Host": host, "Origin": "null", "Sec-Fetch-Site": "same-origin"}
    path = f"/api/v1/incidents/{rig.fires('DiskFull')}/acknowledge"
    assert rig.client.post(path, json={}, headers=headers).status_code == status


@pytest.mark.parametrize("origin", ["null", "", "http://[::1"])
@pytest.mark.parametrize("tokens", ["", "api-token"])
def test_an_invalid_origin_without_sec_fetch_site_is_refused(rig: Rig, origin: str, tokens: str) -> None:
    """With or without a PUBLIC_URL to compare the origin with."""
    rig.environ["RECEIVER_API_TOKEN"] = tokens
    rig.configure(ROUTING)
    headers = {"Origin": origin, "Authorization": "Basic " + b64encode(b"me:api-token").decode()}
    assert rig.client.post("/api/v1/maintenance", json={}, headers=headers).status_code == 403


# --- forms ---


def with_form(rig: Rig) -> Flask:
    app = create_app(rig.services, rate_limits=None)
    done: list[str] = []
    app.config["done"] = done
    form = "<form method=post>{{ csrf_field() }}{{ csrf_field() }}</form>"
    app.add_url_rule("/switch", "switch", lambda: render_template_string(form))
    app.add_url_rule("/switch", "do", lambda: done.append("switched") or "done", methods=["POST"])
    return app


def find_token(page: str) -> str:
    tokens = set(re.findall(r'<input type="hidden" name="csrf_token" value="([0-9a-f]{64})">', page))
    assert len(tokens) == 1
    return tokens.pop()


def test_a_form_can_be_submitted_repeatedly(guarded: Rig) -> None:
    client = with_form(guarded).test_client()
    first = client.get("/switch", headers=API_TOKEN, base_url="https://ops.example")
    second = client.get("/switch", headers=API_TOKEN, base_url="https://ops.example")
    assert find_token(first.text) == find_token(second.text)
    assert "Set-Cookie" not in second.headers
    for _ in range(2):
        response = client.post(
            "/switch",
            data={"csrf_token": find_token(first.text)},
            headers=API_TOKEN,
            base_url="https://ops.example",
        )
        assert response.status_code == 200


def test_another_process_with_the_same_token_accepts_the_form(guarded: Rig) -> None:
    one, other = with_form(guarded).test_client(), with_form(guarded).test_client(use_cookies=False)
    page = one.get("/switch", headers=API_TOKEN, base_url="https://ops.example")
    cookie = page.headers["Set-Cookie"].split(";")[0]
    response = other.post(
        "/switch",
        data={"csrf_token": find_token(page.text)},
        headers={**API_TOKEN, "Cookie": cookie},
        base_url="https://ops.example",
    )
    assert response.status_code == 200


@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_form_without_its_csrf_token_is_refused(guarded: Rig, token: str | None) -> None:
    app = with_form(guarded)
    client = app.test_client()
    client.get("/switch", headers=API_TOKEN, base_url="https://ops.example")
    data = {} if token is None else {"csrf_token": token}
    response = client.post("/switch", data=data, headers=API_TOKEN, base_url="https://ops.example")
    assert response.status_code == 403
    assert "load it again" in response.json["error"]["message"]
    assert app.config["done"] == []


def test_a_csrf_token_with_another_cookie_is_refused(guarded: Rig) -> None:
    app = with_form(guarded)
    theirs = app.test_client().get("/switch", headers=API_TOKEN, base_url="https://ops.example")
    mine = app.test_client()
    mine.get("/switch", headers=API_TOKEN, base_url="https://ops.example")
    response = mine.post(
        "/switch",
        data={"csrf_token": find_token(theirs.text)},
        headers=API_TOKEN,
        base_url="https://ops.example",
    )
    assert response.status_code == 403
    assert app.config["done"] == []


def test_the_cookie_is_restricted_to_our_host(guarded: Rig) -> None:
    page = with_form(guarded).test_client().get("/switch", headers=API_TOKEN)
    cookie = page.headers["Set-Cookie"]
    assert cookie.startswith("__Host-receiver_form=")
    for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert attribute in cookie
    assert "Domain" not in cookie


def test_on_loopback_a_form_works_without_tls(open_rig: Rig) -> None:
    client = with_form(open_rig).test_client()
    page = client.get("/switch")
    assert page.headers["Set-Cookie"].startswith("receiver_form=")
    assert "Secure" not in page.headers["Set-Cookie"]
    assert client.post("/switch", data={"csrf_token": find_token(page.text)}).status_code == 200


# --- security headers ---


def test_every_response_forbids_foreign_scripts_frames_and_caching(guarded: Rig) -> None:
    """Checked for every existing route, with accepted and refused requests."""
    app = create_app(guarded.services, rate_limits=None)
    for rule in app.url_map.iter_rules():
        if rule.endpoint == "static" or rule.rule.startswith("/webhooks/"):
            continue
        for headers in ({}, API_TOKEN):
            method = "POST" if "POST" in (rule.methods or ()) else "GET"
            response = app.test_client().open(
                re.sub(r"<[^>]+>", "a", rule.rule), method=method, headers=headers
            )
            assert dict(
                rule.strip().split(maxsplit=1)
                for rule in response.headers["Content-Security-Policy"].split(";")
            ) == {
                "default-src": "'none'",
                "script-src": "'self'",
                "connect-src": "'self'",
                "style-src": "'self'",
                "img-src": "'self'",
                "form-action": "'self'",
                "base-uri": "'none'",
                "frame-ancestors": "'none'",
            }
            assert response.headers["X-Frame-Options"] == "DENY"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "same-origin"
            assert response.headers["Cache-Control"] == "no-store"


PAGES = ["/", "/incidents/{}", "/history", "/runbooks", "/runbooks/DiskFull", "/routing"]


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_an_inline_script_or_style(open_rig: Rig, path: str) -> None:
    """Scripts are files that we serve; a page has none inline, not even in an attribute."""
    (open_rig.folder / "runbooks" / "a.md").write_text("### DiskFull (Critical)\n\n**Impact**: all stops\n")
    open_rig.clock.moment += 10
    incident = open_rig.fires("DiskFull")
    page = open_rig.client.get(path.format(incident)).text
    assert "<html" in page
    of_ours = r'<script src="(?:\./|(?:\.\./)+)static/[a-z.]+\.js\?v=[0-9a-f]{12}" defer></script>'
    assert re.search(r"<script", re.sub(of_ours, "", page)) is None
    assert re.search(r"<style|\sstyle=|\son[a-z]+=|\s(?:data-)?hx-on|javascript:|hx-vals=.js", page) is None
    assert re.search(r"(?:\ssrc=|<link[^>]* href=)[\"']?(?:[a-z]+:)?//", page) is None


# --- without tokens ---


@pytest.mark.parametrize(("bound", "is_said"), [("0.0.0.0", True), ("::", True), ("127.0.0.1", False)])
def test_a_page_without_tokens_shows_a_warning(open_rig: Rig, bound: str, is_said: bool) -> None:
    page = open_rig.client.get("/", environ_overrides={"SERVER_NAME": bound}).text
    assert ("--insecure" in page) == is_said


def test_a_page_with_tokens_shows_no_such_warning(guarded: Rig) -> None:
    page = guarded.client.get("/", headers=API_TOKEN, environ_overrides={"SERVER_NAME": "0.0.0.0"}).text
    assert "--insecure" not in page


# --- signed webhooks ---


@pytest.mark.parametrize("path", ["pagerduty", "slack/interactions", "slack/commands"])
@pytest.mark.parametrize("has_secret", [True, False])
def test_the_body_of_an_unsigned_webhook_is_not_read(rig: Rig, path: str, has_secret: bool) -> None:
    if has_secret:
        rig.environ |= {"SLACK_SIGNING_SECRET": "signing", "PAGERDUTY_WEBHOOK_SECRET": "signing"}
        rig.configure(ROUTING)
    body = io.BytesIO(b"x" * 100_000)
    response = rig.client.post(f"/webhooks/{path}", input_stream=body, content_length=100_000)
    assert response.status_code == 401
    assert body.tell() == 0


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/history", "/maintenance", "/incidents/abc"])
def test_a_method_that_a_page_does_not_have_is_answered_405(rig: Rig, method: str, path: str) -> None:
    """Not 403: no form of a page could have sent it."""
    response = rig.client.open(path, method=method)
    assert response.status_code == 405
    assert response.headers["Allow"]

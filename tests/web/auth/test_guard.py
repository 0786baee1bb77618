"""What stands before pages and API: tokens, how often one comes, and from where one was sent."""

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
    """Asked of every route there is, so that a new one can't be forgotten."""
    app = create_app(guarded.services)
    open_to_all = set()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "a", rule.rule)
        method = "POST" if "POST" in (rule.methods or ()) else "GET"
        if app.test_client().open(path, method=method).status_code != 401:
            open_to_all.add(rule.rule)
    assert open_to_all == {"/healthz", "/readyz", "/static/<path:filename>"}


def test_no_redirect_leads_to_the_name_that_was_asked_for(guarded: Rig) -> None:
    headers = {**API_TOKEN, "Host": "evil.example"}
    seen = 0
    for rule in create_app(guarded.services).url_map.iter_rules():
        for path in ("/" + rule.rule, rule.rule + "/", rule.rule.replace("/", "//")):
            response = guarded.client.get(re.sub(r"<[^>]+>", "a", path), headers=headers)
            seen += 300 <= response.status_code < 400
            assert "evil" not in response.headers.get("Location", "")
    assert seen > 0


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
def test_odd_credentials_are_no_fault_of_ours(guarded: Rig, header: str) -> None:
    assert guarded.client.get("/", headers={"Authorization": header}).status_code == 401


def test_a_token_of_other_letters_than_ascii_is_compared_too(guarded: Rig) -> None:
    guarded.environ["RECEIVER_API_TOKEN"] = "schlüssel"
    guarded.configure(ROUTING)
    shown = {"Authorization": "Basic " + b64encode("me:schlüssel".encode()).decode()}
    assert guarded.client.get("/", headers=shown).status_code == 200


# --- how often ---


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


def test_a_right_token_passes_also_from_an_address_that_failed(guarded: Rig) -> None:
    """Behind one proxy all have one address; nobody may lock out Alertmanager, nor the one on call."""
    fail(guarded.client, times=100)
    body = guarded.payload(guarded.alert("DiskFull"))
    assert guarded.client.post(HOOK, json=body, headers=HOOK_TOKEN, environ_base=HERE).status_code == 200
    assert guarded.client.get("/", headers=API_TOKEN, environ_base=HERE).status_code == 200


def test_wrong_tokens_of_webhooks_count_as_well(guarded: Rig) -> None:
    for _ in range(20):
        assert guarded.client.post(HOOK, headers=WRONG, environ_base=HERE).status_code == 401
    assert guarded.client.post(HOOK, headers=WRONG, environ_base=HERE).status_code == 429


def test_who_shows_no_token_has_not_failed(guarded: Rig) -> None:
    for _ in range(50):
        assert guarded.client.get("/", environ_base=HERE).status_code == 401


def test_an_accepted_webhook_is_never_too_many(open_rig: Rig) -> None:
    body = open_rig.payload(open_rig.alert("DiskFull"))
    assert {open_rig.client.post(HOOK, json=body).status_code for _ in range(400)} == {200}


def test_pages_and_api_are_there_fifty_times_a_second(guarded: Rig) -> None:
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


def test_repeated_sign_ins_without_credentials_keep_no_responder_out(guarded: Rig) -> None:
    """Behind one proxy all come from one address."""
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


def test_one_of_two_with_one_address_takes_nothing_from_the_other(guarded: Rig) -> None:
    def ask(name: str, token: str) -> int:
        basic = "Basic " + b64encode(f"{name}:{token}".encode()).decode()
        return guarded.client.get("/", headers={"Authorization": basic}, environ_base=HERE).status_code

    assert 429 in [ask("dashboard", "api-token") for _ in range(310)]
    assert ask("alice", "api-token") == 200
    assert ask("dashboard", "api-next") == 200


def test_a_forwarded_address_is_not_believed(guarded: Rig) -> None:
    for n in range(20):
        guarded.client.get("/", headers={**WRONG, "X-Forwarded-For": f"10.0.0.{n}"}, environ_base=HERE)
    assert fail(guarded.client, times=1) == [429]


# --- from where ---

OURS = [
    {},  # a program
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
def test_a_program_and_a_page_of_ours_may_answer(guarded: Rig, headers: dict[str, str]) -> None:
    body = guarded.payload(guarded.alert("DiskFull"))
    incident = guarded.client.post(HOOK, json=body, headers=HOOK_TOKEN).json["incidents"][0]
    assert acknowledge(guarded, incident, headers) == 200


@pytest.mark.parametrize("headers", THEIRS, ids=str)
def test_a_page_of_somebody_else_may_not_with_the_login_a_browser_keeps(
    guarded: Rig, headers: dict[str, str]
) -> None:
    body = guarded.payload(guarded.alert("DiskFull"))
    incident = guarded.client.post(HOOK, json=body, headers=HOOK_TOKEN).json["incidents"][0]
    assert acknowledge(guarded, incident, headers) == 403
    assert not guarded.services.incidents.load(incident).acknowledged_at


def test_what_only_reads_may_come_from_anywhere_with_a_token(guarded: Rig) -> None:
    """As from a link in Slack."""
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
def test_without_tokens_a_name_of_somebody_else_that_leads_to_us_is_not_ours(
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
    """Ask every route there is."""
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
def test_without_tokens_no_route_answers_to_a_page_of_somebody_else(
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
def test_without_tokens_a_program_at_a_name_of_ours_is_answered(rig: Rig, host: str) -> None:
    """Alertmanager sends neither Origin nor Sec-Fetch-Site."""
    rig.environ["PUBLIC_URL"] = "https://ops.example"
    rig.configure(ROUTING)
    body = rig.payload(rig.alert("DiskFull"))
    assert rig.client.post(HOOK, json=body, headers={"Host": host}).status_code == 200
    assert list_statuses(rig, {"Host": host}) == list_statuses(rig, {})


def test_a_page_of_somebody_else_can_send_no_webhook_as_text(rig: Rig) -> None:
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
def test_beyond_loopback_only_what_a_browser_says_is_judged(
    rig: Rig, host: str, origin: str, status: int
) -> None:
    """Somebody said --insecure: by which names it is reached nobody knows."""
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
def test_the_names_it_answers_to_can_be_narrowed_and_widened(
    rig: Rig, bound: str, host: str, status: int
) -> None:
    rig.environ["RECEIVER_ALLOWED_HOSTS"] = "Receiver.internal, alerts.internal"
    rig.configure(ROUTING)
    for path in ("/", "/metrics", "/api/v1/incidents"):
        found = rig.client.get(path, headers={"Host": host}, environ_overrides={"SERVER_NAME": bound})
        assert found.status_code == status


@pytest.mark.parametrize(
    "path", ["/nope", "/api/v1/incidents", "/", "/webhooks/slackfoo", "/webhooks/nobody"]
)
@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_without_tokens_a_webhook_at_a_wrong_address_is_judged_like_all_else(
    rig: Rig, path: str, headers: dict[str, str]
) -> None:
    body = rig.payload(rig.alert("DiskFull"))
    assert rig.client.post(path, json=body, headers=headers).status_code == 403
    assert rig.services.notices.list_pending() == ({}, 0)


def test_where_a_token_is_asked_for_any_name_will_do(guarded: Rig) -> None:
    headers = {**API_TOKEN, "Host": "whatever.example"}
    assert guarded.client.get("/api/v1/incidents", headers=headers).status_code == 200
    body = guarded.payload(guarded.alert("DiskFull"))
    assert (
        guarded.client.post(HOOK, json=body, headers={**HOOK_TOKEN, "Host": "x.example"}).status_code == 200
    )


def test_with_a_token_for_pages_alone_a_webhook_is_still_from_no_foreign_page(rig: Rig) -> None:
    rig.environ["RECEIVER_API_TOKEN"] = "api-token"
    rig.configure(ROUTING)
    body = rig.payload(rig.alert("DiskFull"))
    origin = {"Origin": "https://evil.example"}
    assert rig.client.post(HOOK, json=body, headers=origin).status_code == 403
    assert rig.client.post(HOOK, json=body).status_code == 200


@pytest.mark.parametrize("public_url", ["", "https://ops.example"])
@pytest.mark.parametrize(("host", "status"), [("127.0.0.1:9080", 200), ("evil.example:9080", 403)])
def test_a_form_whose_origin_the_browser_keeps_to_itself_is_judged_by_where_it_was_sent(
    rig: Rig, public_url: str, host: str, status: int
) -> None:
    """Browsers say `null` where a page, or somebody's settings, let them tell nobody where a form is from."""
    rig.environ["PUBLIC_URL"] = public_url
    rig.configure(ROUTING)
    headers = {"Host": host, "Origin": "null", "Sec-Fetch-Site": "same-origin"}
    path = f"/api/v1/incidents/{rig.fires('DiskFull')}/acknowledge"
    assert rig.client.post(path, json={}, headers=headers).status_code == status


@pytest.mark.parametrize("origin", ["null", "", "http://[::1"])
@pytest.mark.parametrize("tokens", ["", "api-token"])
def test_without_a_word_of_where_it_comes_from_an_origin_of_nobody_is_not_ours(
    rig: Rig, origin: str, tokens: str
) -> None:
    """Whether or not there is a PUBLIC_URL to compare it with."""
    rig.environ["RECEIVER_API_TOKEN"] = tokens
    rig.configure(ROUTING)
    headers = {"Origin": origin, "Authorization": "Basic " + b64encode(b"me:api-token").decode()}
    assert rig.client.post("/api/v1/maintenance", json={}, headers=headers).status_code == 403


# --- forms ---


def with_form(rig: Rig) -> Flask:
    app = create_app(rig.services)
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


def test_a_form_of_ours_is_taken_again_and_again(guarded: Rig) -> None:
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


def test_another_process_with_the_same_token_knows_the_form(guarded: Rig) -> None:
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
def test_a_form_without_its_token_does_nothing(guarded: Rig, token: str | None) -> None:
    app = with_form(guarded)
    client = app.test_client()
    client.get("/switch", headers=API_TOKEN, base_url="https://ops.example")
    data = {} if token is None else {"csrf_token": token}
    response = client.post("/switch", data=data, headers=API_TOKEN, base_url="https://ops.example")
    assert response.status_code == 403
    assert "load it again" in response.json["error"]["message"]
    assert app.config["done"] == []


def test_a_token_with_somebody_elses_cookie_does_nothing(guarded: Rig) -> None:
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


def test_the_cookie_is_for_us_alone(guarded: Rig) -> None:
    page = with_form(guarded).test_client().get("/switch", headers=API_TOKEN)
    cookie = page.headers["Set-Cookie"]
    assert cookie.startswith("__Host-receiver_form=")
    for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert attribute in cookie
    assert "Domain" not in cookie


def test_on_this_machine_alone_a_form_works_without_tls(open_rig: Rig) -> None:
    client = with_form(open_rig).test_client()
    page = client.get("/switch")
    assert page.headers["Set-Cookie"].startswith("receiver_form=")
    assert "Secure" not in page.headers["Set-Cookie"]
    assert client.post("/switch", data={"csrf_token": find_token(page.text)}).status_code == 200


# --- what a browser may do with our pages ---


def test_every_answer_forbids_scripts_but_ours_frames_and_keeping(guarded: Rig) -> None:
    """Asked of every route there is, refused and answered."""
    app = create_app(guarded.services)
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
def test_no_page_holds_a_script_or_a_style_of_its_own(open_rig: Rig, path: str) -> None:
    """Scripts are files of ours, served by us; nothing in a page is one, not even an attribute."""
    (open_rig.folder / "runbooks" / "a.md").write_text("### DiskFull (Critical)\n\n**Impact**: all stops\n")
    open_rig.clock.moment += 10
    incident = open_rig.fires("DiskFull")
    page = open_rig.client.get(path.format(incident)).text
    assert "<html" in page
    of_ours = r'<script src="(?:\./|(?:\.\./)+)static/[a-z.]+\.js\?v=[0-9a-f]{12}" defer></script>'
    assert re.search(r"<script", re.sub(of_ours, "", page)) is None
    assert re.search(r"<style|\sstyle=|\son[a-z]+=|\s(?:data-)?hx-on|javascript:|hx-vals=.js", page) is None
    assert re.search(r"(?:\ssrc=|<link[^>]* href=)[\"']?(?:[a-z]+:)?//", page) is None


# --- open to all ---


@pytest.mark.parametrize(("bound", "is_said"), [("0.0.0.0", True), ("::", True), ("127.0.0.1", False)])
def test_a_page_that_is_open_to_all_shows_an_alarm(open_rig: Rig, bound: str, is_said: bool) -> None:
    page = open_rig.client.get("/", environ_overrides={"SERVER_NAME": bound}).text
    assert ("--insecure" in page) == is_said


def test_a_page_behind_tokens_shows_no_such_alarm(guarded: Rig) -> None:
    page = guarded.client.get("/", headers=API_TOKEN, environ_overrides={"SERVER_NAME": "0.0.0.0"}).text
    assert "--insecure" not in page


# --- signed webhooks ---


@pytest.mark.parametrize("path", ["pagerduty", "slack/interactions", "slack/commands"])
@pytest.mark.parametrize("has_secret", [True, False])
def test_nothing_is_read_of_who_signs_nothing(rig: Rig, path: str, has_secret: bool) -> None:
    if has_secret:
        rig.environ |= {"SLACK_SIGNING_SECRET": "signing", "PAGERDUTY_WEBHOOK_SECRET": "signing"}
        rig.configure(ROUTING)
    body = io.BytesIO(b"x" * 100_000)
    response = rig.client.post(f"/webhooks/{path}", input_stream=body, content_length=100_000)
    assert response.status_code == 401
    assert body.tell() == 0

"""Signing in with an OpenID provider: successful logins, and everything that is refused."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from receiver.web.app import create_app
from tests.mocks.openid import CLIENT_SECRET, MockProvider
from tests.rig import ROUTING, Rig
from tests.web.auth.signing_in import (
    API,
    BASE_URL,
    CALLBACK,
    HOOK,
    HTML,
    begins,
    browse,
    comes_back,
    configure,
    cookie_of,
    fields_of,
    opens,
    signs_in,
    submits,
)
from tests.web.locations import leads_to

SESSION = "__Host-receiver_session"
Twist = Callable[[dict[str, Any], dict[str, Any]], None]


@pytest.fixture
def provider(rig: Rig) -> Iterator[MockProvider]:
    with MockProvider(redirect_uri=CALLBACK, clock=rig.clock) as provider:
        configure(rig, provider)
        yield provider


def fires(rig: Rig) -> str:
    rig.client = create_app(rig.services, rate_limits=None).test_client()
    body = rig.payload(rig.alert("DiskFull"))
    incident = str(rig.client.post("/webhooks/alertmanager", json=body, headers=HOOK).json["incidents"][0])
    rig.works()
    return incident


# --- successful logins ---


def test_after_signing_in_the_browser_is_at_the_requested_page(rig: Rig, provider: MockProvider) -> None:
    incident, client = fires(rig), browse(rig)
    response = signs_in(client, provider, path=f"/incidents/{incident}")
    assert (response.status_code, leads_to(response)) == (303, f"/incidents/{incident}")
    page = opens(client, leads_to(response))
    assert page.status_code == 200
    assert 'alice <span class="mark">responder</span>' in page.text
    assert "Sign out" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/history?text=disk%20full&page=2",
        "/runbooks/Disk%20Full%3F%26%25",
        "/runbooks/%C3%A9",
        "/?a=%0D%0A",
    ],
)
def test_after_signing_in_the_browser_returns_to_any_path_of_ours(
    rig: Rig, provider: MockProvider, path: str
) -> None:
    assert leads_to(signs_in(browse(rig), provider, path=path)) == path


def test_the_actor_of_a_transition_is_the_signed_in_user(rig: Rig, provider: MockProvider) -> None:
    incident, client = fires(rig), browse(rig)
    signs_in(client, provider)
    page = opens(client, f"/incidents/{incident}").text
    assert submits(client, page, f"/incidents/{incident}/acknowledge", by="mallory").status_code == 303
    asked = {"by": "mallory"}
    client.post(f"/api/v1/incidents/{incident}/unacknowledge", json=asked, base_url=BASE_URL)
    client.delete("/api/v1/maintenance?by=mallory", base_url=BASE_URL)
    first = opens(client, "/").text
    assert "Page nobody" in first
    assert "Your name" not in first
    started = submits(client, first, "/maintenance", **{"for": "1h", "by": "mallory"})
    assert started.status_code == 303
    timeline = client.get(f"/api/v1/incidents/{incident}", base_url=BASE_URL).json["timeline"]
    assert [event["by"] for event in timeline if "cknowledged" in event["text"]] == ["alice", "alice"]
    assert client.get("/api/v1/maintenance", base_url=BASE_URL).json["by"] == "alice"


def test_every_web_process_accepts_the_session(rig: Rig, provider: MockProvider) -> None:
    client = browse(rig)
    cookie = cookie_of(signs_in(client, provider), SESSION).split(";")[0]
    other = browse(rig, use_cookies=False)
    assert "alice" in other.get("/", headers={**HTML, "Cookie": cookie}, base_url=BASE_URL).text


def test_ten_tabs_may_sign_in_at_once(rig: Rig, provider: MockProvider) -> None:
    client = browse(rig)
    addresses = [begins(client, f"/history?n={n}") for n in range(10)]
    backs = [comes_back(client, provider.signs_in(address, "alice")) for address in addresses]
    assert [leads_to(back) for back in backs] == [f"/history?n={n}" for n in range(10)]


def test_the_session_cookie_is_restricted_to_our_host_and_to_twelve_hours(
    rig: Rig, provider: MockProvider
) -> None:
    client = browse(rig)
    cookie = cookie_of(signs_in(client, provider), SESSION)
    for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=43200"):
        assert attribute in cookie
    assert "Domain" not in cookie
    rig.clock.moment += 12 * 3600 - 1
    assert opens(client, "/").status_code == 200
    rig.clock.moment += 1
    assert opens(client, "/").status_code == 303


def test_without_tls_the_browser_accepts_the_cookie(rig: Rig) -> None:
    with MockProvider(redirect_uri="http://localhost/sign-in/callback", clock=rig.clock) as provider:
        configure(rig, provider, PUBLIC_URL="http://localhost")
        client = browse(rig)
        first = client.get("/sign-in", headers=HTML)
        back = provider.signs_in(first.headers["Location"], "alice").removeprefix("http://localhost")
        cookie = cookie_of(client.get(back, headers=HTML), "receiver_session")
        assert cookie
        assert "Secure" not in cookie
        assert client.get("/", headers=HTML).status_code == 200


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "al", "email": "a@b.c", "email_verified": True, "name": "A"}, "al"),
        ({"preferred_username": None, "email": "a@b.c", "email_verified": True, "name": "A"}, "a@b.c"),
        ({"preferred_username": None, "email": "a@b.c", "email_verified": False, "name": "A"}, "A"),
        ({"preferred_username": "", "email": "a@b.c"}, "id-of-alice"),
        ({"preferred_username": "a\nb\u202e\x00<b>" + "c" * 100}, "a b&lt;b&gt;" + "c" * 73 + "…"),
        ({"preferred_username": ["alice"], "name": {"a": 1}}, "id-of-alice"),
    ],
)
def test_the_name_of_a_user_is_the_first_usable_claim(
    rig: Rig, provider: MockProvider, claims: dict[str, Any], name: str
) -> None:
    client = browse(rig)
    provider.people["alice"] = claims
    signs_in(client, provider)
    assert f"<span>{name} <span" in opens(client, "/").text


@pytest.mark.parametrize("ends_in", ["", "/"])
@pytest.mark.parametrize("proof", ["client_secret_basic", "client_secret_post"])
def test_differences_between_providers_are_supported(rig: Rig, ends_in: str, proof: str) -> None:
    """The issuer of Auth0 ends in a slash; some providers accept the client secret only in the form."""
    with MockProvider(
        redirect_uri=CALLBACK, clock=rig.clock, issuer_ends_in=ends_in, proofs=(proof,)
    ) as provider:
        configure(rig, provider, OIDC_ISSUER=provider.url + ends_in)
        client = browse(rig)
        assert signs_in(client, provider).status_code == 303
        assert opens(client, "/").status_code == 200


def test_claims_of_the_userinfo_endpoint_are_used(rig: Rig, provider: MockProvider) -> None:
    configure(rig, provider, RECEIVER_RESPONDERS="group:sre")
    provider.people["alice"] = {"groups": ["sre"]}
    provider.twist = lambda claims, _: (
        [claims.pop(name) for name in ("groups", "preferred_username")] and None
    )
    client = browse(rig)
    signs_in(client, provider)
    assert 'alice <span class="mark">responder' in opens(client, "/").text


def test_metadata_and_keys_of_the_provider_are_requested_once_an_hour(
    rig: Rig, provider: MockProvider
) -> None:
    client = browse(rig)
    for _ in range(3):
        signs_in(client, provider)
        client.delete_cookie(SESSION, domain="ops.example")
    seldom = ("/.well-known/openid-configuration", "/keys")
    assert [provider.asked.count(path) for path in seldom] == [1, 1]
    rig.clock.moment += 3600
    signs_in(client, provider)
    assert [provider.asked.count(path) for path in seldom] == [2, 2]


# --- redirects to the login ---


def test_only_a_page_request_of_a_browser_is_redirected_to_the_login(
    rig: Rig, provider: MockProvider
) -> None:
    incident, client = fires(rig), browse(rig)
    assert opens(client, "/history?a=b").headers["Location"] == "/sign-in?next=%2Fhistory%3Fa%3Db"
    for path in ("/", "/api/v1/incidents", "/metrics"):
        response = client.get(path)
        assert (response.status_code, response.json["error"]["type"]) == (401, "unauthorized")
        assert response.headers["WWW-Authenticate"].startswith("Basic ")
    assert opens(client, "/api/v1/incidents").status_code == 401
    assert opens(client, "/", Authorization="Bearer wrong").status_code == 401
    posted = client.post(f"/incidents/{incident}/acknowledge", headers=HTML, base_url=BASE_URL)
    assert posted.status_code == 401
    assert 'href="/sign-in"' in posted.text


def test_an_open_page_is_reloaded_when_the_session_has_expired(rig: Rig, provider: MockProvider) -> None:
    """Its script polls every three seconds: that request gets no redirect and no password prompt."""
    response = opens(browse(rig), "/", **{"HX-Request": "true"})
    assert response.status_code == 401
    assert response.headers["HX-Refresh"] == "true"
    assert "WWW-Authenticate" not in response.headers


def test_tokens_are_still_accepted(rig: Rig, provider: MockProvider) -> None:
    client = browse(rig)
    assert client.get("/api/v1/incidents", headers=API).status_code == 200
    assert opens(client, "/", **API).status_code == 200
    asked = opens(client, "/sign-in?by=token&next=/history")
    assert asked.status_code == 401
    assert asked.headers["WWW-Authenticate"].startswith("Basic ")
    shown = opens(client, "/sign-in?by=token&next=/history", **API)
    assert (shown.status_code, leads_to(shown)) == (303, "/history")


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/a\r\nX: y",
    "/\t/evil.example",
    " //evil.example",
    "javascript:alert(1)",
    "",
    "/" + "a" * 500,
    "/sign-in?next=/",
    "/sign-out",
    "/é",
]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_after_signing_in_there_is_no_redirect_to_another_site(
    rig: Rig, provider: MockProvider, path: str
) -> None:
    client = browse(rig)
    started = client.get("/sign-in", query_string={"next": path}, headers=HTML, base_url=BASE_URL)
    back = comes_back(client, provider.signs_in(started.headers["Location"], "alice"))
    assert (back.status_code, leads_to(back)) == (303, "/")
    by_token = client.get(
        "/sign-in", query_string={"next": path, "by": "token"}, headers={**HTML, **API}, base_url=BASE_URL
    )
    assert leads_to(by_token) == "/"


# --- refused logins ---


def is_refused(client: Any, response: Any, expected: str) -> None:
    assert response.status_code == 403
    assert expected in response.text
    assert not cookie_of(response, SESSION)
    assert opens(client, "/").status_code == 303


@pytest.mark.parametrize("state", ["", "x", "e30.AAAA", None])
def test_an_unknown_state_is_refused(rig: Rig, provider: MockProvider, state: str | None) -> None:
    client = browse(rig)
    fields = fields_of(provider.signs_in(begins(client), "alice"))
    # The first letter of the signature: of the last letter only four bits are used.
    value, _, signature = fields["state"].rpartition(".")
    tampered = f"{value}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    query = {"code": fields["code"], "state": tampered if state is None else state}
    response = client.get("/sign-in/callback", query_string=query, headers=HTML, base_url=BASE_URL)
    is_refused(client, response, "begin to sign in here")
    assert "/token" not in provider.asked


def test_a_state_of_another_browser_is_refused(rig: Rig, provider: MockProvider) -> None:
    """Else an attacker could send a link that signs another person in under the attacker's name."""
    theirs, client = browse(rig), browse(rig)
    begins(client)
    is_refused(
        client, comes_back(client, provider.signs_in(begins(theirs), "alice")), "begin to sign in here"
    )


def test_a_login_attempt_expires_after_fifteen_minutes(rig: Rig, provider: MockProvider) -> None:
    client = browse(rig)
    addresses = [begins(client), begins(client)]
    rig.clock.moment += 15 * 60 - 1
    assert comes_back(client, provider.signs_in(addresses[0], "alice")).status_code == 303
    client.delete_cookie(SESSION, domain="ops.example")
    rig.clock.moment += 1
    is_refused(client, comes_back(client, provider.signs_in(addresses[1], "alice")), "took too long")


def test_a_session_is_not_accepted_as_state_nor_a_state_as_session(rig: Rig, provider: MockProvider) -> None:
    client = browse(rig)
    state = fields_of(begins(client))["state"]
    client.set_cookie(SESSION, state, domain="ops.example", secure=True)
    assert opens(client, "/").status_code == 303


def test_a_code_is_valid_once_and_for_its_own_login_attempt(rig: Rig, provider: MockProvider) -> None:
    client = browse(rig)
    address = provider.signs_in(begins(client), "alice")
    assert comes_back(client, address).status_code == 303
    client.delete_cookie(SESSION, domain="ops.example")
    is_refused(client, comes_back(client, address), "invalid_grant")
    code, state = (
        fields_of(provider.signs_in(begins(client), "alice"))["code"],
        fields_of(begins(client))["state"],
    )
    response = opens(client, f"/sign-in/callback?code={code}&state={state}")
    is_refused(client, response, "invalid_grant")


@pytest.mark.parametrize(
    ("error", "expected"), [("access_denied", "access_denied"), ("<b>you won", "no code")]
)
def test_the_page_shows_why_the_provider_refused(
    rig: Rig, provider: MockProvider, error: str, expected: str
) -> None:
    client = browse(rig)
    query = {"error": error, "state": fields_of(begins(client))["state"]}
    response = client.get("/sign-in/callback", query_string=query, headers=HTML, base_url=BASE_URL)
    is_refused(client, response, f"The provider says {expected}")


def changed(**claims: Any) -> Twist:
    def twist(found: dict[str, Any], _: dict[str, Any]) -> None:
        found.update(claims)
        for name in [name for name, value in claims.items() if value is None]:
            del found[name]

    return twist


NOW = 1_795_435_200


@pytest.mark.parametrize(
    ("twist", "claim"),
    [
        (changed(nonce="another"), "nonce"),
        (changed(nonce=None), "nonce"),
        (changed(aud="another-client"), "aud"),
        (changed(aud=["another-client"]), "aud"),
        (changed(aud=None), "aud"),
        (changed(aud=["the-receiver", "another"], azp="another"), "azp"),
        (changed(azp="another"), "azp"),
        (changed(iss="https://evil.example"), "iss"),
        (changed(iss=None), "iss"),
        (changed(exp=NOW - 61), "exp"),
        (changed(exp=None), "exp"),
        (changed(iat=NOW + 600), "iat"),
        (changed(nbf=NOW + 600), "nbf"),
        (changed(sub=None), "sub"),
        (changed(sub=""), "sub"),
        (changed(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), "at_hash"),
    ],
)
def test_an_id_token_with_a_wrong_claim_is_refused(
    rig: Rig, provider: MockProvider, twist: Twist, claim: str
) -> None:
    provider.twist = twist
    client = browse(rig)
    is_refused(client, signs_in(client, provider), f"its {claim} is wrong")


@pytest.mark.parametrize("value", ["x", [], {}, True, 1e400, -1, "1795435200", 10**400], ids=str)
@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "aud", "azp", "auth_time", "amr", "groups"])
def test_unusual_claims_cause_no_server_error(
    rig: Rig, provider: MockProvider, claim: str, value: Any
) -> None:
    provider.twist = changed(**{claim: value})
    response = signs_in(browse(rig), provider)
    assert response.status_code in (303, 403)
    if claim in ("sub", "aud") or (claim == "azp" and value):
        assert response.status_code == 403


def unsigned(claims: dict[str, Any], head: dict[str, Any]) -> str:
    parts = ({**head, "alg": "none"}, claims)
    coded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join((*coded, ""))


def keyed(key: OctKey | RSAKey, alg: str = "RS256") -> Callable[[dict[str, Any], dict[str, Any]], str]:
    return lambda claims, head: jwt.encode({**head, "alg": alg}, claims, key, algorithms=[alg])


@pytest.mark.parametrize("method", ["none", "our secret", "public key", "wrong key", "no token", "nonsense"])
def test_an_id_token_without_a_valid_signature_of_the_provider_is_refused(
    rig: Rig, provider: MockProvider, method: str
) -> None:
    signers = {
        "none": unsigned,
        "our secret": keyed(OctKey.import_key(CLIENT_SECRET), "HS256"),
        "public key": keyed(OctKey.import_key(provider.key.as_pem(private=False)[27:]), "HS256"),
        "wrong key": keyed(RSAKey.generate_key(2048)),
        "no token": lambda _claims, _head: "",
        "nonsense": lambda _claims, _head: "a.b.c",
    }
    provider.write = signers[method]
    client = browse(rig)
    is_refused(client, signs_in(client, provider), "ID token")


def test_a_new_key_of_the_provider_is_loaded_at_once(rig: Rig, provider: MockProvider) -> None:
    client = browse(rig)
    signs_in(client, provider)
    client.delete_cookie(SESSION, domain="ops.example")
    rig.clock.moment += 60
    provider.rotate()
    assert signs_in(client, provider).status_code == 303
    assert opens(client, "/").status_code == 200


def test_a_key_that_the_provider_withdrew_is_refused(rig: Rig, provider: MockProvider) -> None:
    client, old = browse(rig), provider.key
    rig.clock.moment += 60
    provider.rotate()
    provider.write = lambda claims, head: jwt.encode({**head, "kid": old.kid}, claims, old)
    is_refused(client, signs_in(client, provider), "doesn&#39;t name")


def test_unknown_keys_cause_one_request_to_the_provider_in_ten_seconds(
    rig: Rig, provider: MockProvider
) -> None:
    client = browse(rig)
    provider.write = keyed(RSAKey.generate_key(2048))
    for _ in range(5):
        signs_in(client, provider)
    assert provider.asked.count("/keys") == 1
    rig.clock.moment += 10
    signs_in(client, provider)
    assert provider.asked.count("/keys") == 2


def test_a_userinfo_with_another_subject_is_refused(rig: Rig, provider: MockProvider) -> None:
    provider.userinfo = lambda claims: {**claims, "sub": "id-of-mallory"}
    client = browse(rig)
    is_refused(client, signs_in(client, provider), "somebody else")


def test_signed_claims_have_priority_over_the_userinfo(rig: Rig, provider: MockProvider) -> None:
    provider.userinfo = lambda claims: {**claims, "preferred_username": "mallory"}
    client = browse(rig)
    signs_in(client, provider)
    assert "<span>alice <span" in opens(client, "/").text


# --- the session ---


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_changed_session_cookie_is_refused(rig: Rig, provider: MockProvider, place: int) -> None:
    client = browse(rig)
    signs_in(client, provider)
    cookie = client.get_cookie(SESSION, domain="ops.example")
    assert cookie is not None
    letters = list(cookie.value)
    # The last letter has two unused bits: A to D are equal there.
    letters[place] = "A" if letters[place] not in "ABCD" else "w"
    client.set_cookie(SESSION, "".join(letters), domain="ops.example", secure=True)
    assert opens(client, "/").status_code == 303


@pytest.mark.parametrize("value", ["", ".", "é", "a" * 4000, "e30.e30", '"'])
def test_a_malformed_cookie_causes_no_server_error(rig: Rig, provider: MockProvider, value: str) -> None:
    for name in (SESSION, "__Host-receiver_sign_in"):
        headers = {**HTML, "Cookie": f"{name}={value}"}
        for path, status in (("/", 303), ("/sign-in", 303), ("/sign-in/callback?code=a&state=b", 403)):
            client = browse(rig, use_cookies=False)
            assert client.get(path, headers=headers, base_url=BASE_URL).status_code == status


def test_another_client_secret_ends_every_session(rig: Rig, provider: MockProvider) -> None:
    client = browse(rig)
    cookie = cookie_of(signs_in(client, provider), SESSION).split(";")[0]
    for secret, status in ((CLIENT_SECRET, 200), ("another-secret", 303)):
        configure(rig, provider, OIDC_CLIENT_SECRET=secret)
        other = browse(rig, use_cookies=False)
        response = other.get("/", headers={**HTML, "Cookie": cookie}, base_url=BASE_URL)
        assert response.status_code == status


def test_signing_out_ends_the_session(rig: Rig, provider: MockProvider) -> None:
    client = browse(rig)
    signs_in(client, provider)
    response = submits(client, opens(client, "/").text, "/sign-out")
    assert response.status_code == 200
    assert "You are signed out" in response.text
    assert "alice" not in response.text
    assert opens(client, "/").status_code == 303


def test_a_foreign_page_can_not_sign_a_user_out(rig: Rig, provider: MockProvider) -> None:
    client = browse(rig)
    signs_in(client, provider)
    page = opens(client, "/").text
    assert client.get("/sign-out", headers=HTML, base_url=BASE_URL).status_code == 405
    assert submits(client, "", "/sign-out").status_code == 403
    elsewhere = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    token = page.split('name="csrf_token" value="')[1][:64]
    response = client.post("/sign-out", data={"csrf_token": token}, headers=elsewhere, base_url=BASE_URL)
    assert response.status_code == 403
    assert "alice" in opens(client, "/").text


def test_a_foreign_page_can_not_use_the_session(rig: Rig, provider: MockProvider) -> None:
    incident, client = fires(rig), browse(rig)
    signs_in(client, provider)
    elsewhere = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    path = f"/api/v1/incidents/{incident}/acknowledge"
    assert client.post(path, json={}, headers=elsewhere, base_url=BASE_URL).status_code == 403
    assert not rig.services.incidents.load_incident(incident).acknowledged_at


# --- an unavailable or wrong provider ---


def test_while_the_provider_is_unavailable_an_error_page_is_shown_and_tokens_are_accepted(
    rig: Rig, provider: MockProvider
) -> None:
    client = browse(rig)
    signed_in = browse(rig)
    signs_in(signed_in, provider)
    provider.stop()
    response = opens(client, "/sign-in")
    assert response.status_code == 502
    assert "You can&#39;t sign in" in response.text
    assert "connection refused" in response.text
    assert "/sign-in?by=token" in response.text
    assert opens(client, "/", **API).status_code == 200
    assert opens(signed_in, "/").status_code == 200
    provider.start()
    rig.clock.moment += 10
    assert signs_in(client, provider).status_code == 303


def test_a_provider_that_is_unavailable_at_the_callback_is_an_error_page(
    rig: Rig, provider: MockProvider
) -> None:
    client = browse(rig)
    address = provider.signs_in(begins(client), "alice")
    provider.stop()
    assert comes_back(client, address).status_code == 502
    provider.start()


def test_after_a_failure_the_provider_is_not_requested_for_ten_seconds(
    rig: Rig, provider: MockProvider
) -> None:
    provider.faults["/.well-known/openid-configuration"] = (500, {})
    client = browse(rig)
    for _ in range(5):
        assert opens(client, "/sign-in").status_code == 502
    assert provider.asked.count("/.well-known/openid-configuration") == 1
    rig.clock.moment += 10
    opens(client, "/sign-in")
    assert provider.asked.count("/.well-known/openid-configuration") == 2


def test_cached_provider_metadata_is_used_while_it_is_unavailable(rig: Rig, provider: MockProvider) -> None:
    client = browse(rig)
    begins(client)
    rig.clock.moment += 2 * 3600
    provider.faults["/.well-known/openid-configuration"] = (500, {})
    assert signs_in(client, provider).status_code == 303


@pytest.mark.parametrize(
    ("path", "response"),
    [
        ("/.well-known/openid-configuration", (200, {"issuer": "https://evil.example"})),
        ("/.well-known/openid-configuration", (200, [])),
        ("/.well-known/openid-configuration", (200, b"[" * 100_000)),
        ("/.well-known/openid-configuration", (200, b"x" * 300_000)),
        ("/.well-known/openid-configuration", (302, "http://127.0.0.1:1/")),
    ],
)
def test_an_invalid_response_of_the_provider_is_reported(
    rig: Rig, provider: MockProvider, path: str, response: tuple[int, Any]
) -> None:
    provider.faults[path] = response
    assert opens(browse(rig), "/sign-in").status_code == 502


def test_a_provider_with_another_issuer_is_refused(rig: Rig, provider: MockProvider) -> None:
    """ID tokens are compared with the issuer."""
    provider.said["issuer"] = "https://evil.example"
    response = opens(browse(rig), "/sign-in")
    assert response.status_code == 502
    assert "otherwise than OIDC_ISSUER" in response.text


@pytest.mark.parametrize(
    "endpoint", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"]
)
@pytest.mark.parametrize("address", [7, "javascript:alert(1)", "/token"])
def test_an_endpoint_must_be_an_http_url(
    rig: Rig, provider: MockProvider, endpoint: str, address: object
) -> None:
    provider.said[endpoint] = address
    assert opens(browse(rig), "/sign-in").status_code == 502


@pytest.mark.parametrize(
    ("path", "response"),
    [
        ("/token", (500, {})),
        ("/token", (200, {"access_token": "a"})),
        ("/token", (200, {"id_token": "a"})),
        ("/token", (200, b"\xff")),
        ("/keys", (200, {"keys": []})),
        ("/keys", (200, {"keys": [{"kty": "oct", "k": "AAAA"}, {"kty": "RSA"}, 7]})),
        ("/keys", (200, {"keys": "x"})),
        ("/userinfo", (500, {})),
        ("/userinfo", (200, [])),
    ],
)
def test_an_invalid_response_of_the_provider_at_the_callback_is_an_error_page(
    rig: Rig, provider: MockProvider, path: str, response: tuple[int, Any]
) -> None:
    client = browse(rig)
    provider.faults[path] = response
    back = signs_in(client, provider)
    assert back.status_code == 502
    assert opens(client, "/").status_code == 303


def test_a_wrong_client_secret_is_named_in_the_error(rig: Rig, provider: MockProvider) -> None:
    provider.client_secret = "changed-there"
    response = signs_in(browse(rig), provider)
    assert response.status_code == 502
    assert "OIDC_CLIENT_SECRET" in response.text
    assert CLIENT_SECRET not in response.text


def test_failed_login_attempts_are_rate_limited_and_valid_ones_succeed(
    rig: Rig, provider: MockProvider
) -> None:
    client = browse(rig)
    begins(client)
    codes = [opens(client, "/sign-in/callback?code=a&state=b").status_code for _ in range(21)]
    assert codes == [403] * 20 + [429]
    assert signs_in(client, provider).status_code == 303


# --- without a provider ---


def test_without_a_provider_there_is_no_login_page(rig: Rig) -> None:
    rig.environ |= {"RECEIVER_API_TOKEN": "api-token"}
    rig.configure(ROUTING)
    client = browse(rig)
    for path in ("/sign-in", "/sign-in/callback", "/sign-out"):
        assert opens(client, path).status_code == 401
        assert opens(client, path, **API).status_code == 404
    assert "Sign" not in opens(client, "/").text


def test_with_only_a_provider_loopback_must_sign_in_too(rig: Rig) -> None:
    with MockProvider(redirect_uri=CALLBACK, clock=rig.clock) as provider:
        rig.environ |= {**provider.environ, "PUBLIC_URL": BASE_URL}
        rig.configure(ROUTING)
        client = browse(rig)
        assert client.get("/api/v1/incidents").status_code == 401
        assert client.get("/api/v1/incidents", headers={"Authorization": "Bearer "}).status_code == 401
        assert signs_in(client, provider).status_code == 303
        assert client.get("/api/v1/incidents", base_url=BASE_URL).status_code == 200
        # The key of our CSRF tokens is then the client secret, which an attacker does not know.
        nonce = cookie_of(opens(client, "/"), "__Host-receiver_form").split(";")[0].partition("=")[2]
        guess = sha256(b"forms\0" + rig.services.run_id.encode()).digest()
        token = hmac.new(guess, nonce.encode(), sha256).hexdigest()
        response = client.post("/sign-out", data={"csrf_token": token}, base_url=BASE_URL)
        assert (response.status_code, bool(nonce)) == (403, True)

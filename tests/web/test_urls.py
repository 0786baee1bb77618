"""PUBLIC_URL with a path, behind a proxy that strips it, and our own address beside it."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie
from urllib.parse import urljoin, urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from receiver.web.app import create_app
from tests.browser.week import break_out
from tests.mocks.openid import MockProvider
from tests.rig import ROUTING, Rig
from tests.web.auth.signing_in import API, HTML
from tests.web.locations import list_links

PUBLIC = "https://ops.example.org/receiver"
# By default nginx sends its upstream name as Host, and no header with the browser's URL.
OURS = "http://127.0.0.1:9080"


class Browser:
    """A browser that stores cookies by path; below PUBLIC it reaches the receiver through such an nginx."""

    def __init__(self, rig: Rig, *, headers: dict[str, str] | None = None) -> None:
        self.client: FlaskClient = create_app(rig.services, rate_limits=None).test_client(use_cookies=False)
        self.headers = headers or {}
        self.cookies: dict[tuple[str, str, str], tuple[str, bool]] = {}  # by host, path and name
        self.url = ""

    def asks(self, method: str, url: str, **more: object) -> TestResponse:
        parts = urlsplit(url)
        path, host = parts.path, parts.netloc
        if url.startswith(PUBLIC):
            assert parts.path.startswith("/receiver/"), url
            path = parts.path.removeprefix("/receiver")
        sent = [
            f"{name}={value}"
            for (of, below, name), (value, is_secure) in self.cookies.items()
            if of == host.partition(":")[0]
            and f"{parts.path}/".startswith(below.rstrip("/") + "/")
            and (not is_secure or parts.scheme == "https")
        ]
        headers = {**HTML, **self.headers, "Cookie": "; ".join(sent), **more.pop("headers", {})}  # type: ignore[dict-item]
        asked = f"{path}?{parts.query}" if parts.query else path
        response = self.client.open(asked, method=method, headers=headers, base_url=OURS, **more)  # type: ignore[arg-type]
        for line in response.headers.getlist("Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                key = (host.partition(":")[0], morsel["path"], name)
                self.cookies[key] = morsel.value, bool(morsel["secure"])
        self.url = url
        return response

    def opens(self, url: str) -> TestResponse:
        """Open a page and follow redirects while they lead to the receiver."""
        response = self.asks("GET", url)
        while 300 <= response.status_code < 400:
            url = urljoin(url, response.headers["Location"])
            if not url.startswith((PUBLIC, OURS)):
                self.url = url
                return response
            response = self.asks("GET", url)
        return response

    def submits(self, page: TestResponse, ending: str, **fields: str) -> TestResponse:
        """Submit the form of the page whose action ends with *ending*, with the headers of a browser."""
        at, link = self.url, next(link for link in list_links(page) if link.endswith(ending))
        token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page.text)
        assert token is not None
        origin = "://".join(urlsplit(at)[:2])
        data = {"csrf_token": token[1], **fields}
        return self.asks("POST", urljoin(at, link), data=data, headers={"Origin": origin})


@pytest.fixture
def rig(rig: Rig) -> Rig:
    rig.environ["PUBLIC_URL"] = PUBLIC
    rig.configure(ROUTING + "alertmanager: {url: 'http://127.0.0.1:9'}\n")
    return rig


@pytest.fixture
def paths(rig: Rig) -> list[str]:
    """The paths of pages with content, and of some that do not exist."""
    (rig.folder / "runbooks" / "a.md").write_text("### DiskFull (Critical)\n\n**Impact**: all stops\n")
    rig.refuses("on-call")
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    for n in range(120):
        rig.posts(rig.alert(f"Info{n}", "info"))
    return [
        "/",
        "/?severity=info&page=2",
        f"/incidents/{incident}",
        "/incidents/none",
        "/incidents/none/deeper/still",
        f"/storms/{break_out(rig)}",
        "/history",
        "/history?since=90d&alertname=DiskFull",
        "/runbooks",
        "/runbooks/DiskFull",
        "/runbooks/a%2Fb%3Fc",
        "/routing",
        "/routing?labels=alertname%3DDiskFull+severity%3Dcritical",
        "/sign-in/nothing",
    ]


def test_every_link_form_and_script_of_every_page_works_below_the_prefix_and_without(
    rig: Rig, paths: list[str]
) -> None:
    """And each page polls its own URL."""
    client = rig.client
    statuses: dict[str, int] = {}  # many pages have the same links
    for path in paths:
        page = client.get(path, headers=HTML)
        links = list_links(page)
        assert len(links) > 6, path
        outside = (
            "http://prometheus:9090/",
            "https://example.slack.com/",
            "http://alertmanager-1:9093",
            "http://127.0.0.1:9/#/silences/new?",  # Alertmanager's form
        )
        for link in links:
            if link.startswith((*outside, "#")):
                continue
            assert link.startswith(("./", "../")), (path, link)
            for base in (PUBLIC, OURS):
                found = urljoin(base + path, link)
                assert found.startswith(base + "/"), (path, link, found)
            if found not in statuses:
                statuses[found] = client.get(found.removeprefix(OURS), headers=HTML).status_code
            assert statuses[found] in (200, 405), (path, link, statuses[found])  # 405: a form's address
        polled = re.search(r'hx-get="([^"]*)"', page.text)
        if polled is not None:
            assert urljoin(PUBLIC + path, polled[1].replace("&amp;", "&")) == PUBLIC + path


@pytest.mark.parametrize("base", [PUBLIC, OURS])
def test_forms_work_behind_nginx_default_host_and_at_our_own_address(rig: Rig, base: str) -> None:
    incident = rig.fires("DiskFull")
    browser = Browser(rig)
    page = browser.opens(f"{base}/incidents/{incident}")
    response = browser.submits(page, "/acknowledge", by="carol")
    assert response.status_code == 303, response.text
    assert urljoin(browser.url, response.headers["Location"]) == f"{base}/incidents/{incident}"
    assert rig.state(incident) == "acknowledged"
    first = browser.opens(f"{base}/")
    response = browser.submits(first, "/maintenance", **{"for": "1h", "by": "carol"})
    assert urljoin(browser.url, response.headers["Location"]) == f"{base}/"
    response = browser.submits(browser.opens(f"{base}/"), "/maintenance/end")
    assert urljoin(browser.url, response.headers["Location"]) == f"{base}/"


@pytest.mark.parametrize("base", [PUBLIC, OURS])
def test_a_page_that_is_polled_repeatedly_does_not_change(rig: Rig, base: str) -> None:
    rig.fires("DiskFull")
    browser = Browser(rig)
    stamps = {re.search(r'data-stamp="(\w+)"', browser.opens(f"{base}/").text)[1] for _ in range(3)}  # type: ignore[index]
    assert len(stamps) <= 2  # the first was rendered before there was a cookie
    (stamp,) = {re.search(r'data-stamp="(\w+)"', browser.opens(f"{base}/").text)[1] for _ in range(2)}  # type: ignore[index]
    assert browser.asks("GET", f"{base}/", headers={"X-Receiver-Stamp": stamp}).status_code == 204


ORIGINS = [
    ({"Origin": "https://ops.example.org"}, 303),
    ({"Origin": "https://ops.example.org", "Sec-Fetch-Site": "same-origin"}, 303),
    ({"Origin": "https://OPS.example.org"}, 303),
    ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 303),
    (
        {"Origin": "http://ops.example.org"},
        403,
    ),  # without TLS an attacker on the network may have written that page
    ({"Origin": "https://ops.example.org:8443"}, 403),
    ({"Origin": "https://ops.example.org.evil.example"}, 403),
    ({"Origin": "https://example.org"}, 403),
    ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403),
    ({"Origin": "https://ops.example.org", "Sec-Fetch-Site": "same-site"}, 403),
    ({"Origin": "null"}, 403),
]


@pytest.mark.parametrize(("headers", "status"), ORIGINS, ids=str)
@pytest.mark.parametrize("host", ["127.0.0.1:9080", "receiver-backend", "ops.example.org"])
def test_the_origin_of_public_url_is_accepted_whatever_the_host_header(
    rig: Rig, host: str, headers: dict[str, str], status: int
) -> None:
    rig.environ["RECEIVER_API_TOKEN"] = "api-token"
    rig.configure(ROUTING)
    rig.client = create_app(rig.services, rate_limits=None).test_client(use_cookies=False)
    page = rig.client.get("/", headers={**API, **HTML}, base_url=f"http://{host}")
    token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page.text)
    assert token is not None
    cookie = page.headers.getlist("Set-Cookie")[0].partition(";")[0]
    response = rig.client.post(
        "/maintenance",
        data={"csrf_token": token[1], "for": "1h", "by": "carol"},
        headers={**API, **HTML, "Cookie": cookie, **headers},
        base_url=f"http://{host}",
    )
    assert response.status_code == status


def cookies_of(response: TestResponse) -> dict[str, str]:
    return {line.partition("=")[0]: line for line in response.headers.getlist("Set-Cookie")}


def test_cookies_have_the_path_of_public_url(rig: Rig) -> None:
    forwarded = {**HTML, "X-Forwarded-Proto": "https", "Host": "127.0.0.1:9080"}
    for headers in (forwarded, {**HTML, "Host": "ops.example.org"}):
        (name, line), *others = cookies_of(rig.client.get("/", headers=headers)).items()
        assert others == []
        assert name == "__Secure-receiver_form"
        for attribute in ("Path=/receiver", "Secure", "HttpOnly", "SameSite=Lax"):
            assert attribute in line.split("; ")


def test_the_cookie_of_our_own_address_is_accepted_only_there(rig: Rig) -> None:
    """It is sent without TLS, so an attacker on the network could have set it."""
    page = rig.client.get("/", headers={**HTML, "Host": "127.0.0.1:9080"})
    direct = cookies_of(page)["receiver_form_direct"].partition(";")[0]
    token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page.text)
    assert token is not None
    data = {"csrf_token": token[1], "for": "1h", "by": "mallory"}
    client = create_app(rig.services, rate_limits=None).test_client(use_cookies=False)
    for origin, status in (("https://ops.example.org", 403), ("http://127.0.0.1:9080", 303)):
        headers = {**HTML, "Host": "127.0.0.1:9080", "Cookie": direct, "Origin": origin}
        assert client.post("/maintenance", data=data, headers=headers).status_code == status


def test_a_doubled_slash_redirects_below_the_prefix_too(rig: Rig) -> None:
    response = rig.client.get("/runbooks//DiskFull?a=b", headers=HTML, base_url=OURS)
    assert response.status_code == 308
    # For a browser, `/receiver/runbooks//` is one folder deeper than for urljoin.
    assert response.headers["Location"] == "../../runbooks/DiskFull?a=b"


def test_messages_have_the_whole_public_url(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    assert f"<{PUBLIC}/incidents/{incident}|" in rig.parents()[0].words
    assert f"{PUBLIC}/incidents/{incident}" in [
        link["href"] for link in rig.pagerduty.events[0].body["links"]
    ]


def test_the_api_description_has_the_whole_public_url(rig: Rig) -> None:
    described = rig.client.get("/api/v1/openapi.json").json
    assert described["servers"] == [{"url": PUBLIC}]
    assert all(path.startswith("/api/v1/") for path in described["paths"])


# --- signing in ---


@pytest.mark.parametrize("base", [PUBLIC, OURS])
def test_signing_in_uses_public_url_and_leads_to_the_requested_page(rig: Rig, base: str) -> None:
    incident = rig.fires("DiskFull")
    with MockProvider(redirect_uri=f"{PUBLIC}/sign-in/callback", clock=rig.clock) as provider:
        rig.environ |= {**provider.environ, "RECEIVER_API_TOKEN": "api-token"}
        rig.configure(ROUTING)
        browser = Browser(rig)
        first = browser.asks("GET", f"{base}/incidents/{incident}")
        wanted = f"{PUBLIC}/sign-in?next=%2Fincidents%2F{incident}"
        assert (first.status_code, urljoin(browser.url, first.headers["Location"])) == (303, wanted)
        browser.opens(wanted)
        assert browser.url.startswith(provider.url)
        page = browser.opens(provider.signs_in(browser.url, "alice"))
        assert browser.url == f"{PUBLIC}/incidents/{incident}"
        assert 'alice <span class="mark">responder</span>' in page.text
        names = {name: path for _, path, name in browser.cookies}
        assert names["__Secure-receiver_session"] == "/receiver"
        assert names["__Secure-receiver_sign_in"] == "/receiver"
        out = browser.submits(page, "/sign-out")
        assert "You are signed out" in out.text
        assert f"{PUBLIC}/sign-in" in list_links(out)
        again = browser.asks("GET", f"{PUBLIC}/")
        assert again.status_code == 303


def test_with_a_token_the_browser_stays_at_its_address(rig: Rig) -> None:
    with MockProvider(redirect_uri=f"{PUBLIC}/sign-in/callback", clock=rig.clock) as provider:
        rig.environ |= {**provider.environ, "RECEIVER_API_TOKEN": "api-token"}
        rig.configure(ROUTING)
        for base in (PUBLIC, OURS):
            browser = Browser(rig, headers=API)
            response = browser.asks("GET", f"{base}/sign-in?by=token&next=/history%3Fsince%3D90d")
            assert urljoin(browser.url, response.headers["Location"]) == f"{base}/history?since=90d"

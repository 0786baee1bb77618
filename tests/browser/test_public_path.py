"""The pages below a path prefix that a real nginx strips, and at our own address, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import CHROMIUM, FLAGS
from tests.browser.conftest import RUNBOOK
from tests.browser.nginx import NGINX, Nginx
from tests.browser.test_pages import fire
from tests.e2e.deployment import Deployment
from tests.mocks.openid import MockProvider
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import ROUTING
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium-headless-shell)"
    ),
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt install nginx-light)"),
]
# Over plain HTTP a browser sends Sec-Fetch-Site only to loopback, not to such a host name.
NAME = "ops.example.org"


@dataclass
class Site:
    """A receiver with its URLs: below the prefix, and at its own address."""

    deployment: Deployment
    public: str

    @property
    def own(self) -> str:
        return self.deployment.receiver.address


@contextmanager
def serving(folder: Path, scheme: str, **environ: str) -> Iterator[Site]:
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "disk.md").write_text(RUNBOOK)
    port, own = free_port(), free_port()
    public = f"{scheme}://{NAME}:{port}/receiver"
    more = {name: value.replace("PUBLIC", public) for name, value in environ.items()}
    with (
        MockSlack() as slack,
        MockPagerDuty() as pagerduty,
        Nginx(folder, port, own, is_secure=scheme == "https"),
    ):
        deployment = Deployment(folder, slack, pagerduty, ROUTING, port=own, PUBLIC_URL=public, **more)
        try:
            yield Site(deployment, public)
        finally:
            deployment.receiver.end()


@pytest.fixture(scope="module", params=["http", "https"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp(request.param), request.param) as site:
        yield site


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """A browser that resolves the host name to loopback."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page; any error in its console fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, ignore_https_errors=True)
    context.set_default_timeout(10_000)
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    # Without TLS the browser ignores one of our headers and reports it, which is no error of the page.
    faults = [fault for fault in faults if not fault.startswith("The Cross-Origin-Opener-Policy header")]
    context.close()
    assert faults == []


@pytest.fixture(params=["public", "own"])
def base(request: pytest.FixtureRequest, site: Site) -> str:
    return str(getattr(site, request.param))


@pytest.fixture
def requested_urls(page: Page) -> list[str]:
    """Every URL that the page requests."""
    requested_urls: list[str] = []
    page.on("request", lambda request: requested_urls.append(request.url))
    return requested_urls


def test_a_user_reads_acknowledges_and_navigates(
    page: Page, site: Site, base: str, requested_urls: list[str]
) -> None:
    page.goto(f"{base}/")
    page.evaluate("window.isSame = true")
    name = f"DiskFull{len(requested_urls)}{'Public' if base == site.public else 'Own'}"
    incident = fire(site.deployment, name)
    card = page.locator(".card", has_text=name)
    expect(card).to_be_visible()  # by a poll of the page's script
    assert page.evaluate("window.isSame") is True
    card.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".card", has_text=name).locator(".state")).to_have_text(re.compile("acknowledged"))
    expect(page).to_have_url(re.compile(f"^{re.escape(base)}/(\\?.*)?$"))
    page.get_by_role("link", name=name).first.click()
    expect(page).to_have_url(f"{base}/incidents/{incident}")
    site.deployment.ask("POST", f"/api/v1/incidents/{incident}/unacknowledge", {"by": "alice"})
    expect(page.locator("#state")).to_have_text(re.compile("^open"))  # by a poll of the page's script
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator("#state")).to_have_text(re.compile("resolved by"))
    expect(page).to_have_url(f"{base}/incidents/{incident}")
    for link, path in (
        ("History", "/history"),
        ("Runbooks", "/runbooks"),
        ("DiskFull", "/runbooks/DiskFull"),
    ):
        page.get_by_role("link", name=link, exact=True).first.click()
        expect(page).to_have_url(base + path)
    page.get_by_role("link", name="Routing").click()
    page.get_by_label("Labels").fill("alertname=Tried severity=critical")
    page.get_by_role("button", name="Try").click()
    expect(page).to_have_url(re.compile(re.escape(f"{base}/routing?labels=alertname")))
    page.get_by_role("button", name="Send this as a test alert").click()
    expect(page).to_have_url(re.compile(f"^{re.escape(base)}/incidents/"))
    page.get_by_role("link", name="receiver").first.click()
    expect(page).to_have_url(f"{base}/")
    assert [url for url in requested_urls if not url.startswith(f"{base}/")] == []


def test_the_url_of_a_message_and_an_unknown_url(chromium: Browser, site: Site, base: str) -> None:
    incident = fire(site.deployment, "FromAMessage")
    slack = site.deployment.slack
    site.deployment.wait_for(
        lambda: any(f"{site.public}/incidents/{incident}" in message.words for message in slack.parents)
    )
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"{base}/incidents/{incident}")
    expect(page.locator("h1")).to_contain_text("FromAMessage")
    page.goto(f"{base}/incidents/none/deeper/still")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")
    style = page.evaluate("getComputedStyle(document.querySelector('header.top')).display")
    assert style != "block"  # our style sheet was loaded
    page.get_by_role("link", name="What is open now").click()
    expect(page).to_have_url(f"{base}/")
    context.close()


def test_the_cookie_is_restricted_to_the_prefix(page: Page, site: Site) -> None:
    page.goto(f"{site.public}/")
    kept = {cookie["name"]: cookie for cookie in page.context.cookies(site.public + "/")}
    prefix = "__Secure-" if site.public.startswith("https:") else ""
    assert kept[f"{prefix}receiver_form"]["path"] == "/receiver"


@pytest.mark.parametrize("scheme", ["https"])
def test_a_user_signs_in_below_the_prefix_from_any_page(chromium: Any, tmp_path: Path, scheme: str) -> None:
    with MockProvider(redirect_uri="unknown yet") as provider:
        provider.people = {"alice": {}}
        with serving(tmp_path, scheme, **provider.environ) as site:
            provider.redirect_uris = [f"{site.public}/sign-in/callback"]
            incident = fire(site.deployment, "DiskFull")
            for base in (site.public, site.own):
                context = chromium.new_context(ignore_https_errors=True)
                context.set_default_timeout(10_000)
                page = context.new_page()
                page.goto(f"{base}/incidents/{incident}")
                page.get_by_role("link", name="Sign in as alice").click()
                expect(page).to_have_url(f"{site.public}/incidents/{incident}")
                expect(page.locator(".who")).to_contain_text("alice responder")
                kept = {cookie["name"]: cookie["path"] for cookie in context.cookies(page.url)}
                assert kept["__Secure-receiver_session"] == "/receiver"
                page.get_by_role("button", name="Sign out").click()
                expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
                page.get_by_role("link", name="Sign in").click()
                expect(page.get_by_role("link", name="Sign in as alice")).to_be_visible()
                context.close()

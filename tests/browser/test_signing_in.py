"""A user signs in with a provider, in a real browser, and acknowledges under their own name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import CHROMIUM, list_violations
from tests.browser.test_pages import body
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
]


@pytest.fixture(scope="module")
def provider() -> Iterator[MockProvider]:
    with MockProvider(redirect_uri="unknown yet") as provider:
        provider.people = {"alice": {"groups": ["sre"]}, "bob": {}}
        yield provider


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, provider: MockProvider) -> Iterator[Deployment]:
    """A receiver that requires a login."""
    folder: Path = tmp_path_factory.mktemp("signing-in")
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        port = free_port()
        home = f"http://127.0.0.1:{port}"
        provider.redirect_uris = [f"{home}/sign-in/callback"]
        environ = {**provider.environ, "PUBLIC_URL": home, "RECEIVER_RESPONDERS": "group:sre"}
        deployment = Deployment(folder, slack, pagerduty, ROUTING, port=port, workers=2, **environ)
        yield deployment
        deployment.receiver.end()


def test_a_user_signs_in_acknowledges_and_is_named(page: Page, deployment: Deployment) -> None:
    incident = deployment.post(body("DiskFull"))["incidents"][0]
    page.goto(f"{deployment.receiver.address}/incidents/{incident}")
    page.get_by_role("link", name="Sign in as alice").click()
    expect(page).to_have_url(f"{deployment.receiver.address}/incidents/{incident}")
    expect(page.locator(".who")).to_contain_text("alice responder")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#state")).to_have_text("acknowledged by alice")
    expect(page.locator(".timeline")).to_contain_text("Acknowledged by alice")
    assert list_violations(page) == []
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
    page.goto(deployment.receiver.address + "/")
    expect(page.get_by_role("link", name="Sign in as alice")).to_be_visible()


def test_a_viewer_sees_updates_and_has_no_buttons(page: Page, deployment: Deployment) -> None:
    page.goto(deployment.receiver.address + "/")
    page.get_by_role("link", name="Sign in as bob").click()
    expect(page.locator(".who")).to_contain_text("bob viewer")
    deployment.post(body("HighLatency"))
    card = page.locator(".card", has_text="HighLatency")
    expect(card).to_be_visible()
    expect(card.locator(".countdown")).to_have_text(re.compile(r"in 4:\d\d"))
    expect(page.get_by_role("button")).to_have_text(["Sign out"])


def test_a_page_whose_session_has_expired_leads_to_the_login(
    chromium: Browser, deployment: Deployment
) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(deployment.receiver.address + "/")
    page.get_by_role("link", name="Sign in as alice").click()
    expect(page.locator("#live")).to_be_visible()
    context.clear_cookies(name="receiver_session")
    expect(page.get_by_role("link", name="Sign in as alice")).to_be_visible(timeout=10_000)
    context.close()

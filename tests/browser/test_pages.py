"""The pages in a real browser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from receiver.model.alert import fingerprint
from tests.browser.chromium import CHROMIUM
from tests.e2e.deployment import Deployment

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium-headless-shell)"
    ),
]


def body(name: str, severity: str = "critical", **labels: str) -> dict[str, Any]:
    everything = {"alertname": name, "severity": severity, **labels}
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{name}"}}',
        "truncatedAlerts": 0,
        "receiver": "browser",
        "status": "firing",
        "alerts": [
            {
                "status": "firing",
                "labels": everything,
                "annotations": {"summary": f"{name} is bad", "dashboard": "https://grafana.example/d/1"},
                "startsAt": "2026-11-23T09:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus:9090/graph",
                "fingerprint": fingerprint(everything),
            }
        ],
        "groupLabels": {"alertname": name},
        "commonLabels": everything,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
    }


def fire(deployment: Deployment, name: str, severity: str = "critical", **labels: str) -> str:
    return str(deployment.post(body(name, severity, **labels))["incidents"][0])


def test_an_alert_appears_without_a_reload_and_is_acknowledged(page: Page, deployment: Deployment) -> None:
    page.goto(deployment.receiver.address + "/")
    page.evaluate("window.isSame = true")
    fire(deployment, "DiskFull")
    card = page.locator(".card", has_text="DiskFull")
    expect(card).to_be_visible()
    expect(card.locator(".countdown")).to_have_text(re.compile(r"in 4:\d\d"))
    expect(page).to_have_title(re.compile(r"^\(1\) "))
    before = card.locator(".countdown").text_content()
    expect(card.locator(".countdown")).not_to_have_text(before or "")
    assert page.evaluate("window.isSame") is True
    card.get_by_role("button", name="Acknowledge").click()
    expect(card.locator(".state")).to_have_text(re.compile("acknowledged by"))
    expect(card.locator(".countdown")).to_have_count(0)
    expect(page).not_to_have_title(re.compile(r"^\("))
    deployment.wait_for(
        lambda: [event.action for event in deployment.pagerduty.events] == ["trigger", "acknowledge"]
    )


def test_the_last_webhook_is_newer_without_a_reload(page: Page, deployment: Deployment) -> None:
    fire(deployment, "DiskFull")
    page.goto(deployment.receiver.address + "/")
    page.evaluate("window.isSame = true; window.shown = document.querySelector('#live')")
    last_webhook = page.locator(".webhooks")
    expect(last_webhook).to_have_text(re.compile(r"^last webhook \d s ago$"))
    expect(last_webhook).to_have_text(re.compile(r"^last webhook [789] s ago$"), timeout=15_000)
    fire(deployment, "DiskFull")  # a duplicate changes nothing else on the page
    expect(last_webhook).to_have_text(re.compile(r"^last webhook [0-6] s ago$"), timeout=15_000)
    assert page.evaluate("window.isSame && window.shown === document.querySelector('#live')") is True


def test_an_open_page_shows_new_timeline_events(page: Page, deployment: Deployment) -> None:
    incident = fire(deployment, "HighLatency")
    page.goto(f"{deployment.receiver.address}/incidents/{incident}")
    expect(page.locator(".timeline")).to_contain_text("Paged On-call")
    expect(page.locator(".steps .countdown")).to_have_count(1)
    deployment.ask("POST", f"/api/v1/incidents/{incident}/acknowledge", {"by": "alice"})
    expect(page.locator(".timeline")).to_contain_text("Acknowledged by alice")
    expect(page.locator(".steps .countdown")).to_have_count(0)
    expect(page.locator("#state")).to_have_text("acknowledged by alice")
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator("#state")).to_have_text(re.compile("resolved by"))


def test_a_lost_connection_is_shown_and_stops_all_timers(chromium: Browser, deployment: Deployment) -> None:
    fire(deployment, "QueueBacklog")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(deployment.receiver.address + "/")
    expect(page.locator("#lost")).to_be_hidden()
    context.set_offline(True)
    expect(page.locator("#lost")).to_be_visible(timeout=10_000)
    expect(page.locator(".countdown").first).to_be_hidden()
    context.set_offline(False)
    expect(page.locator("#lost")).to_be_hidden(timeout=10_000)
    expect(page.locator(".countdown").first).to_be_visible()
    context.close()


def test_an_error_response_counts_as_a_lost_connection(chromium: Browser, deployment: Deployment) -> None:
    """As while Redis is unavailable: the receiver responds, but the page is outdated all the same."""
    fire(deployment, "QueueBacklog")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(deployment.receiver.address + "/")
    context.route("**/*", lambda route: route.fulfill(status=503, body="{}"))
    expect(page.locator("#lost")).to_contain_text("Nothing heard from the receiver since", timeout=10_000)
    expect(page.locator(".card").first).to_be_visible()
    context.unroute("**/*")
    expect(page.locator("#lost")).to_be_hidden(timeout=10_000)
    context.close()


def test_a_refresh_replaces_only_the_changed_parts_of_a_page(page: Page, deployment: Deployment) -> None:
    incident = fire(deployment, "NodeDown")
    page.goto(f"{deployment.receiver.address}/incidents/{incident}")
    expect(page.locator(".timeline")).to_contain_text("Paged On-call")
    page.wait_for_timeout(3500)
    page.locator("#more details summary").first.click()
    expect(page.locator("#sent #messages")).to_contain_text("the message, as it reads now")
    page.locator("h1").evaluate("each => { each.marked = true; }")
    for _ in range(2):
        with page.expect_response(lambda answer: "/incidents/" in answer.url and answer.ok):
            pass
    page.wait_for_timeout(200)
    assert page.locator("h1").evaluate("each => each.marked === true")
    deployment.ask("POST", f"/api/v1/incidents/{incident}/acknowledge", {"by": "alice"})
    expect(page.locator("#state")).to_have_text("acknowledged by alice")
    assert page.locator("h1").evaluate("each => each.marked === undefined")
    expect(page.locator("#more details[open]")).to_have_count(1)


def test_maintenance_started_by_another_user_is_shown_at_once(page: Page, deployment: Deployment) -> None:
    page.goto(deployment.receiver.address + "/")
    deployment.ask("POST", "/api/v1/maintenance", {"by": "bob", "for": "1h"})
    banner = page.get_by_label("Maintenance", exact=True)
    expect(banner).to_contain_text("nobody is paged")
    banner.get_by_role("button").click()
    expect(page.get_by_label("Maintenance", exact=True)).to_have_count(0)


def test_a_time_of_tomorrow_is_marked_as_such(page: Page, deployment: Deployment) -> None:
    page.goto(deployment.receiver.address + "/")
    page.get_by_text("Maintenance", exact=True).click()
    page.get_by_label("For", exact=True).fill("1d")
    page.get_by_label("Your name").fill("bob")
    page.get_by_role("button", name="Page nobody").click()
    banner = page.get_by_label("Maintenance", exact=True)
    expect(banner).to_contain_text("Maintenance until tomorrow ")
    banner.get_by_role("button").click()
    expect(page.get_by_label("Maintenance", exact=True)).to_have_count(0)


def test_labels_are_routed_in_a_dry_run_and_sent_as_a_test_alert(page: Page, deployment: Deployment) -> None:
    page.goto(deployment.receiver.address + "/routing")
    page.get_by_label("Labels").fill("alertname=Drill severity=critical")
    page.get_by_role("button", name="Try").click()
    expect(page.get_by_role("status")).to_contain_text("On-call at once, Team Lead after 5m")
    page.get_by_role("button", name="Send this as a test alert").click()
    expect(page.get_by_role("heading", name="Drill", level=1)).to_be_visible()
    deployment.wait_for(lambda: any("Drill" in str(event.body) for event in deployment.pagerduty.events))


def test_the_pages_work_without_scripts(chromium: Browser, deployment: Deployment) -> None:
    incident = fire(deployment, "CertificateExpiry")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(deployment.receiver.address + "/")
    card = page.locator(".card", has_text="CertificateExpiry")
    expect(card).to_contain_text("UTC")
    card.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".card", has_text="CertificateExpiry")).to_contain_text("acknowledged by")
    page.goto(f"{deployment.receiver.address}/incidents/{incident}")
    page.get_by_role("button", name="Un-acknowledge").click()
    expect(page.locator("#state")).to_have_text("open, nobody has it")
    context.close()


def test_everything_is_reachable_by_keyboard(page: Page, deployment: Deployment) -> None:
    fire(deployment, "PodCrashLooping")
    page.goto(deployment.receiver.address + "/?text=PodCrashLooping")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id.replace(/-[0-9a-z]{12}-.*/, '')"))
    assert {"to", "acknowledge"} <= reached


def test_the_focus_survives_a_refresh(page: Page, deployment: Deployment) -> None:
    incident = fire(deployment, "DatabaseDown")
    page.goto(deployment.receiver.address + "/")
    page.locator(f"#to-{incident}").focus()
    with page.expect_response(lambda answer: answer.url.rstrip("?").endswith("/") and answer.ok):
        pass
    page.wait_for_timeout(300)
    assert page.evaluate("document.activeElement.id") == f"to-{incident}"

"""What a person sees and does, in a real browser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from receiver.model.alert import fingerprint
from tests.browser.chromium import CHROMIUM
from tests.e2e.outside import Outside

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium)"),
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


def fire(outside: Outside, name: str, severity: str = "critical", **labels: str) -> str:
    return str(outside.post(body(name, severity, **labels))["incidents"][0])


def test_an_alert_appears_without_a_reload_and_is_acknowledged(page: Page, outside: Outside) -> None:
    page.goto(outside.receiver.address + "/")
    page.evaluate("window.isSame = true")
    fire(outside, "DiskFull")
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
    outside.sees(lambda: [event.action for event in outside.pagerduty.events] == ["trigger", "acknowledge"])


def test_the_last_webhook_is_newer_without_a_reload(page: Page, outside: Outside) -> None:
    fire(outside, "DiskFull")
    page.goto(outside.receiver.address + "/")
    page.evaluate("window.isSame = true; window.shown = document.querySelector('#live')")
    said = page.locator(".webhooks")
    expect(said).to_have_text(re.compile(r"^last webhook \d s ago$"))
    expect(said).to_have_text(re.compile(r"^last webhook [789] s ago$"), timeout=15_000)
    fire(outside, "DiskFull")  # a repeat: nothing on the page changes but this
    expect(said).to_have_text(re.compile(r"^last webhook [0-6] s ago$"), timeout=15_000)
    assert page.evaluate("window.isSame && window.shown === document.querySelector('#live')") is True


def test_the_timeline_grows_while_one_looks(page: Page, outside: Outside) -> None:
    incident = fire(outside, "HighLatency")
    page.goto(f"{outside.receiver.address}/incidents/{incident}")
    expect(page.locator(".timeline")).to_contain_text("Paged On-call")
    expect(page.locator(".steps .countdown")).to_have_count(1)
    outside.ask("POST", f"/api/v1/incidents/{incident}/acknowledge", {"by": "alice"})
    expect(page.locator(".timeline")).to_contain_text("Acknowledged by alice")
    expect(page.locator(".steps .countdown")).to_have_count(0)
    expect(page.locator("#state")).to_have_text("acknowledged by alice")
    page.get_by_role("button", name="Resolve").click()
    expect(page.locator("#state")).to_have_text(re.compile("resolved by"))


def test_a_lost_connection_is_said_and_nothing_old_counts_on(chromium: Browser, outside: Outside) -> None:
    fire(outside, "QueueBacklog")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(outside.receiver.address + "/")
    expect(page.locator("#lost")).to_be_hidden()
    context.set_offline(True)
    expect(page.locator("#lost")).to_be_visible(timeout=10_000)
    expect(page.locator(".countdown").first).to_be_hidden()
    context.set_offline(False)
    expect(page.locator("#lost")).to_be_hidden(timeout=10_000)
    expect(page.locator(".countdown").first).to_be_visible()
    context.close()


def test_an_answer_that_says_no_counts_as_nothing_heard(chromium: Browser, outside: Outside) -> None:
    """As when the store is away: the receiver is there, but what is shown is old all the same."""
    fire(outside, "QueueBacklog")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(outside.receiver.address + "/")
    context.route("**/*", lambda route: route.fulfill(status=503, body="{}"))
    expect(page.locator("#lost")).to_contain_text("Nothing heard from the receiver since", timeout=10_000)
    expect(page.locator(".card").first).to_be_visible()
    context.unroute("**/*")
    expect(page.locator("#lost")).to_be_hidden(timeout=10_000)
    context.close()


def test_what_is_still_so_is_left_alone_and_what_changed_is_not(page: Page, outside: Outside) -> None:
    incident = fire(outside, "NodeDown")
    page.goto(f"{outside.receiver.address}/incidents/{incident}")
    expect(page.locator(".timeline")).to_contain_text("Paged On-call")
    page.wait_for_timeout(3500)
    page.locator("#more details summary").first.click()
    page.locator("h1").evaluate("each => { each.marked = true; }")
    for _ in range(2):
        with page.expect_response(lambda answer: "/incidents/" in answer.url and answer.ok):
            pass
    page.wait_for_timeout(200)
    assert page.locator("h1").evaluate("each => each.marked === true")
    outside.ask("POST", f"/api/v1/incidents/{incident}/acknowledge", {"by": "alice"})
    expect(page.locator("#state")).to_have_text("acknowledged by alice")
    assert page.locator("h1").evaluate("each => each.marked === undefined")
    expect(page.locator("#more details[open]")).to_have_count(1)


def test_maintenance_that_somebody_else_begins_is_seen_at_once(page: Page, outside: Outside) -> None:
    page.goto(outside.receiver.address + "/")
    outside.ask("POST", "/api/v1/maintenance", {"by": "bob", "for": "1h"})
    banner = page.get_by_label("Maintenance", exact=True)
    expect(banner).to_contain_text("nobody is paged")
    banner.get_by_role("button").click()
    expect(page.get_by_label("Maintenance", exact=True)).to_have_count(0)


def test_a_moment_of_tomorrow_is_said_to_be(page: Page, outside: Outside) -> None:
    page.goto(outside.receiver.address + "/")
    page.get_by_text("Maintenance", exact=True).click()
    page.get_by_label("For", exact=True).fill("1d")
    page.get_by_label("Your name").fill("bob")
    page.get_by_role("button", name="Page nobody").click()
    banner = page.get_by_label("Maintenance", exact=True)
    expect(banner).to_contain_text("Maintenance until tomorrow ")
    banner.get_by_role("button").click()
    expect(page.get_by_label("Maintenance", exact=True)).to_have_count(0)


def test_labels_are_tried_and_sent_as_a_test_alert(page: Page, outside: Outside) -> None:
    page.goto(outside.receiver.address + "/routing")
    page.get_by_label("Labels").fill("alertname=Drill severity=critical")
    page.get_by_role("button", name="Try").click()
    expect(page.get_by_role("status")).to_contain_text("On-call at once, Team Lead after 5m")
    page.get_by_role("button", name="Send this as a test alert").click()
    expect(page.get_by_role("heading", name="Drill", level=1)).to_be_visible()
    outside.sees(lambda: any("Drill" in str(event.body) for event in outside.pagerduty.events))


def test_without_scripts_one_can_read_and_acknowledge(chromium: Browser, outside: Outside) -> None:
    incident = fire(outside, "CertificateExpiry")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(outside.receiver.address + "/")
    card = page.locator(".card", has_text="CertificateExpiry")
    expect(card).to_contain_text("UTC")
    card.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".card", has_text="CertificateExpiry")).to_contain_text("acknowledged by")
    page.goto(f"{outside.receiver.address}/incidents/{incident}")
    page.get_by_role("button", name="Un-acknowledge").click()
    expect(page.locator("#state")).to_have_text("open, nobody has it")
    context.close()


def test_everything_is_reached_by_keyboard(page: Page, outside: Outside) -> None:
    fire(outside, "PodCrashLooping")
    page.goto(outside.receiver.address + "/?text=PodCrashLooping")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id.replace(/-[0-9a-z]{12}-.*/, '')"))
    assert {"to", "acknowledge"} <= reached


def test_the_focus_survives_a_refresh(page: Page, outside: Outside) -> None:
    incident = fire(outside, "DatabaseDown")
    page.goto(outside.receiver.address + "/")
    page.locator(f"#to-{incident}").focus()
    with page.expect_response(lambda answer: answer.url.rstrip("?").endswith("/") and answer.ok):
        pass
    page.wait_for_timeout(300)
    assert page.evaluate("document.activeElement.id") == f"to-{incident}"

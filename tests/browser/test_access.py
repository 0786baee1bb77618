"""Accessibility: axe-core finds no violation, nothing is cut off on a phone, keys reach everything."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import CHROMIUM, list_violations
from tests.browser.week import break_out, list_paths
from tests.rig import Rig

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium-headless-shell)"
    ),
]
PAGES = ("now", "incident", "history", "runbooks", "runbook", "routing", "missing", "storm")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = (1280, 360)
# Only the first rows of a list: the others have the same template, and the hundred rows of a storm take a
# minute.
ROWS = [["li:nth-child(n+9)"], ["tr:nth-child(n+9)"]]


@pytest.fixture(scope="module")
def addresses(week: tuple[Rig, str]) -> dict[str, str]:
    rig, address = week
    paths = {**list_paths(rig), "missing": "/incidents/nobody-1", "storm": f"/storms/{break_out(rig)}"}
    return {name: address + path for name, path in paths.items()}


def test_a_violation_is_found_in_a_page_that_has_one(chromium: Browser) -> None:
    page = chromium.new_page()
    page.set_content('<main><h1>Alerts</h1><img src="icon.svg"><p><img src="icon.svg"></p></main>')
    assert ("image-alt", ['<img src="icon.svg">'] * 2) in list_violations(page)
    assert ("image-alt", ['<img src="icon.svg">']) in list_violations(page, exclude=[["p"]])
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_no_page_violates_accessibility_rules(
    chromium: Browser, addresses: dict[str, str], name: str
) -> None:
    """axe-core finds no violation of WCAG 2.2 AA, and nothing is cut off on a phone."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(addresses[name])
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(200)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert list_violations(page, exclude=ROWS) == []
            assert page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            )
    context.close()


def test_no_text_of_an_alert_is_wider_than_a_phone(chromium: Browser, week: tuple[Rig, str]) -> None:
    rig, address = week
    endless = "x" * 1500
    alert = rig.alert(endless, "critical", endless=endless, rule="\u202e" + endless)
    alert["annotations"] = {"summary": endless, endless: f"https://example.org/{endless}", "text": endless}
    incident = rig.posts(alert)["incidents"][0]
    rig.works()
    context = chromium.new_context(viewport={"width": 360, "height": 800})
    page = context.new_page()
    for path in ("/", f"/incidents/{incident}", "/history", "/runbooks", f"/routing?labels=a={endless}"):
        page.goto(address + path)
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), path
    context.close()

"""Accessibility: axe-core finds no violation, nothing is cut off on a phone, keys reach everything."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.browser.chromium import CHROMIUM
from tests.browser.week import break_out, list_paths
from tests.rig import Rig

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium)"),
]
PAGES = ("now", "incident", "history", "runbooks", "runbook", "routing", "missing", "storm")
SCHEMES = ("light", "dark")
WIDTHS = (1280, 360)
# Only the first rows of a list: the others have the same template, and the hundred rows of a storm take a
# minute.
ROWS = {"exclude": [["li:nth-child(n+9)"], ["tr:nth-child(n+9)"]]}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def addresses(week: tuple[Rig, str]) -> dict[str, str]:
    rig, address = week
    paths = {**list_paths(rig), "missing": "/incidents/nobody-1", "storm": f"/storms/{break_out(rig)}"}
    return {name: address + path for name, path in paths.items()}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", PAGES)
def test_no_page_violates_accessibility_rules(
    chromium: Browser, addresses: dict[str, str], name: str, scheme: Any
) -> None:
    """axe-core finds no violation of WCAG 2.2 AA, and nothing is cut off on a phone."""
    context = chromium.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(addresses[name])
    page.wait_for_timeout(200)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        found = Axe().run(page, context=ROWS, options={"runOnly": RULES})
        violations = [
            (v["id"], [n["html"][:150] for n in v["nodes"][:3]]) for v in found.response["violations"]
        ]
        assert violations == []
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
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

"""A real receiver with mock Slack and PagerDuty, and a real Chromium that opens its pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import CHROMIUM, FLAGS
from tests.browser.week import play_week, serve
from tests.e2e.deployment import Deployment
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import ROUTING, Rig
from tests.valkey import valkey_url

__all__ = ["valkey_url"]

RUNBOOK = """### DiskFull (Critical)

**Symptom**: the disk of a host is nearly full.

**Resolution**:

1. Look what grew: `du -xh / | sort -h | tail`
2. Rotate the logs.

| host | disk |
| --- | --- |
| web | 20 GB |
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page of desktop width; any error in its console fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    context.close()
    assert faults == []


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("browser")
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "disk.md").write_text(RUNBOOK)
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(folder, slack, pagerduty, ROUTING, workers=2, PUBLIC_URL="http://ops.example")
        yield deployment
        deployment.receiver.end()


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> Iterator[tuple[Rig, str]]:
    """A simulated week, and the URL of its pages."""
    with play_week(tmp_path_factory.mktemp("week"), valkey_url) as rig, serve(rig) as address:
        yield rig, address

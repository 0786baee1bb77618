"""A real receiver between mock Slack and PagerDuty, and a real Chromium that looks at its pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.outside import Outside
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.rig import ROUTING

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",  # as root, as tests in a container are
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
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


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder: Path = tmp_path_factory.mktemp("browser")
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "disk.md").write_text(RUNBOOK)
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        outside = Outside(folder, slack, pagerduty, ROUTING)
        yield outside
        outside.receiver.end()

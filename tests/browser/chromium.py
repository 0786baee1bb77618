"""Debian's Chromium, its path and its flags, and axe-core in its pages.

`chromium-headless-shell` is the same browser without a user interface: a page takes a third of the CPU time that
it takes in `chromium --headless`, which is used where the shell is not installed.
"""

from __future__ import annotations

import shutil
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
FLAGS = [
    "--no-sandbox",  # needed as root, which tests in a container are
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def list_violations(page: Page, exclude: list[list[str]] | None = None) -> list[tuple[str, list[str]]]:
    """Return the rules of axe-core that *page* violates, each with the first elements that do.

    *exclude* holds CSS selectors of elements that are not tested. axe-core is compiled once for each page.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    violations: list[dict[str, Any]] = page.evaluate(
        "([context, options]) => axe.run(context, options).then(results => results.violations)",
        [{"exclude": exclude or []}, {"runOnly": RULES, "resultTypes": ["violations"]}],
    )
    return [(v["id"], [node["html"][:150] for node in v["nodes"][:3]]) for v in violations]

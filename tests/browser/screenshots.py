"""Screenshots of every page in desktop and phone width, for the documents: `make screenshots`.

They show a simulated week at a fixed time, so that a screenshot changes only with its page.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from receiver.standalone.valkey import EmbeddedValkey
from tests.browser.chromium import CHROMIUM, FLAGS
from tests.browser.week import break_out, list_paths, play_week, serve

# Width, maximum height, and colour scheme.
SIZES = {"desktop": (1280, 1400, "light"), "phone": (360, 1600, "dark")}
HOME = Path(__file__).parents[2]


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="rcv-") as place:
        valkey = EmbeddedValkey(Path(place))
        process = valkey.start()
        try:
            valkey.wait_ready(process)
            _take_all(folder, Path(place), valkey.url)
        finally:
            process.terminate()
            process.wait(10)


def _take_all(folder: Path, place: Path, valkey_url: str) -> None:
    home = place / "week"
    home.mkdir()
    with play_week(home, valkey_url) as rig, serve(rig) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name, path in list_paths(rig).items():
            _take(browser, address + path, folder / name)
        _take(browser, f"{address}/storms/{break_out(rig)}", folder / "storm")
        browser.close()


def _take(browser: Browser, url: str, file: Path) -> None:
    for size, (width, height, scheme) in SIZES.items():
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
            locale="en-GB",
            timezone_id="UTC",
        )
        page = context.new_page()
        page.goto(url)
        page.wait_for_timeout(300)
        whole = page.evaluate("document.documentElement.scrollHeight")
        page.screenshot(
            path=file.with_name(f"{file.name}-{size}.png"),
            full_page=True,
            clip={"x": 0, "y": 0, "width": width, "height": min(height, whole)},
        )
        context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HOME / "docs" / "screenshots")

"""How fast the pages are with many open incidents, and how much their viewers delay webhooks."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from bench.load import build_requests, post_all
from bench.servers import receiver_web

OPEN = 10_000
VIEWERS, POLL_EVERY_S = 10, 3.0
TIMES = 7
PATHS = ("/", "/history", "/api/v1/incidents")
WEBHOOKS, PAUSE_S = 1000, 0.01
_STAMP = re.compile(r'data-stamp="(\w+)"')


@dataclass(frozen=True)
class Pages:
    """The best time of each page in seconds, and the times of webhooks without and with viewers."""

    best: dict[str, float]
    alone: list[float]
    beside: list[float]


def measure(folder: Path) -> Pages:
    """Open OPEN incidents of one alert each and measure the pages and duplicate webhooks."""
    with receiver_web(folder) as port:
        post_all(port, build_requests(1, (f"open-{i}" for i in range(OPEN))))
        best = {path: min(Viewer(port).load_page(path) for _ in range(TIMES)) for path in PATHS}
        viewer = Viewer(port)
        viewer.load_page("/")
        best["/ unchanged"] = min(viewer.load_page("/") for _ in range(TIMES))
        alone = _post_duplicates(port)
        with _viewers(port):
            return Pages(best, alone, _post_duplicates(port))


@dataclass
class Viewer:
    """A browser: it sends its cookie, and the stamp of the page that it shows."""

    port: int
    cookie: str = ""
    stamp: str = ""

    def load_page(self, path: str) -> float:
        """Return the seconds of one request."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Cookie": self.cookie, "X-Receiver-Stamp": self.stamp}
        started_at = time.perf_counter()
        connection.request("GET", path, headers={name: value for name, value in headers.items() if value})
        response = connection.getresponse()
        found = _STAMP.search(response.read().decode())
        seconds = time.perf_counter() - started_at
        connection.close()
        self.cookie = response.getheader("Set-Cookie", self.cookie).partition(";")[0]
        self.stamp = found[1] if found else self.stamp
        return seconds


def _post_duplicates(port: int) -> list[float]:
    waits: list[float] = []
    for request in build_requests(1, (f"open-{i % OPEN}" for i in range(WEBHOOKS))):
        waits += post_all(port, [request]).waits
        time.sleep(PAUSE_S)
    return waits


@contextmanager
def _viewers(port: int) -> Iterator[None]:
    """Let VIEWERS look at the dashboard meanwhile; each polls as the page's script does."""
    stopped = threading.Event()

    def view(number: int) -> None:
        viewer = Viewer(port)
        stopped.wait(POLL_EVERY_S * number / VIEWERS)
        while not stopped.is_set():
            viewer.load_page("/")
            stopped.wait(POLL_EVERY_S)

    threads = [threading.Thread(target=view, args=(number,)) for number in range(VIEWERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()

"""A body of 40 MiB or of 2,000 alerts does not delay small ones."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.e2e.bodies import a_body
from tests.e2e.deployment import Deployment
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures as Linux does")

MEBIBYTE = 1024 * 1024
FOR_S = 5.0
SMALL_EVERY_S = 0.05


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(tmp_path_factory.mktemp("outside"), slack, pagerduty, workers=2)
        yield deployment
        deployment.kill_everything()


class Poster(threading.Thread):
    """Posts one body after the other until it is stopped, and records the responses."""

    def __init__(self, port: int, body: bytes, *, is_chunked: bool = False, pause_s: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.statuses: list[int] = []
        self.durations_s: list[float] = []
        self._port, self._body, self._is_chunked, self._pause_s = port, body, is_chunked, pause_s
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            started = time.monotonic()
            self.statuses.append(self._post())
            self.durations_s.append(time.monotonic() - started)
            self._stopped.wait(self._pause_s)

    def stop(self) -> None:
        self._stopped.set()
        self.join(30)

    def _post(self) -> int:
        """Return the status; 0 if the connection was closed, which is a valid response to 40 MiB."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        body = (self._body[n : n + MEBIBYTE] for n in range(0, len(self._body), MEBIBYTE))
        try:
            headers = {"Content-Type": "application/json"}
            with suppress(OSError):  # the response may arrive before the whole body was sent
                connection.request(
                    "POST",
                    "/webhooks/alertmanager",
                    body if self._is_chunked else self._body,
                    headers,
                    encode_chunked=self._is_chunked,
                )
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


@pytest.mark.parametrize("kind", ["40 MiB", "40 MiB in chunks", "2,000 alerts"])
def test_small_webhooks_are_fast_while_big_ones_arrive(deployment: Deployment, kind: str) -> None:
    if kind == "2,000 alerts":
        big = json.dumps(a_body("Storm", instances=2000, summary="x" * 300)).encode()
    else:
        big = b'{"version": "4", "alerts": [' + b" " * (40 * MEBIBYTE) + b"]}"
    large = Poster(deployment.port, big, is_chunked="chunks" in kind)
    name = f"DiskFull beside {kind}"
    small = Poster(deployment.port, json.dumps(a_body(name)).encode(), pause_s=SMALL_EVERY_S)
    large.start()
    small.start()
    time.sleep(FOR_S)
    small.stop()
    large.stop()

    print(
        f"{kind}: {len(large.statuses)} big, {len(small.durations_s)} small; "
        f"p50 {sorted(small.durations_s)[len(small.durations_s) // 2]:.3f} s, p99 {p99(small.durations_s):.3f} s"
    )
    assert set(small.statuses) == {200}
    assert set(large.statuses) <= ({200} if kind == "2,000 alerts" else {413, 0})
    assert p99(small.durations_s) < 1.0
    deployment.wait_for(lambda: any(name in page.summary for page in deployment.pagerduty.opened()))

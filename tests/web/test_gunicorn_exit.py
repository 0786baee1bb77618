"""A web process that ends in order saves what it has only in memory: notices, and the times of webhooks."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.last_webhooks import LastWebhooks
from receiver.notices import RedisNotices
from receiver.storage.connection import Client
from tests.cli.running import RECEIVER, clean_environ, wait_until
from tests.valkey import redis_client, valkey_url

__all__ = ["redis_client", "valkey_url"]
ROUTING = """\
version: 1
notices: {channel: "#monitoring"}
routes:
  - {match: [], channel: "#alerts"}
"""


class Web:
    """`receiver web` with one worker, on a free port."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        (folder / "routing.yaml").write_text(ROUTING)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*RECEIVER, "web", "--listen", "127.0.0.1:0", "--workers", "1"],
                cwd=folder,
                env=clean_environ(REDIS_URL=redis_url),
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+", self.log()), self.log)

    def log(self) -> str:
        return self._log.read_text()

    def post(self, path: str, body: bytes) -> int:
        port = re.search(r"http://127\.0\.0\.1:(\d+)", self.log())
        assert port is not None, self.log()
        connection = http.client.HTTPConnection("127.0.0.1", int(port[1]), timeout=20)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.fixture
def web(tmp_path: Path, valkey_url: str, redis_client: Client) -> Iterator[Web]:
    web = Web(tmp_path, valkey_url)
    yield web
    web.process.kill()
    web.process.wait(10)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_refused_webhooks_are_reported_although_their_process_ends(
    web: Web, redis_client: Client, how: signal.Signals
) -> None:
    assert web.post("/webhooks/alertmanager", b"nonsense") == 400
    assert web.post("/elsewhere", b'{"version": "4", "alerts": [{"labels": {"a": "b"}}]}') == 404
    assert web.post("/webhooks/alertmanager?source=eu", b'{"alerts": []}') == 200
    web.process.send_signal(how)
    wait_until(lambda: "Worker exiting" in web.log(), web.log)
    notices, times = RedisNotices(redis_client), LastWebhooks(redis_client)
    wait_until(lambda: len(notices.list_pending()[0]) == 2 and "eu" in times.list_all(), web.log)
    texts = " ".join(notice.text for notice in notices.list_pending()[0].values())
    assert "its alerts are lost" in texts
    assert "elsewhere" in texts

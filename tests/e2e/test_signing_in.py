"""Logins with real processes: a provider that never responds delays no other request."""

from __future__ import annotations

import http.client
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.cli.running import Running, wait_until
from tests.mocks.openid import MockProvider


def get(address: str, path: str, headers: dict[str, str]) -> tuple[int, float]:
    """Return the status, and the seconds it took."""
    started = time.monotonic()
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=15)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status, time.monotonic() - started
    finally:
        connection.close()


def test_a_hanging_provider_delays_only_logins(tmp_path: Path) -> None:
    token = {"Authorization": "Bearer api-token"}
    with MockProvider(redirect_uri="http://127.0.0.1:9080/sign-in/callback") as provider:
        provider.is_silent = True
        environ = {
            **provider.environ,
            "RECEIVER_API_TOKEN": "api-token",
            "PUBLIC_URL": "http://127.0.0.1:9080",
        }
        receiver = Running(tmp_path, **environ)
        try:
            wait_until(receiver.is_ready, receiver.log)
            found: list[tuple[int, float]] = []
            send = lambda: found.append(get(receiver.address, "/sign-in", {}))  # noqa: E731
            threads = [threading.Thread(target=send) for _ in range(20)]
            for thread in threads:
                thread.start()
            wait_until(lambda: provider.asked)
            for _ in range(5):
                status, duration_s = get(receiver.address, "/api/v1/incidents", token)
                assert status == 200
                assert duration_s < 1
            for thread in threads:
                thread.join(15)
            assert [status for status, _ in found] == [502] * 20
            assert max(duration_s for _, duration_s in found) < 8
            assert len(provider.asked) == 1
        finally:
            receiver.end()

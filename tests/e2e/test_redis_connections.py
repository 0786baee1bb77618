"""A Redis that takes 20 connections, and 60 webhooks at once: what can't be taken now is taken then."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.bodies import a_body
from tests.e2e.outside import Outside
from tests.e2e.redis_traffic import Body, has_paged_once, post
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.redis_servers import Server, needs_redis, wait_until

pytestmark = [
    needs_redis,
    pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does"),
]
AT_ONCE = 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "redis", "--maxclients", "20").start()
    yield server
    server.kill()


def post_at_once(outside: Outside, bodies: list[Body]) -> list[int]:
    """Post all at the same instant, again after 503 as Alertmanager does; return every status there was."""
    start = threading.Barrier(len(bodies))

    def post_until_taken(body: Body) -> list[int]:
        start.wait(10)
        statuses: list[int] = []

        def is_taken() -> bool:
            statuses.append(post(outside, body)[0])
            return statuses[-1] == 200

        wait_until(is_taken, outside.describe)
        return statuses

    with ThreadPoolExecutor(len(bodies)) as threads:
        return [status for statuses in threads.map(post_until_taken, bodies) for status in statuses]


@pytest.mark.parametrize(
    ("max_connections", "expected"),
    [
        pytest.param("6", {200}, id="fewer than Redis takes"),
        pytest.param("", {200, 503}, id="as many as by default"),
        pytest.param("500", {200, 503}, id="any number"),
    ],
)
def test_sixty_webhooks_at_once(
    tmp_path: Path, server: Server, max_connections: str, expected: set[int]
) -> None:
    """Two web processes and a worker, as `receiver run` starts them."""
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        outside = Outside(
            tmp_path, slack, pagerduty, REDIS_URL=server.url, REDIS_MAX_CONNECTIONS=max_connections
        )
        try:
            for burst in range(3):
                bodies = [a_body(f"Burst{burst}n{n}") for n in range(AT_ONCE)]
                assert set(post_at_once(outside, bodies)) <= expected
            # Each process works, whichever takes it.
            for n in range(20):
                assert post(outside, a_body(f"After{n}"))[0] == 200, outside.describe()
                assert outside.ask("GET", "/readyz")[0] == 200, outside.describe()
            outside.sees(lambda: all(has_paged_once(outside, a_body(f"After{n}")) for n in range(20)), 60.0)
            assert outside.receiver.events("child died") == []
        finally:
            outside.kill_everything()

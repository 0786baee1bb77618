"""A Redis that accepts 20 connections, and 60 webhooks at once: each is accepted at once or after a retry."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.bodies import a_body
from tests.e2e.deployment import Deployment
from tests.e2e.redis_traffic import Body, has_paged_once, post
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.redis_servers import Server, needs_redis, wait_until
from tests.sampling import is_exhaustive, sample

pytestmark = [
    pytest.mark.alone,
    needs_redis,
    pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does"),
]
AT_ONCE = 60
# More connections than Redis accepts.
MORE = [
    pytest.param("", {200, 503}, id="as many as by default"),
    pytest.param("500", {200, 503}, id="any number"),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "redis", "--maxclients", "20").start()
    yield server
    server.kill()


def post_at_once(deployment: Deployment, bodies: list[Body]) -> list[int]:
    """Post all at the same instant, and again after a 503 as Alertmanager does; return every status."""
    start = threading.Barrier(len(bodies))

    def post_until_accepted(body: Body) -> list[int]:
        start.wait(10)
        statuses: list[int] = []

        def is_accepted() -> bool:
            statuses.append(post(deployment, body)[0])
            return statuses[-1] == 200

        wait_until(is_accepted, deployment.describe)
        return statuses

    with ThreadPoolExecutor(len(bodies)) as threads:
        return [status for statuses in threads.map(post_until_accepted, bodies) for status in statuses]


@pytest.mark.parametrize(
    ("max_connections", "expected"),
    [
        pytest.param("6", {200}, id="fewer than Redis takes"),
        *(MORE if is_exhaustive() else sample(MORE, 1, "redis connections")),
    ],
)
def test_sixty_webhooks_at_once(
    tmp_path: Path, server: Server, max_connections: str, expected: set[int]
) -> None:
    """Two web processes and a worker, as `receiver run` starts them."""
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        deployment = Deployment(
            tmp_path,
            slack,
            pagerduty,
            workers=2,
            REDIS_URL=server.url,
            REDIS_MAX_CONNECTIONS=max_connections,
        )
        try:
            for burst in range(3):
                bodies = [a_body(f"Burst{burst}n{n}") for n in range(AT_ONCE)]
                assert set(post_at_once(deployment, bodies)) <= expected
            # Every web process works, whichever accepts the connection.
            for n in range(20):
                assert post(deployment, a_body(f"After{n}"))[0] == 200, deployment.describe()
                assert deployment.ask("GET", "/readyz")[0] == 200, deployment.describe()
            deployment.wait_for(
                lambda: all(has_paged_once(deployment, a_body(f"After{n}")) for n in range(20)), 60.0
            )
            assert deployment.receiver.events("child died") == []
        finally:
            deployment.kill_everything()

"""A failover by real sentinels, and slots that move, under traffic: nothing is lost, nothing doubled."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from receiver.storage.keys import CLUSTER_SHARDS, Keys
from tests.e2e.bodies import a_body
from tests.e2e.deployment import Deployment
from tests.e2e.redis_traffic import Body, has_paged_once, pages, post, post_until_accepted
from tests.mocks.pagerduty import MockPagerDuty
from tests.mocks.slack import MockSlack
from tests.redis_servers import Cluster, Sentinels, Server, needs_redis, wait_until

pytestmark = [
    needs_redis,
    pytest.mark.skipif(sys.platform != "linux", reason="kills as Linux does"),
]


@pytest.fixture
def mocks() -> Iterator[tuple[MockSlack, MockPagerDuty]]:
    with MockSlack() as slack, MockPagerDuty() as pagerduty:
        yield slack, pagerduty


class Traffic:
    """Posts one alert after the other, each until it is accepted."""

    def __init__(self, deployment: Deployment, count: int, master: Server | None = None) -> None:
        self.bodies = [a_body(f"Alert{n}") for n in range(count)]
        self.accepted: list[Body] = []
        # The alerts whose incidents were on the replica too when they were accepted.
        self.replicated: list[Body] = []
        self._deployment = deployment
        self._master = master
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(60)
        assert len(self.accepted) == len(self.bodies), self._deployment.describe()

    def _run(self) -> None:
        for one in self.bodies:
            post_until_accepted(self._deployment, one)
            if self._is_replicated():
                self.replicated.append(one)
            self.accepted.append(one)
            time.sleep(0.1)

    def _is_replicated(self) -> bool:
        """Return whether the replica has everything that the master has written so far."""
        if self._master is None:
            return False
        with suppress(redis.RedisError, OSError), self._master.build_client() as client:
            client.set("marker", "1", ex=60)
            return bool(client.wait(1, 500))
        return False


def incidents_of(deployment: Deployment) -> list[str]:
    status, answer = deployment.ask("GET", "/api/v1/incidents?limit=200")
    assert status == 200, answer
    return sorted(str(row["alertname"]) for row in answer["incidents"])


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    sentinels = Sentinels(tmp_path / "redis")
    yield sentinels
    sentinels.stop_all()


def test_a_failover_loses_nothing_that_the_replica_had(
    tmp_path: Path, sentinels: Sentinels, mocks: tuple[MockSlack, MockPagerDuty]
) -> None:
    deployment = Deployment(tmp_path, *mocks, REDIS_URL=sentinels.url)
    try:
        traffic = Traffic(deployment, 12, sentinels.master)
        traffic.start()
        wait_until(lambda: len(traffic.accepted) >= 4, deployment.describe)
        sentinels.master.kill()
        assert len(traffic.accepted) < len(traffic.bodies)
        traffic.wait()
        assert len(traffic.replicated) >= 4
        names = [one["groupLabels"]["alertname"] for one in traffic.replicated]
        assert set(names) <= set(incidents_of(deployment))
        for one in traffic.bodies:  # Alertmanager repeats firing alerts
            assert post(deployment, one)[0] == 200
        deployment.wait_for(lambda: all(has_paged_once(deployment, one) for one in traffic.bodies))
        assert incidents_of(deployment) == sorted(one["groupLabels"]["alertname"] for one in traffic.bodies)
        wait_until(lambda: deployment.ask("GET", "/readyz")[0] == 200)
        assert deployment.receiver.events("child died") == []
    finally:
        deployment.kill_everything()


def is_master(client: redis.Redis) -> bool:
    """Return whether a server is a master; at a failover it closes its clients' connections."""
    with suppress(redis.ConnectionError):
        return bool(client.info("replication")["role"] == "master")
    return False


def test_clients_leave_a_demoted_master_for_the_new_one(
    tmp_path: Path, sentinels: Sentinels, mocks: tuple[MockSlack, MockPagerDuty]
) -> None:
    """The old master runs on as a replica, with all its connections open: it responds with READONLY."""
    deployment = Deployment(tmp_path, *mocks, REDIS_URL=sentinels.url)
    try:
        before, after = a_body("Before"), a_body("After")
        post_until_accepted(deployment, before)
        deployment.wait_for(lambda: has_paged_once(deployment, before))
        sentinels.sentinels[0].run_command("SENTINEL", "FAILOVER", "receiver-master")
        with sentinels.replica.build_client() as client:
            wait_until(lambda: is_master(client))
        post_until_accepted(deployment, after)
        deployment.wait_for(lambda: has_paged_once(deployment, after))
        assert pages(deployment, before) == 1
        wait_until(lambda: deployment.ask("GET", "/readyz")[0] == 200)
        assert incidents_of(deployment) == ["After", "Before"]
    finally:
        deployment.kill_everything()


def test_slots_that_move_while_alerts_fire_lose_and_double_nothing(
    tmp_path: Path, mocks: tuple[MockSlack, MockPagerDuty]
) -> None:
    cluster = Cluster(tmp_path / "redis")
    try:
        deployment = Deployment(tmp_path, *mocks, REDIS_URL=cluster.url)
        try:
            traffic = Traffic(deployment, 24)
            traffic.start()
            wait_until(lambda: len(traffic.accepted) >= 4, deployment.describe)
            for shard in range(CLUSTER_SHARDS):
                slot = key_slot(Keys(shard).open.encode())
                there = cluster.nodes.index(cluster.find_owner(slot))
                cluster.move_slot(slot, cluster.nodes[(there + 1) % 3], pause_s=0.05)
            traffic.wait()
            deployment.wait_for(
                lambda: all(has_paged_once(deployment, one) for one in traffic.bodies), within_s=30.0
            )
            assert incidents_of(deployment) == sorted(
                one["groupLabels"]["alertname"] for one in traffic.bodies
            )
            assert all(int(node.run_command("DBSIZE")) > 0 for node in cluster.nodes)  # type: ignore[call-overload]
            wait_until(lambda: deployment.ask("GET", "/readyz")[0] == 200)
            assert deployment.receiver.events("child died") == []
        finally:
            deployment.kill_everything()
    finally:
        cluster.stop_all()

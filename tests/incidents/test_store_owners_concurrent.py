"""Alertmanager flushes the groups of two receivers at the same moment, and two processes take them at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis.crc import key_slot

from receiver.errors import StoreError
from receiver.incidents.ingest import IncidentIngester
from receiver.incidents.store import RedisIncidents
from receiver.model.incident import group_id_of
from receiver.model.owners import group_family_of
from receiver.storage.connection import Client, connect
from receiver.storage.keys import CLUSTER_SHARDS, Keys, shard_of
from tests.builders import OPENED_AT, a_group, an_alert
from tests.incidents.test_store_owners import Rules
from tests.incidents.two_processes import Taking, a_hundred_alerts, ingest_all_at_once, one_alert
from tests.redis_servers import Cluster, needs_redis, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), "--cluster-require-full-coverage", "no")
    yield cluster
    cluster.stop_all()


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    client = connect(cluster.url)
    client.flushall()
    yield client
    client.close()


def check(url: str, take: Taking, times: int) -> None:
    """Each alert is new once, a duplicate once, and both are told the same single incident."""
    slow = []
    for n, ((one, one_s), (other, other_s)) in enumerate(ingest_all_at_once(url, take, times)):
        count = len(take(n))
        assert (one.new + other.new, one.duplicates + other.duplicates) == (count, count), n
        assert one.incidents == other.incidents, n
        assert len(one.incidents) == 1, n
        slow.append(max(one_s, other_s))
    assert sorted(slow)[times // 2] < 0.5, "as a rule nobody waits for a claim to run out"


@needs_redis
def test_on_a_cluster_it_is_one_incident_each_of_200_times(cluster: Cluster, client: Client) -> None:
    check(cluster.url, one_alert, 200)
    assert all(node.run_command("DBSIZE") for node in cluster.nodes)


@needs_redis
def test_so_is_a_group_of_a_hundred(cluster: Cluster, client: Client) -> None:
    check(cluster.url, a_hundred_alerts, 30)


def test_on_one_redis_it_is_one_incident_each_of_200_times(valkey_url: str, redis_client: Client) -> None:
    check(valkey_url, one_alert, 200)


def test_so_is_a_group_of_a_hundred_on_one_redis(valkey_url: str, redis_client: Client) -> None:
    check(valkey_url, a_hundred_alerts, 30)


@needs_redis
def test_while_a_node_is_dead_what_fires_elsewhere_is_still_ingested(
    cluster: Cluster, client: Client
) -> None:
    """A copy needs its own slot only; what is new needs the shard of its claim."""
    dead = cluster.nodes[2]
    incidents = RedisIncidents(client, history_s=1000, shards=CLUSTER_SHARDS)
    ingester = IncidentIngester(incidents, Rules())  # type: ignore[arg-type]
    place = group_family_of("default", "#alerts")

    def is_on_dead(shard: int) -> bool:
        return cluster.find_owner(key_slot(Keys(shard).open.encode())) is dead

    away = [shard for shard in range(CLUSTER_SHARDS) if is_on_dead(shard)]
    key = next(
        f"{{}}:{{{n}}}"
        for n in range(99)
        if shard_of(group_id_of("default", f"{{}}:{{{n}}}", "#alerts"), CLUSTER_SHARDS) not in away
    )
    # Claims of these lie on all nodes.
    alerts = [an_alert(instance=f"web-{n}") for n in range(30)]
    new = next(
        alert
        for alert in (an_alert(instance=f"new-{n}") for n in range(99))
        if shard_of(f"{place} {alert.fingerprint}", CLUSTER_SHARDS) in away
    )
    assert ingester.ingest((a_group(*alerts, group_key=key),), OPENED_AT).new == 30
    dead.kill()
    try:
        assert ingester.ingest((a_group(*alerts, group_key=key),), OPENED_AT).duplicates == 30
        with pytest.raises(StoreError):
            ingester.ingest((a_group(*alerts, new, group_key=key),), OPENED_AT)
    finally:
        dead.start()
        wait_until(cluster.is_ready)
    assert ingester.ingest((a_group(*alerts, new, group_key=key),), OPENED_AT).new == 1

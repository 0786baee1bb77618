"""Alertmanager sends the groups of two receivers at the same instant, and two processes ingest them at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis.crc import key_slot

from receiver.errors import StoreError
from receiver.incidents.store import RedisIncidents
from receiver.model.incident import group_id_of
from receiver.model.owners import group_family_of
from receiver.storage.connection import Client, connect
from receiver.storage.keys import CLUSTER_SHARDS, Keys, shard_of
from tests.builders import OPENED_AT, a_group, an_alert
from tests.incidents.test_store_owners import Rules
from tests.incidents.two_processes import AlertsOf, a_hundred_alerts, ingest_all_at_once, one_alert
from tests.ingesting import build_ingester
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


def check(url: str, alerts_of: AlertsOf, times: int) -> None:
    """Each alert is new once and a duplicate once, and both processes return the same single incident."""
    slow = []
    for n, ((first, first_s), (other, other_s)) in enumerate(ingest_all_at_once(url, alerts_of, times)):
        count = len(alerts_of(n))
        assert (first.new + other.new, first.duplicates + other.duplicates) == (count, count), n
        assert first.incidents == other.incidents, n
        assert len(first.incidents) == 1, n
        slow.append(max(first_s, other_s))
    assert sorted(slow)[times // 2] < 0.5, "as a rule no process waits for a claim to expire"


@needs_redis
def test_on_a_cluster_two_processes_create_one_incident_each_of_200_times(
    cluster: Cluster, client: Client
) -> None:
    check(cluster.url, one_alert, 200)
    assert all(node.run_command("DBSIZE") for node in cluster.nodes)


@needs_redis
def test_on_a_cluster_two_processes_create_one_incident_of_a_hundred_alerts(
    cluster: Cluster, client: Client
) -> None:
    check(cluster.url, a_hundred_alerts, 30)


def test_on_one_redis_two_processes_create_one_incident_each_of_200_times(
    valkey_url: str, redis_client: Client
) -> None:
    check(valkey_url, one_alert, 200)


def test_on_one_redis_two_processes_create_one_incident_of_a_hundred_alerts(
    valkey_url: str, redis_client: Client
) -> None:
    check(valkey_url, a_hundred_alerts, 30)


@needs_redis
def test_while_a_cluster_node_is_down_alerts_of_the_other_nodes_are_ingested(
    cluster: Cluster, client: Client
) -> None:
    """A duplicate needs only the shard of its incident; a new alert also needs the shard of its claim."""
    dead_node = cluster.nodes[2]
    incidents = RedisIncidents(client, history_s=1000, shards=CLUSTER_SHARDS)
    ingester = build_ingester(incidents, Rules())
    family = group_family_of("default", "#alerts")

    def is_on_dead_node(shard: int) -> bool:
        return cluster.find_owner(key_slot(Keys(shard).open.encode())) is dead_node

    unavailable = [shard for shard in range(CLUSTER_SHARDS) if is_on_dead_node(shard)]
    key = next(
        f"{{}}:{{{n}}}"
        for n in range(99)
        if shard_of(group_id_of("default", f"{{}}:{{{n}}}", "#alerts"), CLUSTER_SHARDS) not in unavailable
    )
    # The claims of these alerts are spread over all nodes.
    alerts = [an_alert(instance=f"web-{n}") for n in range(30)]
    new = next(
        alert
        for alert in (an_alert(instance=f"new-{n}") for n in range(99))
        if shard_of(f"{family} {alert.fingerprint}", CLUSTER_SHARDS) in unavailable
    )
    assert ingester.ingest((a_group(*alerts, group_key=key),), OPENED_AT).new == 30
    dead_node.kill()
    try:
        assert ingester.ingest((a_group(*alerts, group_key=key),), OPENED_AT).duplicates == 30
        with pytest.raises(StoreError):
            ingester.ingest((a_group(*alerts, new, group_key=key),), OPENED_AT)
    finally:
        dead_node.start()
        wait_until(cluster.is_ready)
    assert ingester.ingest((a_group(*alerts, new, group_key=key),), OPENED_AT).new == 1

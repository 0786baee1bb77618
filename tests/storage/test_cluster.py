"""Storage on a real Redis Cluster of three nodes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from receiver.engine.jobs import JobQueue
from receiver.engine.queue import LEASE_S, WorkQueue
from receiver.engine.simulated_messages import RedisSimulatedMessages
from receiver.errors import StoreError
from receiver.storage.connection import Client, Scripts, connect, count_shards, list_servers, store_errors
from receiver.storage.keys import CLUSTER_SHARDS, Keys
from tests.redis_servers import Cluster, Server, needs_redis, wait_until
from tests.script_clocks import SHARED_CLOCK

pytestmark = needs_redis
NOW = 1_795_435_200.0


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


@pytest.fixture
def work_queue(cluster: Cluster, client: Client) -> WorkQueue:
    return WorkQueue(client, shards=count_shards(cluster.url), script_clock=SHARED_CLOCK)


def keys_on(node: Server) -> int:
    return int(node.run_command("DBSIZE"))  # type: ignore[call-overload]


def test_the_number_of_shards_never_changes() -> None:
    """Else a new version would not find what an older version stored."""
    assert CLUSTER_SHARDS == 16


def test_the_work_queue_is_spread_over_all_nodes_and_every_entry_is_claimed(
    cluster: Cluster, client: Client, work_queue: WorkQueue
) -> None:
    names = {f"slot{n}-1" for n in range(200)}
    for name in names:
        work_queue.enqueue("slack", name, NOW)
    assert all(keys_on(node) > 0 for node in cluster.nodes)
    assert set(work_queue.claim("slack", "w1", NOW, 500).entries) == names


def test_at_most_the_requested_number_is_claimed_earliest_first(work_queue: WorkQueue) -> None:
    for n in range(50):
        work_queue.enqueue("slack", f"slot{n}-1", NOW - n)
    claims = work_queue.claim("slack", "w1", NOW, 3)
    assert len(claims.entries) == 3
    assert claims.entries[0] == "slot49-1"
    assert claims.next_check_at == NOW


def test_the_next_due_time_of_all_shards_is_returned(work_queue: WorkQueue) -> None:
    for n in range(50):
        work_queue.enqueue("slack", f"slot{n}-1", NOW + 100 - n)
    assert work_queue.claim("slack", "w1", NOW, 3) == work_queue.claim("slack", "w1", NOW, 3)
    assert work_queue.claim("slack", "w1", NOW, 3).next_check_at == NOW + 51


def test_the_leases_of_a_killed_worker_expire_on_every_shard(work_queue: WorkQueue) -> None:
    names = {f"slot{n}-1" for n in range(40)}
    for name in names:
        work_queue.enqueue("slack", name, NOW)
    work_queue.claim("slack", "dead", NOW, 100)
    assert work_queue.claim("slack", "w2", NOW + 1, 100).next_check_at == pytest.approx(NOW + LEASE_S)
    assert set(work_queue.claim("slack", "w2", NOW + LEASE_S, 100).entries) == names


def test_a_lease_from_before_the_clock_was_set_back_delays_nothing_on_any_shard(
    work_queue: WorkQueue,
) -> None:
    names = {f"slot{n}-1" for n in range(40)}
    for name in names:
        work_queue.enqueue("slack", name, NOW)
    work_queue.claim("slack", "dead", NOW + 3600, 100)
    assert set(work_queue.claim("slack", "w2", NOW, 100).entries) == names


def test_due_entries_are_counted_over_all_shards(work_queue: WorkQueue) -> None:
    for n in range(40):
        work_queue.enqueue("slack", f"slot{n}-1", NOW - 2 * n)
    depth, lag = work_queue.measure_depth("slack", NOW)
    assert (depth, lag) == (40, pytest.approx(78.0))
    assert work_queue.measure_depth("pagerduty", NOW) == (0, 0.0)


def test_a_wake_up_reaches_a_listener_at_any_node(cluster: Cluster, work_queue: WorkQueue) -> None:
    wake_ups: list[tuple[str, float]] = []
    is_listening = threading.Event()

    def listen() -> None:
        for wake in work_queue.listen_for_wakes():
            is_listening.set()
            if wake is not None and wake[0] == "pagerduty":
                wake_ups.append(wake)
            if len(wake_ups) >= 20:
                return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    is_listening.wait(5)
    for n in range(20):
        work_queue.enqueue("pagerduty", f"slot{n}-1", NOW + n)
    wait_until(lambda: len(wake_ups) >= 20)
    assert sorted(wake_ups) == [("pagerduty", NOW + n) for n in range(20)]
    thread.join(5)


def test_data_that_belongs_to_no_incident_is_stored_as_well(
    cluster: Cluster, client: Client, work_queue: WorkQueue
) -> None:
    work_queue.record_heartbeat("w1", NOW)
    assert work_queue.list_workers(NOW - 3) == ["w1"]
    simulated = RedisSimulatedMessages(client)
    simulated.save_message({"text": "hello"})
    assert simulated.list_newest(1) == [{"text": "hello"}]
    job_queue = JobQueue(client, shards=count_shards(cluster.url), script_clock=SHARED_CLOCK)
    assert job_queue.enqueue("pagerduty", "event-1", {"a": 1}, NOW)
    assert not job_queue.enqueue("pagerduty", "event-1", {"a": 1}, NOW)
    (name,) = work_queue.claim("tasks", "w1", NOW, 5).entries
    assert job_queue.find_job(name.removeprefix("job-")) == ("pagerduty", {"a": 1})
    assert work_queue.release("tasks", "w1", name, {"tasks": None})
    assert job_queue.record_once("slack", "click", 60)
    assert not job_queue.record_once("slack", "click", 60)


def test_scripts_are_loaded_into_a_node_that_lacks_them(cluster: Cluster, client: Client) -> None:
    scripts = Scripts(client)
    for node in cluster.nodes:
        node.run_command("SCRIPT", "FLUSH")
    calls = [
        ([keys.queue("slack"), keys.leases("slack"), keys.lease_owners("slack")], ["1", "2", "w", 1, "99"])
        for keys in map(Keys, range(CLUSTER_SHARDS))
    ]
    assert scripts.run_all("claim", calls) == [[b""]] * CLUSTER_SHARDS
    cluster.nodes[1].run_command("SCRIPT", "FLUSH")
    assert [scripts.run_script("claim", *call) for call in calls] == [[b""]] * CLUSTER_SHARDS


def test_commands_follow_a_slot_that_was_moved(
    cluster: Cluster, client: Client, work_queue: WorkQueue
) -> None:
    names = {f"slot{n}-1" for n in range(64)}
    for name in names:
        work_queue.enqueue("slack", name, NOW)
    for shard in range(CLUSTER_SHARDS):
        slot = key_slot(Keys(shard).queue("slack").encode())
        there = cluster.nodes.index(cluster.find_owner(slot))
        cluster.move_slot(slot, cluster.nodes[(there + 1) % 3])
    assert work_queue.measure_depth("slack", NOW)[0] == 64
    assert set(work_queue.claim("slack", "w1", NOW, 100).entries) == names
    assert all(work_queue.release("slack", "w1", name, {"slack": NOW + 1}) for name in names)


def test_keys_of_a_slot_are_readable_while_it_is_being_moved(cluster: Cluster, client: Client) -> None:
    keys = Keys(3)
    slot = key_slot(keys.open.encode())
    client.set(keys.job("stays"), "here", ex=60)
    client.set(keys.job("goes"), "there", ex=60)
    source = cluster.find_owner(slot)
    target = next(node for node in cluster.nodes if node is not source)
    target.run_command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id_of(source))
    source.run_command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.id_of(target))
    source.run_command("MIGRATE", "127.0.0.1", target.port, keys.job("goes"), 0, 5000)
    try:
        assert client.get(keys.job("goes")) == b"there"
        with client.pipeline(transaction=False) as pipe:
            pipe.get(keys.job("stays"))
            pipe.get(keys.job("goes"))
            assert pipe.execute() == [b"here", b"there"]
        with pytest.raises(StoreError, match="TRYAGAIN"), store_errors():
            client.execute_command("EXISTS", keys.job("stays"), keys.job("goes"))
    finally:
        cluster.move_slot(slot, target)
    assert client.get(keys.job("stays")) == b"here"


def test_a_killed_node_affects_only_its_own_slots(
    cluster: Cluster, client: Client, work_queue: WorkQueue
) -> None:
    names = {f"slot{n}-1" for n in range(64)}
    for name in names:
        work_queue.enqueue("slack", name, NOW)
    dead = cluster.nodes[2]
    dead.kill()
    taken: set[str] = set()
    wait_until(lambda: taken.update(claimed(work_queue)) or len(taken) >= 20)
    assert taken < names
    with pytest.raises(StoreError):
        work_queue.measure_depth("slack", NOW)
    dead.start()
    wait_until(lambda: taken.update(claimed(work_queue)) or taken == names)
    assert len(list_servers(client)) == 3


def claimed(work_queue: WorkQueue) -> tuple[str, ...]:
    try:
        return work_queue.claim("slack", "w1", NOW, 100).entries
    except StoreError:
        return ()


def test_an_error_names_the_right_url_for_a_cluster_at_a_plain_address(cluster: Cluster) -> None:
    single = connect(cluster.nodes[0].url)
    elsewhere = next(
        key
        for key in (Keys(n).probe for n in range(CLUSTER_SHARDS))
        if cluster.find_owner(key_slot(key.encode())) is not cluster.nodes[0]
    )
    with pytest.raises(StoreError, match=r"redis\+cluster://"), store_errors():
        single.set(elsewhere, "1", ex=60)


def test_an_error_names_the_right_url_for_a_plain_redis_at_a_cluster_address(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    try:
        client = connect(f"redis+cluster://{server.node}")
        with pytest.raises(StoreError, match="no Redis Cluster"), store_errors():
            client.ping()
    finally:
        server.kill()


def test_a_client_connects_only_when_it_is_used() -> None:
    connect("redis+cluster://127.0.0.1:1")

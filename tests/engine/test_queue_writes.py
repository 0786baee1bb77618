"""The release of a lease and the writes before it, on one server and on a cluster: both take effect, or none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from redis.crc import key_slot

from receiver.engine.queue import DueTimes, WorkQueue
from receiver.errors import StoreError
from receiver.incidents.store import RedisIncidents
from receiver.model.delivery import Delivery, Receipt
from receiver.model.incident import IncidentUpdate, group_id_of
from receiver.model.merge import merge
from receiver.model.routing import RouteSettings
from receiver.storage.connection import Client, connect, count_shards, list_servers, read_script
from tests.builders import a_group, an_alert
from tests.redis_servers import Cluster, Server, needs_redis
from tests.script_clocks import SHARED_CLOCK

pytestmark = needs_redis
NOW = 1_795_435_200.0
SENT = Delivery(attempts=1, receipt=Receipt(NOW))


class Leased:
    """An incident that worker `w1` has claimed in the queue `slack`."""

    def __init__(self, url: str) -> None:
        self.client = connect(url)
        shards = count_shards(url)
        self.work_queue = WorkQueue(self.client, script_clock=SHARED_CLOCK, shards=shards)
        self.incidents = RedisIncidents(
            self.client, history_s=86400, script_clock=SHARED_CLOCK, shards=shards
        )
        group = a_group(an_alert())
        loaded = self.incidents.load_latest([group_id_of(group.source, group.group_key, "r")])[0]
        change = merge(loaded.incident, group, RouteSettings("r", "#a", "", ()), NOW)
        assert change.incident is not None
        assert self.incidents.commit_updates([IncidentUpdate(loaded, change, ("slack",), NOW)]) == [True]
        self.id = change.incident.id
        self.keys = self.incidents.keys_of(loaded.group_id)
        assert self.work_queue.claim("slack", "w1", NOW, 1).entries == (self.id,)

    def release(self) -> bool:
        """Release the incident until NOW + 60, as a worker does that has sent its message."""
        call = self.incidents.build_record_call(self.id, "message", SENT, dues={"slack": None})
        return self.work_queue.release("slack", "w1", self.id, DueTimes({"slack": NOW + 60}, call))

    @property
    def is_saved(self) -> bool:
        return self.incidents.load_incident(self.id).deliveries.get("message") == SENT

    @property
    def is_leased(self) -> bool:
        return bool(self.client.zscore(self.keys.leases("slack"), self.id))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop_all()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture(params=["server", "cluster"])
def leased(request: pytest.FixtureRequest) -> Iterator[Leased]:
    url = request.getfixturevalue(request.param).url
    client = connect(url)
    client.flushall()
    client.close()
    leased = Leased(url)
    yield leased
    leased.client.close()


def check_both_or_none(leased: Leased, refusal: AbstractContextManager[None]) -> None:
    with refusal, pytest.raises(StoreError):
        leased.release()
    assert (leased.is_saved, leased.is_leased) == (False, True)
    assert leased.release()
    assert (leased.is_saved, leased.is_leased) == (True, False)
    assert leased.work_queue.claim("slack", "w1", NOW, 1).next_check_at == NOW + 60


def test_a_full_server_refuses_both(leased: Leased) -> None:
    """A script that only frees a lease would still run: its first write needs no memory."""
    check_both_or_none(leased, _full(leased.client))


@contextmanager
def _full(client: Client) -> Iterator[None]:
    servers = list_servers(client)
    for server in servers:
        server.config_set("maxmemory", 1)
    try:
        yield
    finally:
        for server in servers:
            server.config_set("maxmemory", 0)


def test_a_slot_from_which_only_the_incident_was_moved_refuses_both(cluster: Cluster) -> None:
    client = connect(cluster.url)
    client.flushall()
    client.close()
    leased = Leased(cluster.url)
    leased.work_queue.enqueue("slack", f"{leased.id}-later", NOW + 3600)  # so that the queue's key exists
    check_both_or_none(leased, _moving(cluster, leased))
    leased.client.close()


@contextmanager
def _moving(cluster: Cluster, leased: Leased) -> Iterator[None]:
    """Move the incident to another node, while its queue and its lease are still on the former one."""
    slot = key_slot(leased.keys.leases("slack").encode())
    source = cluster.find_owner(slot)
    target = next(node for node in cluster.nodes if node is not source)
    target.run_command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id_of(source))
    source.run_command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.id_of(target))
    key = leased.keys.incident(leased.id.partition("-")[0])
    source.run_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    try:
        yield
    finally:
        cluster.move_slot(slot, target)


@pytest.mark.parametrize("known", ["record", "release", ""])
def test_servers_that_know_only_some_scripts_run_both_once(leased: Leased, known: str) -> None:
    leased.client.execute_command("SCRIPT FLUSH")
    if known:
        leased.client.script_load(read_script(known)[0])
    assert leased.release()
    assert (leased.is_saved, leased.is_leased) == (True, False)


def test_a_release_plans_again_where_another_process_has_written_the_incident(leased: Leased) -> None:
    """Its lease stays until then, and the due times of the old plan are dropped."""
    seen = []

    def plan_again() -> DueTimes:
        seen.append((leased.is_saved, leased.is_leased))
        return DueTimes({"slack": NOW + 5, "pagerduty": NOW + 7})

    call = leased.incidents.build_record_call(
        leased.id, "message", SENT, dues={"pagerduty": NOW}, expected_writes=1000
    )
    dues = DueTimes({"slack": NOW + 60}, call, plan_again)
    assert leased.work_queue.release("slack", "w1", leased.id, dues)
    assert seen == [(True, True)]
    assert not leased.is_leased
    due_times = [leased.client.zscore(leased.keys.queue(name), leased.id) for name in ("slack", "pagerduty")]
    assert due_times == [NOW + 5, NOW + 7]


def test_a_lost_lease_is_not_released_after_planning_again(leased: Leased) -> None:
    call = leased.incidents.build_record_call(leased.id, "message", SENT, dues={}, expected_writes=1000)
    dues = DueTimes({"slack": NOW + 60}, call, lambda: DueTimes({"slack": NOW + 5}))
    assert not leased.work_queue.release("slack", "w2", leased.id, dues)
    assert leased.is_leased

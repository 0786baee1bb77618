"""The work queue on a real Valkey: which worker claims what and when, and what a killed worker leaves behind."""

from __future__ import annotations

import pytest

from receiver.engine.queue import LEASE_S, WorkQueue
from receiver.incidents.store import RedisIncidents
from receiver.model.incident import IncidentUpdate, group_id_of
from receiver.model.merge import merge
from receiver.model.routing import RouteSettings
from receiver.storage.connection import Client
from tests.builders import a_group, an_alert
from tests.script_clocks import SHARED_CLOCK

NOW = 1_795_435_200.0


@pytest.fixture
def work_queue(redis_client: Client) -> WorkQueue:
    return WorkQueue(redis_client, script_clock=SHARED_CLOCK)


def test_a_due_incident_is_claimed_by_one_worker(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW)
    assert work_queue.claim("slack", "w1", NOW, 5).entries == ("a-1",)
    assert work_queue.claim("slack", "w2", NOW, 5).entries == ()


def test_queues_are_independent_of_each_other(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW)
    work_queue.enqueue("pagerduty", "a-1", NOW)
    assert work_queue.claim("slack", "w1", NOW, 5).entries == ("a-1",)
    assert work_queue.claim("pagerduty", "w1", NOW, 5).entries == ("a-1",)


def test_nothing_is_claimed_before_its_time(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW + 10)
    claims = work_queue.claim("slack", "w1", NOW, 5)
    assert claims.entries == ()
    assert claims.next_check_at == NOW + 10
    assert work_queue.claim("slack", "w1", NOW + 10, 5).entries == ("a-1",)


def test_the_earliest_entry_is_claimed_first_so_new_alerts_wait_behind_due_steps(
    work_queue: WorkQueue,
) -> None:
    work_queue.enqueue("pagerduty", "new-1", NOW)
    work_queue.enqueue("pagerduty", "step-1", NOW - 1)
    assert work_queue.claim("pagerduty", "w1", NOW, 1).entries == ("step-1",)


def add_incoming(
    redis: Client, name: str, now: float, severity: str = "critical", *, is_incoming: bool = True
) -> str:
    """Save a new incident with incoming changes, as ingest does; return its ID."""
    incidents = RedisIncidents(redis, history_s=86400, script_clock=SHARED_CLOCK)
    group = a_group(an_alert(name, severity=severity))
    loaded = incidents.load_latest([group_id_of(group.source, group.group_key, "r")])[0]
    change = merge(loaded.incident, group, RouteSettings("r", "#a", "", ()), now)
    assert change.incident is not None
    assert incidents.commit_updates(
        [IncidentUpdate(loaded, change, ("slack",), now, is_incoming=is_incoming)]
    ) == [True]
    return change.incident.id


def test_a_due_step_is_claimed_before_earlier_incoming_alerts(
    work_queue: WorkQueue, redis_client: Client
) -> None:
    """A step must not wait behind a backlog of new alerts."""
    incoming = {add_incoming(redis_client, f"New{n}", NOW) for n in range(500)}
    work_queue.enqueue("slack", "step-1", NOW + 5)
    assert work_queue.claim("slack", "w1", NOW + 5, 1).entries == ("step-1",)
    assert set(work_queue.claim("slack", "w1", NOW + 5, 500).entries) == incoming


def test_incoming_alerts_are_claimed_in_bounded_time(work_queue: WorkQueue, redis_client: Client) -> None:
    incoming = add_incoming(redis_client, "New", NOW)
    claimed: list[str] = []
    for second in range(60):
        work_queue.enqueue("slack", f"retry-{second}", NOW + second)
        claimed += work_queue.claim("slack", "w1", NOW + second, 1).entries
        work_queue.release("slack", "w1", claimed[-1], {"slack": None})
    assert claimed.index(incoming) in (20, 21)


def test_incoming_critical_alerts_are_claimed_before_other_incoming_alerts(
    work_queue: WorkQueue, redis_client: Client
) -> None:
    info = add_incoming(redis_client, "Info", NOW, "info")
    warning = add_incoming(redis_client, "Warning", NOW + 1, "warning")
    critical = add_incoming(redis_client, "Critical", NOW + 2)
    assert work_queue.claim("slack", "w1", NOW + 2, 2).entries == (critical, warning)
    assert work_queue.claim("slack", "w1", NOW + 2, 2).entries == (info,)


def test_the_response_of_a_person_does_not_wait_behind_incoming_alerts(
    work_queue: WorkQueue, redis_client: Client
) -> None:
    add_incoming(redis_client, "New", NOW)
    answered = add_incoming(redis_client, "Answered", NOW + 1, "info", is_incoming=False)
    assert work_queue.claim("slack", "w1", NOW + 1, 1).entries == (answered,)


def test_incoming_alerts_of_a_due_incident_are_claimed_once(
    work_queue: WorkQueue, redis_client: Client
) -> None:
    incident = add_incoming(redis_client, "New", NOW)
    work_queue.enqueue("slack", incident, NOW)
    assert work_queue.claim("slack", "w1", NOW, 5).entries == (incident,)
    work_queue.release("slack", "w1", incident, {"slack": None})
    assert work_queue.claim("slack", "w1", NOW + 1, 5).entries == ()


def test_incoming_alerts_of_a_claimed_incident_are_claimed_right_after_its_release(
    work_queue: WorkQueue, redis_client: Client
) -> None:
    incident = add_incoming(redis_client, "New", NOW)
    work_queue.claim("slack", "w1", NOW, 5)
    redis_client.zadd("rcv:{0}:queue:slack:critical", {incident: NOW})
    assert work_queue.claim("slack", "w2", NOW, 5).entries == ()
    work_queue.release("slack", "w1", incident, {"slack": NOW + 300})
    assert work_queue.claim("slack", "w2", NOW, 5).entries == (incident,)


def test_an_entry_enqueued_by_an_older_version_is_found(work_queue: WorkQueue, redis_client: Client) -> None:
    redis_client.zadd("rcv:{0}:queue:slack", {"old-1": NOW})
    assert work_queue.claim("slack", "w1", NOW, 5).entries == ("old-1",)


def test_depth_and_lag_count_incoming_and_due_entries(work_queue: WorkQueue, redis_client: Client) -> None:
    assert work_queue.measure_depth("slack", NOW) == (0, 0.0)
    work_queue.enqueue("slack", "later-1", NOW + 100)
    work_queue.enqueue("slack", "step-1", NOW + 1)
    add_incoming(redis_client, "New", NOW)
    add_incoming(redis_client, "Info", NOW + 2, "info")
    assert work_queue.measure_depth("slack", NOW + 3) == (3, 3.0)


def test_the_lease_of_a_killed_worker_expires(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW)
    work_queue.claim("slack", "dead", NOW, 5)
    assert work_queue.claim("slack", "w2", NOW + LEASE_S - 0.01, 5).entries == ()
    assert work_queue.claim("slack", "w2", NOW + LEASE_S, 5).entries == ("a-1",)


def test_a_running_worker_renews_its_lease(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW)
    work_queue.claim("slack", "w1", NOW, 5)
    work_queue.renew("slack", "w1", ["a-1"], NOW + 2)
    assert work_queue.claim("slack", "w2", NOW + LEASE_S, 5).entries == ()


def test_a_worker_expires_only_its_own_leases_that_it_does_not_work_on(work_queue: WorkQueue) -> None:
    for name in ("a-1", "b-1", "c-1"):
        work_queue.enqueue("slack", name, NOW)
    assert work_queue.claim("slack", "w1", NOW, 2).entries == ("a-1", "b-1")
    assert work_queue.claim("slack", "w2", NOW, 1).entries == ("c-1",)
    work_queue.expire_leases("slack", "w1", ["b-1"], NOW + 0.5)
    assert work_queue.claim("slack", "w1", NOW + 0.4, 5).entries == ()
    assert work_queue.claim("slack", "w1", NOW + 0.5, 5).entries == ("a-1",)


def test_expiring_leases_prolongs_none_and_creates_none(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW)
    work_queue.claim("slack", "w1", NOW, 1)
    work_queue.expire_leases("slack", "w1", [], NOW + 2 * LEASE_S)
    assert work_queue.claim("slack", "w2", NOW + LEASE_S, 1).entries == ("a-1",)
    work_queue.release("slack", "w2", "a-1", {})
    work_queue.expire_leases("slack", "w2", [], NOW)
    assert work_queue.claim("slack", "w1", NOW + 10 * LEASE_S, 1).entries == ()


def test_an_expired_lease_is_not_renewed(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW)
    work_queue.claim("slack", "slow", NOW, 5)
    work_queue.claim("slack", "w2", NOW + LEASE_S, 5)
    work_queue.renew("slack", "slow", ["a-1"], NOW + LEASE_S)
    assert not work_queue.release("slack", "slow", "a-1", {"slack": None})
    assert work_queue.release("slack", "w2", "a-1", {"slack": None})


def test_a_lease_from_before_the_clock_was_set_back_delays_nothing(work_queue: WorkQueue) -> None:
    """A worker was killed and the clock set back by an hour: the leases must not last an hour longer."""
    work_queue.enqueue("slack", "a-1", NOW)
    work_queue.claim("slack", "dead", NOW + 3600, 5)
    assert work_queue.claim("slack", "w2", NOW, 5).entries == ("a-1",)


def test_a_lease_from_before_a_small_clock_correction_is_valid(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW)
    work_queue.claim("slack", "w1", NOW + 1.5, 5)
    assert work_queue.claim("slack", "w2", NOW, 5).entries == ()


def test_a_running_worker_renews_its_lease_also_after_the_clock_was_set_back(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW)
    work_queue.claim("slack", "w1", NOW + 3600, 5)
    work_queue.renew("slack", "w1", ["a-1"], NOW)
    assert work_queue.claim("slack", "w2", NOW + 1, 5).entries == ()


def test_a_change_of_a_claimed_incident_is_claimed_right_after_its_release(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW)
    work_queue.claim("slack", "w1", NOW, 5)
    work_queue.enqueue("slack", "a-1", NOW + 1)
    assert work_queue.claim("slack", "w2", NOW + 1, 5).entries == ()
    work_queue.release("slack", "w1", "a-1", {"slack": NOW + 300})
    assert work_queue.claim("slack", "w2", NOW + 1, 5).entries == ("a-1",)


def test_an_incident_released_without_a_due_time_leaves_the_queue(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW)
    work_queue.claim("slack", "w1", NOW, 5)
    work_queue.release("slack", "w1", "a-1", {"slack": None})
    claims = work_queue.claim("slack", "w1", NOW + 1e6, 5)
    assert (claims.entries, claims.next_check_at) == ((), None)


def test_releasing_enqueues_the_incident_in_the_other_queue(work_queue: WorkQueue) -> None:
    work_queue.enqueue("slack", "a-1", NOW)
    work_queue.claim("slack", "w1", NOW, 5)
    work_queue.release("slack", "w1", "a-1", {"slack": None, "pagerduty": NOW + 5})
    assert work_queue.claim("pagerduty", "w1", NOW + 5, 5).entries == ("a-1",)


def test_many_leased_incidents_do_not_hide_a_due_one(work_queue: WorkQueue) -> None:
    for n in range(50):
        work_queue.enqueue("slack", f"busy-{n}", NOW - 1)
    assert len(work_queue.claim("slack", "w1", NOW, 50).entries) == 50
    for n in range(50):
        work_queue.enqueue("slack", f"busy-{n}", NOW - 1)
    work_queue.enqueue("slack", "a-1", NOW)
    assert work_queue.claim("slack", "w2", NOW, 1).entries == ("a-1",)


def test_a_worker_is_listed_until_it_deregisters(work_queue: WorkQueue) -> None:
    work_queue.record_heartbeat("w1", NOW)
    assert work_queue.list_workers(NOW - 3) == ["w1"]
    assert work_queue.list_workers(NOW + 0.1) == []
    work_queue.deregister_worker("w1")
    assert work_queue.list_workers(NOW - 3) == []


def test_incidents_are_spread_over_shards_and_all_are_claimed(redis_client: Client) -> None:
    work_queue = WorkQueue(redis_client, shards=8, script_clock=SHARED_CLOCK)
    names = {f"slot{n}-1" for n in range(100)}
    for name in names:
        work_queue.enqueue("slack", name, NOW)
    claimed = work_queue.claim("slack", "w1", NOW, 100).entries
    assert set(claimed) == names
    assert len(list(redis_client.scan_iter("rcv:*:leases:slack"))) == 8

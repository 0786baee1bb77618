"""Hosts whose clocks differ: due times are converted to Redis' own clock and never compared between hosts."""

from __future__ import annotations

import time

import pytest

from receiver.engine.jobs import JobQueue
from receiver.engine.queue import LEASE_S, WorkQueue
from receiver.engine.rate_limit import TokenBucket, TokenBuckets
from receiver.heartbeats.service import RedisHeartbeats
from receiver.notices import RedisNotices
from receiver.storage.connection import Client
from receiver.storage.script_clock import ScriptClock
from tests.rig import START

pytestmark = pytest.mark.parametrize("apart", [-3600.0, -30.0, -3.0, 0.0, 3.0, 30.0, 3600.0])


class Host:
    """A process whose clock runs *ahead* seconds ahead of the other process."""

    def __init__(self, client: Client, ahead: float) -> None:
        start = time.monotonic()
        self.clock = lambda: START + ahead + (time.monotonic() - start)
        self.script_clock = ScriptClock(self.clock)
        self.work_queue = WorkQueue(client, script_clock=self.script_clock)
        self.client = client

    def claim(self, queue: str = "slack", worker: str = "w") -> tuple[str, ...]:
        return self.work_queue.claim(queue, worker, self.clock(), 5).entries


@pytest.fixture
def web(redis_client: Client, apart: float) -> Host:
    return Host(redis_client, apart)


@pytest.fixture
def worker(redis_client: Client) -> Host:
    return Host(redis_client, 0.0)


def test_an_entry_that_is_due_at_once_is_claimed_at_once(web: Host, worker: Host) -> None:
    web.work_queue.enqueue("slack", "a-1", web.clock())
    assert worker.claim() == ("a-1",)


def test_jobs_and_notices_that_are_due_at_once_are_claimed_at_once(web: Host, worker: Host) -> None:
    JobQueue(web.client, script_clock=web.script_clock).enqueue("pagerduty", "x", {}, web.clock())
    RedisNotices(web.client, script_clock=web.script_clock).save_notice("n", "A notice", web.clock())
    assert len(worker.claim("tasks")) == 2


def test_an_entry_is_not_claimed_before_its_due_time(web: Host, worker: Host) -> None:
    web.work_queue.enqueue("slack", "a-1", web.clock() + 0.4)
    claims = worker.work_queue.claim("slack", "w", worker.clock(), 5)
    assert claims.entries == ()
    assert claims.next_check_at is not None
    assert 0.0 < claims.next_check_at - worker.clock() <= 0.4
    time.sleep(0.41)
    assert worker.claim() == ("a-1",)


def test_a_wake_up_has_the_due_time_by_the_clock_of_the_listener(web: Host, worker: Host) -> None:
    wakes = worker.work_queue.listen_for_wakes()
    next(wakes)  # from now on it is subscribed
    web.work_queue.enqueue("slack", "a-1", web.clock() + 0.4)
    queue, due_at = next(wake for wake in wakes if wake is not None)
    assert queue == "slack"
    assert due_at - worker.clock() == pytest.approx(0.4, abs=1.0)


def test_no_wake_up_is_sent_for_an_entry_that_is_due_after_the_next_poll(web: Host, worker: Host) -> None:
    wakes = worker.work_queue.listen_for_wakes()
    next(wakes)  # from now on it is subscribed
    web.work_queue.enqueue("slack", "a-1", web.clock() + 7.0)
    web.work_queue.enqueue("pagerduty", "a-1", web.clock())
    assert next(wake[0] for wake in wakes if wake is not None) == "pagerduty"


def test_an_entry_released_as_not_yet_due_is_not_claimed_again_at_once(web: Host, worker: Host) -> None:
    """There is no hot loop: the new due time is stored relative to the clock of the host that releases it."""
    web.work_queue.enqueue("slack", "a-1", web.clock())
    assert worker.claim() == ("a-1",)
    worker.work_queue.release("slack", "w", "a-1", {"slack": worker.clock() + 30.0})
    assert worker.claim() == web.claim() == ()


def test_a_lease_excludes_the_other_worker_and_expires_in_time(web: Host, worker: Host) -> None:
    web.work_queue.enqueue("slack", "a-1", web.clock())
    assert web.claim(worker="killed") == ("a-1",)
    start = time.monotonic()
    assert worker.claim() == ()
    while not worker.claim():
        assert time.monotonic() - start < 3.0
        time.sleep(0.02)
    assert time.monotonic() - start > LEASE_S - 0.2


def test_a_renewed_lease_is_valid(web: Host, worker: Host) -> None:
    web.work_queue.enqueue("slack", "a-1", web.clock())
    assert web.claim(worker="alive") == ("a-1",)
    for _ in range(5):
        time.sleep(0.6)
        web.work_queue.renew("slack", "alive", ["a-1"], web.clock())
        assert worker.claim() == ()


def test_both_hosts_list_the_worker_as_running(web: Host, worker: Host) -> None:
    worker.work_queue.record_heartbeat("w", worker.clock())
    assert web.work_queue.list_workers(web.clock() - 3, web.clock() + 3) == ["w"]
    assert web.work_queue.list_workers(web.clock() + 1, web.clock() + 3) == []


def test_depth_and_lag_are_the_same_on_both_hosts(web: Host, worker: Host) -> None:
    web.work_queue.enqueue("slack", "a-1", web.clock())
    web.work_queue.enqueue("slack", "b-1", web.clock() + 60)
    for host in (web, worker):
        depth, lag = host.work_queue.measure_depth("slack", host.clock())
        assert (depth, lag < 2.0) == (1, True)


def test_the_difference_between_the_clocks_is_reported(web: Host, worker: Host, apart: float) -> None:
    worker.work_queue.record_heartbeat("run.host-b", worker.clock())
    found = web.work_queue.compare_clocks("web host-a", web.clock())
    assert set(found) == {"web host-a", "worker host-b"}
    assert found["web host-a"] - found["worker host-b"] == pytest.approx(apart, abs=0.5)


def test_both_hosts_share_a_token_bucket(web: Host, worker: Host) -> None:
    """With two clocks, each host would see time passing or going back, and refill the bucket."""
    token_buckets = [TokenBuckets(host.client, script_clock=host.script_clock) for host in (web, worker)]
    bucket = TokenBucket("posts:apart", 3, 0.01)
    went = [
        token_buckets[n % 2]
        .acquire_token(bucket, f"who-{n}", START, host.clock(), is_initial=False)
        .retry_after_s
        == 0
        for n, host in enumerate((web, worker) * 5)
    ]
    assert went.count(True) == 3


def test_a_pause_begins_and_ends_for_both_hosts(web: Host, worker: Host) -> None:
    one, other = (TokenBuckets(host.client, script_clock=host.script_clock) for host in (web, worker))
    bucket = TokenBucket("posts:paused", 3, 10.0)
    one.pause_bucket(bucket, web.clock() + 0.5)
    assert (
        0 < other.acquire_token(bucket, "who", START, worker.clock(), is_initial=False).retry_after_s <= 1.0
    )
    time.sleep(0.8)
    assert other.acquire_token(bucket, "who", START, worker.clock(), is_initial=False).retry_after_s == 0


def test_uptime_goes_on_whichever_worker_records_it(web: Host, worker: Host) -> None:
    one, other = (RedisHeartbeats(host.client, script_clock=host.script_clock) for host in (web, worker))
    start = web.clock()
    since, ahead = one.record_uptime(start, None)
    assert since == start
    for signals, host in ((other, worker), (one, web)):
        assert signals.record_uptime(host.clock(), None)[0] == start
    assert one.record_uptime(web.clock(), ahead)[0] == start
    set_at = web.clock() + 600.0
    assert one.record_uptime(set_at, ahead)[0] == set_at

"""Token buckets on a real Valkey: which waiter gets a token, and how long the others wait."""

from __future__ import annotations

import pytest

from receiver.engine.rate_limit import TokenBucket, TokenBuckets
from receiver.storage.connection import Client
from tests.script_clocks import SHARED_CLOCK

NOW = 1_795_435_200.0
POSTS = TokenBucket("slack:post:#alerts", burst=3, rate=1.0)


@pytest.fixture
def token_buckets(redis_client: Client) -> TokenBuckets:
    return TokenBuckets(redis_client, script_clock=SHARED_CLOCK)


def acquire(
    token_buckets: TokenBuckets,
    who: str,
    now: float = NOW,
    priority: float = 0.0,
    *,
    first: bool = False,
) -> float:
    """Return how long *who* has to wait in seconds; 0 if it got a token."""
    return token_buckets.acquire_token(POSTS, who, priority or now, now, is_initial=first).retry_after_s


def empty(token_buckets: TokenBuckets, now: float = NOW) -> None:
    for n in range(POSTS.burst):
        assert acquire(token_buckets, f"early-{n}", now) == 0


def test_a_burst_is_permitted_at_once_and_the_rest_at_the_rate(token_buckets: TokenBuckets) -> None:
    assert [acquire(token_buckets, f"a-{n}") for n in range(6)] == [0, 0, 0, 1, 2, 3]


def test_a_waiter_that_returns_at_its_retry_after_is_permitted(token_buckets: TokenBuckets) -> None:
    empty(token_buckets)
    assert acquire(token_buckets, "late") == 1
    assert acquire(token_buckets, "late", NOW + 0.999) == pytest.approx(0.001)
    assert acquire(token_buckets, "late", NOW + 1) == 0


def test_two_workers_share_one_bucket(token_buckets: TokenBuckets, redis_client: Client) -> None:
    other = TokenBuckets(redis_client, script_clock=SHARED_CLOCK)
    assert [
        acquire(token_buckets, "a"),
        acquire(other, "b"),
        acquire(token_buckets, "c"),
        acquire(other, "d"),
    ] == [
        0,
        0,
        0,
        1,
    ]


def test_buckets_are_independent_of_each_other(token_buckets: TokenBuckets) -> None:
    empty(token_buckets)
    other = TokenBucket("slack:post:#other", 3, 1.0)
    assert token_buckets.acquire_token(other, "a", NOW, NOW, is_initial=False).retry_after_s == 0


def test_the_lowest_priority_value_is_permitted_first_whatever_the_order_of_requests(
    token_buckets: TokenBuckets,
) -> None:
    empty(token_buckets)
    assert acquire(token_buckets, "info", priority=NOW + 62) == 1
    assert acquire(token_buckets, "critical", priority=NOW + 2) == 1
    assert acquire(token_buckets, "info", NOW + 1, priority=NOW + 62) == 1
    assert acquire(token_buckets, "critical", NOW + 1, priority=NOW + 2) == 0
    assert acquire(token_buckets, "info", NOW + 2, priority=NOW + 62) == 0


def test_a_waiter_keeps_its_best_priority(token_buckets: TokenBuckets) -> None:
    empty(token_buckets)
    acquire(token_buckets, "changes often", priority=NOW + 1)
    acquire(token_buckets, "other", priority=NOW + 2)
    acquire(token_buckets, "changes often", priority=NOW + 9)
    assert acquire(token_buckets, "other", NOW + 1, priority=NOW + 2) == 1


def test_a_waiter_that_does_not_retry_blocks_no_other(token_buckets: TokenBuckets) -> None:
    empty(token_buckets)
    for n in range(5):
        acquire(token_buckets, f"gone-{n}", priority=NOW - 100)
    assert acquire(token_buckets, "here", NOW + 3.9, priority=NOW) > 0
    assert acquire(token_buckets, "here", NOW + 6.1, priority=NOW) == 0


def test_hundreds_of_waiters_that_do_not_retry_delay_others_only_briefly(
    token_buckets: TokenBuckets,
) -> None:
    """They are dropped as soon as their retry is overdue."""
    empty(token_buckets)
    for n in range(300):
        acquire(token_buckets, f"gone-{n}", priority=NOW - 100)
    now, wait = NOW, acquire(token_buckets, "here", priority=NOW)
    while wait:
        now += wait
        wait = acquire(token_buckets, "here", now, priority=NOW)
    assert now - NOW < 20


def test_a_long_wait_is_split_into_retries_which_are_rarer_the_more_waiters_there_are(
    token_buckets: TokenBuckets,
) -> None:
    empty(token_buckets)
    waits = [acquire(token_buckets, f"a-{n:03}") for n in range(400)]
    assert waits[:6] == [1, 2, 3, 4, 5, pytest.approx(5.06)]
    assert waits[399] == 9


def test_a_pause_permits_none_and_afterwards_one(token_buckets: TokenBuckets) -> None:
    token_buckets.pause_bucket(POSTS, NOW + 4)
    assert acquire(token_buckets, "a") == 4
    assert acquire(token_buckets, "b") == 5
    assert acquire(token_buckets, "a", NOW + 3.9) == pytest.approx(0.1)
    assert acquire(token_buckets, "a", NOW + 4) == 0
    assert acquire(token_buckets, "b", NOW + 4) == 1


def test_a_pause_empties_the_bucket(token_buckets: TokenBuckets) -> None:
    acquire(token_buckets, "a")
    token_buckets.pause_bucket(POSTS, NOW + 4)
    assert [acquire(token_buckets, who, NOW + 4) for who in "bcd"] == [0, 1, 2]


def test_a_shorter_pause_does_not_end_a_longer_one(token_buckets: TokenBuckets) -> None:
    token_buckets.pause_bucket(POSTS, NOW + 30)
    token_buckets.pause_bucket(POSTS, NOW + 1)
    assert acquire(token_buckets, "a", NOW + 29) == pytest.approx(1)


def test_a_clock_that_is_set_back_blocks_no_waiter(token_buckets: TokenBuckets) -> None:
    empty(token_buckets)
    token_buckets.pause_bucket(POSTS, NOW + 2)
    acquire(token_buckets, "gone", priority=NOW - 100)
    back = NOW - 3600
    assert acquire(token_buckets, "a", back) == pytest.approx(3, abs=0.01)
    assert acquire(token_buckets, "a", back + 3) == 0
    assert acquire(token_buckets, "b", back + 3) == pytest.approx(1, abs=0.01)


def test_clocks_that_differ_a_little_add_no_tokens(token_buckets: TokenBuckets) -> None:
    """Each switch from the slower to the faster clock would count the same second again."""
    empty(token_buckets)
    went = 0
    for n in range(100):
        went += acquire(token_buckets, f"ahead-{n}", NOW + 0.9) == 0
        went += acquire(token_buckets, f"behind-{n}", NOW) == 0
    assert went == 0


def test_initial_waiters_are_listed_with_the_wait_of_the_next(token_buckets: TokenBuckets) -> None:
    empty(token_buckets)
    acquire(token_buckets, "a parent", priority=NOW + 2, first=True)
    acquire(token_buckets, "b parent", priority=NOW + 1, first=True)
    permit = token_buckets.acquire_token(POSTS, "c step:x", NOW - 30, NOW, is_initial=False)
    assert token_buckets.list_waiters(POSTS) == ["b parent", "a parent"]
    assert permit.initial_wait_s == 3
    assert acquire(token_buckets, "c step:x", NOW + 1, priority=NOW - 30) == 0
    assert acquire(token_buckets, "b parent", NOW + 2, priority=NOW + 1, first=True) == 0
    assert token_buckets.list_waiters(POSTS) == ["a parent"]


def test_unused_keys_expire(token_buckets: TokenBuckets, redis_client: Client) -> None:
    empty(token_buckets)
    acquire(token_buckets, "a", first=True)
    names = [key.decode() for key in redis_client.scan_iter("rcv:*:bucket:*")]
    assert len(names) == 4
    assert all(0 < redis_client.ttl(name) < 3 * 3600 for name in names)
    assert {name.partition("{")[2].partition("}")[0] for name in names} == {POSTS.name}

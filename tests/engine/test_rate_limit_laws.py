"""Properties of token buckets: no window exceeds the limit and no waiter starves, in any order of requests."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.config.routing_fields import LimitSettings
from receiver.engine.rate_limit import TokenBucket, TokenBuckets, build_post_bucket, build_update_bucket
from receiver.model.routing import RateLimit
from receiver.storage.connection import Client
from tests.sampling import count_examples
from tests.script_clocks import SHARED_CLOCK

NOW = 1_795_435_200.0
NUMBERS = itertools.count()
ON_A_VALKEY = settings(
    max_examples=count_examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
WHO = st.sampled_from([f"a-{n}" for n in range(8)])
# The waiter, seconds since the previous request, offset of its priority, and the length of a pause that
# begins.
REQUESTS = st.lists(
    st.tuples(
        WHO,
        st.sampled_from([0.0, 0.0, 0.01, 0.4, 1.0, 7.0]),
        st.floats(-60, 60),
        st.sampled_from([0] * 9 + [3]),
    ),
    max_size=80,
)


def a_bucket(count: int, per_s: float) -> TokenBucket:
    """Return an unused bucket of that limit."""
    bucket = build_update_bucket(LimitSettings(slack_updates=RateLimit(count, per_s)))
    return TokenBucket(f"{bucket.name}:{next(NUMBERS)}", bucket.burst, bucket.rate)


@ON_A_VALKEY
@given(REQUESTS, st.sampled_from([(12, 20.0), (10, 10.0), (4, 10.0), (2, 3.0)]))
def test_no_window_has_more_than_the_limit(
    redis_client: Client, requests: list[tuple[str, float, float, int]], limit: tuple[int, float]
) -> None:
    token_buckets, bucket, now = TokenBuckets(redis_client, script_clock=SHARED_CLOCK), a_bucket(*limit), NOW
    permitted_at: list[float] = []
    rush = [(f"a-{n % 3}", 0.2, 0.0, 0) for n in range(120)]  # more than any of these limits allows
    for who, after, priority, pause in (*requests, *rush):
        now += after
        if pause:
            token_buckets.pause_bucket(bucket, now + pause)
        if token_buckets.acquire_token(bucket, who, now + priority, now, is_initial=False).retry_after_s == 0:
            permitted_at.append(now)
    count, per_s = limit
    assert all(sum(start <= at < start + per_s for at in permitted_at) <= count for start in permitted_at)


@ON_A_VALKEY
@given(st.lists(st.tuples(st.floats(0, 20), st.floats(-30, 80)), min_size=1, max_size=40))
def test_every_waiter_that_retries_gets_a_token(
    redis_client: Client, waiters: list[tuple[float, float]]
) -> None:
    """No token is lost either: all waiters are served as soon as the rate allows, plus at most one wait."""
    token_buckets, bucket = (
        TokenBuckets(redis_client, script_clock=SHARED_CLOCK),
        TokenBucket(f"posts:{next(NUMBERS)}", 3, 1.0),
    )
    due = {f"a-{n}": NOW + at for n, (at, _) in enumerate(waiters)}
    priorities = {f"a-{n}": NOW + at + priority_offset for n, (at, priority_offset) in enumerate(waiters)}
    now = NOW
    while due:
        who = min(due, key=lambda one: (due[one], one))
        now = max(now, due[who])
        wait = token_buckets.acquire_token(bucket, who, priorities[who], now, is_initial=False).retry_after_s
        if wait:
            due[who] = now + wait
        else:
            del due[who]
    assert now <= NOW + max(at for at, _ in waiters) + len(waiters) + 5


@ON_A_VALKEY
@given(st.integers(1, 60))
def test_a_waiter_does_not_starve_behind_a_stream_that_uses_the_whole_rate(
    redis_client: Client, priority_offset: int
) -> None:
    """Two new waiters arrive for each token, each with a better priority than it would have now."""
    token_buckets, bucket = (
        TokenBuckets(redis_client, script_clock=SHARED_CLOCK),
        TokenBucket(f"posts:{next(NUMBERS)}", 3, 1.0),
    )
    priority, now, backlog = NOW + priority_offset, NOW, []
    for second in range(400):
        now = NOW + second
        backlog += [(now, f"new-{second}-{n}") for n in range(2)]
        backlog = [
            waiter
            for waiter in backlog
            if token_buckets.acquire_token(bucket, waiter[1], waiter[0], now, is_initial=True).retry_after_s
            > 0
        ]
        if token_buckets.acquire_token(bucket, "meek", priority, now, is_initial=False).retry_after_s == 0:
            break
    assert now - NOW <= 2 * priority_offset + 20


def test_every_valid_limit_has_a_bucket() -> None:
    for count in (1, 2, 9, 120, 100_000):
        for per_s in (1.0, 60.0, 3600.0):
            rate = RateLimit(count, per_s)
            for bucket in (
                build_update_bucket(LimitSettings(slack_updates=rate)),
                build_post_bucket("#a", LimitSettings(slack_posts=rate)),
            ):
                assert bucket.burst >= 1
                assert bucket.rate > 0

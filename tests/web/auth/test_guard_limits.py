"""Rate limits per client address."""

from __future__ import annotations

from receiver.web.auth.guard import MAX_KEYS, IpRateLimiter, client_key
from tests.rig import Clock

HERE = "192.0.2.1"


def test_a_burst_is_accepted_and_then_the_rate() -> None:
    clock = Clock()
    limiter = IpRateLimiter(burst=10, per_s=2, clock=clock)
    assert [limiter.acquire(HERE) for _ in range(10)] == [0.0] * 10
    assert 0 < limiter.acquire(HERE) <= 0.5
    clock.moment += 0.5
    assert limiter.acquire(HERE) == 0.0
    assert limiter.acquire(HERE) > 0
    clock.moment += 3600
    assert [limiter.acquire(HERE) for _ in range(10)] == [0.0] * 10
    assert limiter.acquire(HERE) > 0


def test_each_address_has_its_own_limit() -> None:
    limiter = IpRateLimiter(burst=1, per_s=1, clock=Clock())
    assert limiter.acquire(client_key(HERE)) == 0.0
    assert limiter.acquire(client_key(HERE)) > 0
    assert limiter.acquire(client_key("192.0.2.2")) == 0.0
    assert limiter.acquire(client_key(None)) == 0.0


def test_the_addresses_of_one_ipv6_network_share_a_limit() -> None:
    limiter = IpRateLimiter(burst=1, per_s=1, clock=Clock())
    assert limiter.acquire(client_key("2001:db8::1")) == 0.0
    assert limiter.acquire(client_key("2001:db8::ffff:2")) > 0
    assert limiter.acquire(client_key("2001:db8:0:1::1")) == 0.0
    assert limiter.acquire(client_key("::ffff:192.0.2.1")) == 0.0
    assert limiter.acquire(client_key(HERE)) > 0


def test_a_clock_that_is_set_back_blocks_no_client_for_long() -> None:
    clock = Clock()
    limiter = IpRateLimiter(burst=10, per_s=1, clock=clock)
    for _ in range(11):
        limiter.acquire(client_key(HERE))
    clock.moment -= 86400
    assert limiter.acquire(client_key(HERE)) <= 1.0


def test_the_number_of_stored_addresses_is_bounded() -> None:
    limiter = IpRateLimiter(burst=1, per_s=1, clock=Clock())
    for n in range(MAX_KEYS + 1000):
        limiter.acquire(f"10.{n >> 16}.{(n >> 8) & 255}.{n & 255}")
    assert len(limiter._full_at) == MAX_KEYS

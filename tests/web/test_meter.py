"""How often somebody may come."""

from __future__ import annotations

from receiver.web.meter import MAX_NAMES, Meter, name_address
from tests.rig import Clock

HERE = "192.0.2.1"


def test_a_burst_passes_and_then_the_rate() -> None:
    clock = Clock()
    meter = Meter(burst=10, per_s=2, clock=clock)
    assert [meter.take(HERE) for _ in range(10)] == [0.0] * 10
    assert 0 < meter.take(HERE) <= 0.5
    clock.moment += 0.5
    assert meter.take(HERE) == 0.0
    assert meter.take(HERE) > 0
    clock.moment += 3600
    assert [meter.take(HERE) for _ in range(10)] == [0.0] * 10
    assert meter.take(HERE) > 0


def test_one_address_takes_nothing_from_another() -> None:
    meter = Meter(burst=1, per_s=1, clock=Clock())
    assert meter.take(name_address(HERE)) == 0.0
    assert meter.take(name_address(HERE)) > 0
    assert meter.take(name_address("192.0.2.2")) == 0.0
    assert meter.take(name_address(None)) == 0.0


def test_the_addresses_of_one_ipv6_network_are_one() -> None:
    meter = Meter(burst=1, per_s=1, clock=Clock())
    assert meter.take(name_address("2001:db8::1")) == 0.0
    assert meter.take(name_address("2001:db8::ffff:2")) > 0
    assert meter.take(name_address("2001:db8:0:1::1")) == 0.0
    assert meter.take(name_address("::ffff:192.0.2.1")) == 0.0
    assert meter.take(name_address(HERE)) > 0


def test_a_clock_that_is_set_back_makes_nobody_wait_for_long() -> None:
    clock = Clock()
    meter = Meter(burst=10, per_s=1, clock=clock)
    for _ in range(11):
        meter.take(name_address(HERE))
    clock.moment -= 86400
    assert meter.take(name_address(HERE)) <= 1.0


def test_so_many_addresses_are_remembered_and_no_more() -> None:
    meter = Meter(burst=1, per_s=1, clock=Clock())
    for n in range(MAX_NAMES + 1000):
        meter.take(f"10.{n >> 16}.{(n >> 8) & 255}.{n & 255}")
    assert len(meter._full_at) == MAX_NAMES

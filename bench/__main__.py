"""How fast the receiver is: intake beside the least that any intake does, the way to Slack when idle, and the
calls of one worker to slow vendors.

`make bench`, or `python -m bench`. The two sides of an intake figure are measured in turn in one
run, so that what else the machine does meets both.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import delivery, idle, pages
from bench.load import Load, build_requests, percentile, post_all
from bench.servers import floor, receiver_web

MAX_ROUNDS, MIN_ROUNDS = 9, 3
# Before each round, so that what the other side left to the disk is no burden on this one.
PAUSE_S = 0.2
BUDGET_S = 14.0  # of each case; a slow machine gets fewer rounds


@dataclass
class Case:
    """One kind of webhook: *build* gives a round's requests, *aim* is the least receiver / floor."""

    name: str
    aim: float
    build: Callable[[int], list[bytes]]
    floor: list[Load] = field(default_factory=list)
    receiver: list[Load] = field(default_factory=list)

    def measure(self, floor_port: int, receiver_port: int) -> None:
        ends_at = time.monotonic() + BUDGET_S
        for number in range(MAX_ROUNDS):
            if number >= MIN_ROUNDS and time.monotonic() > ends_at:
                return
            requests = self.build(number)
            for port, loads in ((floor_port, self.floor), (receiver_port, self.receiver)):
                time.sleep(PAUSE_S)
                loads.append(post_all(port, requests))

    @property
    def ratio(self) -> float:
        """The median over rounds of receiver / floor."""
        pairs = zip(self.receiver, self.floor, strict=True)
        return statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)


SINGLES, HUNDREDS = 1500, 150  # webhooks in a round
CASES = (
    Case("new alerts", 0.6, lambda n: build_requests(1, (f"new-{n}-{i}" for i in range(SINGLES)))),
    Case("duplicates", 0.9, lambda _: build_requests(1, (f"new-0-{i}" for i in range(SINGLES)))),
    Case(
        "repeats under a further group key",
        0.5,
        lambda _: build_requests(1, (f"new-0-{i}" for i in range(SINGLES)), "another"),
    ),
    Case("groups of 100", 0.6, lambda n: build_requests(100, (f"big-{n}-{i}" for i in range(HUNDREDS)))),
)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="receiver-bench-") as folder:
        root = Path(folder)
        with floor(root / "floor") as floor_port, receiver_web(root / "receiver") as receiver_port:
            for port in (floor_port, receiver_port):
                post_all(port, build_requests(1, (f"warm-{i}" for i in range(200))))
            for case in CASES:
                case.measure(floor_port, receiver_port)
                _print_case(case)
        (root / "idle").mkdir()
        _print_idle(idle.measure(root / "idle"))
        (root / "delivery").mkdir()
        _print_delivery(delivery.measure(root / "delivery"))
        _print_pages(pages.measure(root / "pages"))


def _print_case(case: Case) -> None:
    print(f"{case.name}: receiver / floor = {case.ratio:.2f} (aim ≥ {case.aim}), {len(case.floor)} rounds")
    for side, loads in (("floor", case.floor), ("receiver", case.receiver)):
        waits = [wait for load in loads for wait in load.waits]
        rate = statistics.median(load.rate for load in loads)
        print(f"  {side:9} {rate:7.0f} webhooks/s   p50 {_ms(waits, 50)}   p99 {_ms(waits, 99)}")
    sys.stdout.flush()


def _print_idle(waits: list[float]) -> None:
    print(f"webhook to Slack request, idle, {len(waits)} samples:")
    print(f"  p50 {_ms(waits, 50)} (aim < 20 ms)   p99 {_ms(waits, 99)} (aim < 100 ms)")


def _print_delivery(found: delivery.Delivery) -> None:
    print(f"one worker, vendors that answer after {delivery.ANSWER_S * 1000:g} ms:")
    print(
        f"  {found.rate:.0f} calls/s (aim ≥ 100), {found.slack} to Slack and {found.pagerduty} to PagerDuty, "
        f"for {delivery.INCIDENTS} incidents at once"
    )


def _print_pages(found: pages.Pages) -> None:
    print(f"pages with {pages.OPEN} open incidents, best of {pages.TIMES}:")
    for name, seconds in found.best.items():
        print(f"  {name:18} {seconds * 1000:6.1f} ms")
    print(f"duplicate webhooks beside {pages.VIEWERS} viewers of the dashboard (aim: p99 × 2 at most):")
    for name, waits in (("alone", found.alone), ("beside", found.beside)):
        print(f"  {name:9} p50 {_ms(waits, 50)}   p99 {_ms(waits, 99)}")


def _ms(waits: list[float], percent: int) -> str:
    return f"{percentile(waits, percent) * 1000:6.1f} ms"


if __name__ == "__main__":
    main()

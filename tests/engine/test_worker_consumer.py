"""A queue consumer keeps running, whatever errors and claims its work queue returns."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from receiver.app.channels import list_threads
from receiver.engine.queue import Claims
from receiver.engine.worker import QueueConsumer
from receiver.errors import StoreError
from receiver.model.routing import PAGERDUTY, SLACK
from tests.cli.running import wait_until


class BrokenQueue:
    """Raises an unexpected error on the first claim, then leases one incident."""

    def __init__(self) -> None:
        self.claimed_times = 0

    def claim(self, queue: str, worker: str, now: float, count: int) -> Claims:
        self.claimed_times += 1
        if self.claimed_times == 1:
            raise TypeError("an answer that makes no sense")
        return Claims(("a-1",) if self.claimed_times == 2 else (), None)

    def expire_leases(self, *_: Any) -> None:
        pass

    def release(self, *_: Any) -> bool:
        return True


class Reconciler:
    def __init__(self) -> None:
        self.done = threading.Event()

    def reconcile(self, incident_id: str, queue: str, worker: str) -> dict[str, float | None]:
        self.done.set()
        return {}


def test_an_unexpected_error_while_claiming_does_not_stop_the_consumer() -> None:
    reconciler = Reconciler()
    consumer = QueueConsumer("slack", "w1", BrokenQueue(), lambda: reconciler, lambda: 0.0, threads=1)
    consumer.start()
    try:
        assert reconciler.done.wait(5)
    finally:
        consumer.stop()


class Ledger:
    """Leases `a-1` on every claim, and records when leases without a thread were made to expire."""

    def __init__(self) -> None:
        self.ended: list[tuple[tuple[str, ...], float]] = []
        self.claimed_times = 0

    def expire_leases(self, queue: str, worker: str, in_progress: list[str], at: float) -> None:
        self.ended.append((tuple(in_progress), at))

    def claim(self, queue: str, worker: str, now: float, count: int) -> Claims:
        self.claimed_times += 1
        return Claims(("a-1",), now)

    def release(self, *_: Any) -> bool:
        return True

    def enqueue(self, *_: Any) -> None:
        pass


class Slow:
    """Blocks until `go_on`; the first call then raises StoreError, every later one blocks until `is_over`."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.go_on = threading.Event()
        self.is_over = threading.Event()

    def reconcile(self, incident_id: str, queue: str, worker: str) -> dict[str, float | None]:
        self.started.append(incident_id)
        self.go_on.wait(5)
        if len(self.started) == 1:
            raise StoreError("gone", "gone")
        self.is_over.wait(5)
        return {}


def test_an_incident_claimed_again_while_in_progress_is_not_started_twice() -> None:
    ledger, slow = Ledger(), Slow()
    consumer = QueueConsumer("slack", "w1", ledger, lambda: slow, lambda: 0.0, threads=2)
    consumer.start()
    try:
        wait_until(lambda: ledger.claimed_times >= 3 and bool(slow.started))
        assert slow.started == ["a-1"]
    finally:
        slow.go_on.set()
        slow.is_over.set()
        consumer.stop()


@pytest.mark.parametrize(("name", "at"), [("pagerduty", 100.0), ("slack", 102.0)])
def test_leases_from_before_the_start_expire_at_once_and_those_of_an_outage_soon(
    name: str, at: float
) -> None:
    """Slack gets two seconds, until a message that was just sent can be found."""
    ledger, slow = Ledger(), Slow()
    consumer = QueueConsumer(name, "w1", ledger, lambda: slow, lambda: 100.0, threads=2)
    consumer.start()
    try:
        wait_until(lambda: len(slow.started) == 1)
        assert ledger.ended == [((), at)]
        slow.go_on.set()
        wait_until(lambda: len(slow.started) == 2)
        assert len(ledger.ended) == 2
        assert ledger.ended[1][1] == 100.5
    finally:
        slow.is_over.set()
        consumer.stop()


class Once:
    """Leases `a-1` twice while it is being reconciled, and records the due times of its releases."""

    def __init__(self) -> None:
        self.claimed_times = 0
        self.released: list[dict[str, float | None]] = []

    def expire_leases(self, *_: Any) -> None:
        pass

    def claim(self, queue: str, worker: str, now: float, count: int) -> Claims:
        self.claimed_times += 1
        return Claims(("a-1",) if self.claimed_times <= 2 else (), now if self.claimed_times < 2 else None)

    def release(self, queue: str, worker: str, incident_id: str, dues: dict[str, float | None]) -> bool:
        self.released.append(dues)
        return True

    def enqueue(self, *_: Any) -> None:
        pass


class Blocking:
    """A reconciler that blocks until `go_on` is set, and then finds nothing to do."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def reconcile(self, incident_id: str, queue: str, worker: str) -> dict[str, float | None]:
        self.go_on.wait(5)
        return {queue: None}


def test_an_incident_claimed_again_meanwhile_is_reconciled_once_more() -> None:
    """The second claim removed the incident from the queue: incoming changes since then would wait for ever."""
    once, blocking = Once(), Blocking()
    consumer = QueueConsumer("slack", "w1", once, lambda: blocking, lambda: 100.0, threads=2)
    consumer.start()
    try:
        wait_until(lambda: once.claimed_times >= 3)
        blocking.go_on.set()
        wait_until(lambda: bool(once.released))
        assert once.released == [{"slack": 100.0}]
    finally:
        consumer.stop()


class LeasesOnRelease:
    """Leases `a-1` once more while it is being released: before the release is done, or after it."""

    def __init__(self, *, claims_before: bool) -> None:
        self._claims_before = claims_before
        self._state = threading.Condition()
        self._is_due = True
        self._is_leased = False
        self._consumer: QueueConsumer | None = None

    def attach(self, consumer: QueueConsumer) -> None:
        self._consumer = consumer

    def claim(self, queue: str, worker: str, now: float, count: int) -> Claims:
        with self._state:
            is_leased, self._is_due = self._is_due, False
            self._is_leased = self._is_leased or is_leased
            self._state.notify_all()
            return Claims(("a-1",) if is_leased else (), None)

    def release(self, *_: Any) -> bool:
        with self._state:
            if self._claims_before:
                self._let_claim()
            self._is_leased = False
            if not self._claims_before and self._consumer is not None:
                self._let_claim()
            self._consumer = None  # the next release does nothing more
            return True

    def _let_claim(self) -> None:
        if self._consumer is not None:
            self._is_due = True
            self._consumer.wake(0.0)
            assert self._state.wait_for(lambda: not self._is_due, 5)

    def expire_leases(self, queue: str, worker: str, in_progress: list[str], at: float) -> None:
        with self._state:
            self._is_due = self._is_due or (self._is_leased and "a-1" not in in_progress)

    def enqueue(self, queue: str, incident_id: str, due: float) -> None:
        with self._state:
            self._is_due = self._is_due or not self._is_leased


class Counting:
    def __init__(self) -> None:
        self.count = 0

    def reconcile(self, incident_id: str, queue: str, worker: str) -> dict[str, float | None]:
        self.count += 1
        return {queue: None}


@pytest.mark.parametrize("claims_before", [True, False], ids=["before", "after"])
def test_an_incident_claimed_again_while_it_is_released_is_reconciled_at_once(claims_before: bool) -> None:
    """Else no thread works on it until the lease expires: an acknowledgement reached PagerDuty 2.4 s late."""
    leases, counting = LeasesOnRelease(claims_before=claims_before), Counting()
    consumer = QueueConsumer("pagerduty", "w1", leases, lambda: counting, lambda: 0.0, threads=2)
    leases.attach(consumer)
    consumer.start()
    try:
        wait_until(lambda: counting.count == 2)
    finally:
        consumer.stop()


class Many:
    """Leases as many new incidents on each claim as the consumer has free threads."""

    def __init__(self) -> None:
        self.claimed = 0

    def claim(self, queue: str, worker: str, now: float, count: int) -> Claims:
        names = tuple(f"a-{self.claimed + n}" for n in range(count))
        self.claimed += count
        return Claims(names, now)

    def expire_leases(self, *_: Any) -> None:
        pass

    def release(self, *_: Any) -> bool:
        return True


class SlowVendor:
    """Answers once *count* calls are under way at the same time."""

    def __init__(self, count: int) -> None:
        self._missing = threading.Semaphore(count - 1)
        self.answered = threading.Event()

    def reconcile(self, incident_id: str, queue: str, worker: str) -> dict[str, float | None]:
        if not self._missing.acquire(blocking=False):
            self.answered.set()
        self.answered.wait(10)
        return {}


@pytest.mark.parametrize("queue", [SLACK, PAGERDUTY])
def test_a_worker_makes_a_hundred_calls_a_second_to_a_vendor_that_answers_after_200_ms(queue: str) -> None:
    """By arithmetic: 100 a second, each under way for 0.2 s, are 20 at once."""
    vendor = SlowVendor(20)
    consumer = QueueConsumer(queue, "w1", Many(), lambda: vendor, lambda: 0.0, threads=list_threads()[queue])
    consumer.start()
    try:
        assert vendor.answered.wait(10)
    finally:
        consumer.stop()

"""The open incidents are read once after a configuration change, however many webhooks arrive at the same
time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from receiver.errors import StoreError
from receiver.incidents.former_routes import FormerRoutes
from receiver.model.incident import Incident


class Slow:
    """Incidents that are listed slowly; the first *failures* calls raise StoreError."""

    def __init__(self, failures: int = 0) -> None:
        self.listed = 0
        self._failures = failures

    def list_open(self) -> Iterator[Incident]:
        self.listed += 1
        time.sleep(0.1)
        if self.listed <= self._failures:
            raise StoreError("away")
        return iter(())

    def load_latest(self, group_ids: object) -> list[object]:
        raise AssertionError(group_ids)


def assign_at_once(former: FormerRoutes, count: int, now: float) -> list[str]:
    """Call `assign_routes` in *count* threads at the same instant; return the messages of their errors."""
    start, raised = threading.Barrier(count), []

    def assign() -> None:
        start.wait(10)
        try:
            former.assign_routes("", [], now)
        except StoreError as error:
            raised.append(str(error))

    threads = [threading.Thread(target=assign) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return raised


def test_one_thread_reads_the_open_incidents_and_the_others_wait_for_it() -> None:
    slow = Slow()
    former = FormerRoutes(slow, {}, time.sleep)  # type: ignore[arg-type]
    assert assign_at_once(former, 60, 1000.0) == []
    assert slow.listed == 1
    assert assign_at_once(former, 60, 1020.0) == []
    assert slow.listed == 2


def test_after_a_store_error_the_next_thread_reads_the_open_incidents() -> None:
    slow = Slow(failures=1)
    former = FormerRoutes(slow, {}, time.sleep)  # type: ignore[arg-type]
    assert assign_at_once(former, 10, 1000.0) == ["away"]
    assert slow.listed == 2


def test_waiting_too_long_is_an_error() -> None:
    former = FormerRoutes(Slow(), {}, lambda _: None)  # type: ignore[arg-type]
    former._refreshing.acquire()
    with pytest.raises(StoreError, match="still being read"):
        former.assign_routes("", [], 1000.0)


def test_the_open_incidents_are_read_four_times_in_all() -> None:
    slow = Slow()
    former = FormerRoutes(slow, {}, time.sleep)  # type: ignore[arg-type]
    for now in range(1000, 2000, 5):
        former.assign_routes("", [], float(now))
    assert slow.listed == 4

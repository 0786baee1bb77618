"""A lane goes on, whatever its agenda does."""

from __future__ import annotations

import threading
from typing import Any

from receiver.domain.ports import Claims
from receiver.engine.lane import Lane


class Agenda:
    """Breaks down in a way that nobody foresaw, and then lends one incident."""

    def __init__(self) -> None:
        self.asked = 0

    def claim(self, lane: str, worker: str, now: float, count: int) -> Claims:
        self.asked += 1
        if self.asked == 1:
            raise TypeError("an answer that makes no sense")
        return Claims(("a-1",) if self.asked == 2 else (), None)

    def release(self, *_: Any) -> bool:
        return True


class Reconciler:
    def __init__(self) -> None:
        self.done = threading.Event()

    def reconcile(self, incident_id: str, lane: str, worker: str) -> dict[str, float | None]:
        self.done.set()
        return {}


def test_a_fault_while_claiming_ends_no_lane() -> None:
    reconciler = Reconciler()
    lane = Lane("slack", "w1", Agenda(), lambda: reconciler, lambda: 0.0, threads=1)
    lane.start()
    try:
        assert reconciler.done.wait(5)
    finally:
        lane.stop()

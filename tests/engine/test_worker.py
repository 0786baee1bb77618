"""A worker keeps going, whatever its clock does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from receiver.domain.ports import Claims
from receiver.engine.worker import Worker
from tests.rig import Clock


class Agenda:
    """An agenda where nothing is due; notes what it is asked to look at."""

    def __init__(self) -> None:
        self.looked: list[tuple[str, float]] = []
        self.has_looked = threading.Event()
        self.has_beaten = threading.Event()

    def claim(self, lane: str, worker: str, now: float, count: int) -> Claims:
        return Claims((), None)

    def look_at_all(self, lane: str, now: float) -> None:
        self.looked.append((lane, now))
        self.has_looked.set()

    def beat(self, worker: str, now: float) -> None:
        self.has_beaten.set()

    def listen(self) -> Iterator[None]:
        while True:
            time.sleep(0.05)
            yield None

    def leave(self, worker: str) -> None:
        pass


class Duties:
    def begin(self, agenda: Any) -> None:
        pass

    keep = begin


def test_when_the_clock_is_set_back_everything_is_looked_at() -> None:
    agenda, clock = Agenda(), Clock()
    worker = Worker("w1", agenda, None, Duties(), clock, threads={"slack": 1, "duties": 1})
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        assert agenda.has_beaten.wait(5)
        clock.moment -= 0.5
        agenda.has_beaten.clear()
        assert agenda.has_beaten.wait(5)
        assert not agenda.looked  # a small correction
        clock.moment -= 3600
        assert agenda.has_looked.wait(5)
    finally:
        worker.stop()
        thread.join(10)
    assert agenda.looked == [("slack", clock.moment), ("duties", clock.moment)]

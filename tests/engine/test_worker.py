"""A worker keeps running, whatever its clock and Redis do."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.engine.queue import Claims, WorkQueue
from receiver.engine.reconcilers import Reconcilers
from receiver.engine.worker import Worker
from receiver.standalone.valkey import EmbeddedValkey
from receiver.storage.connection import connect
from receiver.storage.script_clock import ScriptClock
from tests.rig import Clock
from tests.support.log_lines import count_lines, written_log


class IdleQueue:
    """A work queue where nothing is due; it records the calls of `reschedule_all`."""

    def __init__(self) -> None:
        self.redis_clock = Clock()
        self.rescheduled: list[tuple[str, float]] = []
        self.has_rescheduled = threading.Event()
        self.has_sent_heartbeat = threading.Event()

    def claim(self, queue: str, worker: str, now: float, count: int) -> Claims:
        return Claims((), None)

    def reschedule_all(self, queue: str, now: float) -> None:
        self.rescheduled.append((queue, now))
        self.has_rescheduled.set()

    def expire_leases(self, queue: str, worker: str, in_progress: list[str], at: float) -> None:
        pass

    def record_heartbeat(self, worker: str, now: float) -> float:
        self.has_sent_heartbeat.set()
        return now - self.redis_clock()

    def listen_for_wakes(self) -> Iterator[None]:
        while True:
            time.sleep(0.05)
            yield None

    def deregister_worker(self, worker: str) -> None:
        pass


class NoTasks:
    def enqueue_all(self, work_queue: Any) -> None:
        pass

    enqueue_missing = enqueue_all


@pytest.mark.parametrize("which_clock", ["ours", "Redis' own"])
@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
def test_when_a_clock_is_set_everything_is_rescheduled(which_clock: str, step_s: float) -> None:
    """Else waiting entries would be early or late by that step, whichever clock was set."""
    work_queue, clock = IdleQueue(), Clock()
    set_clock = clock if which_clock == "ours" else work_queue.redis_clock
    worker = Worker(
        "w1", work_queue, Reconcilers(None, None, NoTasks()), clock, threads={"slack": 1, "tasks": 1}
    )
    thread = threading.Thread(target=worker.run_until_stopped)
    thread.start()
    try:
        assert work_queue.has_sent_heartbeat.wait(5)
        set_clock.moment += 0.5 if step_s > 0 else -0.5
        for _ in range(2):
            work_queue.has_sent_heartbeat.clear()
            assert work_queue.has_sent_heartbeat.wait(5)
        assert not work_queue.rescheduled  # half a second is only a correction
        set_clock.moment += step_s
        assert work_queue.has_rescheduled.wait(5)
    finally:
        worker.stop()
        thread.join(10)
    assert work_queue.rescheduled == [("slack", clock.moment), ("tasks", clock.moment)]


def wait_for(is_so: Callable[[], object], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(0.05)


def test_an_unavailable_redis_is_logged_once_for_each_queue() -> None:
    queues = ("slack", "pagerduty", "tasks")
    with written_log() as log, tempfile.TemporaryDirectory(prefix="rcv-") as folder:
        server = EmbeddedValkey(Path(folder))
        process = server.start()
        server.wait_ready(process)
        client = connect(server.url)
        work_queue = WorkQueue(client, script_clock=ScriptClock())
        worker = Worker(
            "w1", work_queue, Reconcilers(None, None, NoTasks()), time.time, threads=dict.fromkeys(queues, 1)
        )
        thread = threading.Thread(target=worker.run_until_stopped)
        thread.start()
        try:
            wait_for(lambda: client.exists("rcv:workers"))
            process.kill()
            process.wait(10)
            wait_for(lambda: ("redis unavailable", "heartbeat") in count_lines(log))
            time.sleep(4)  # each queue is polled twice a second, and the worker sends heartbeats
            away = count_lines(log)
            process = server.start()
            server.wait_ready(process)
            wait_for(lambda: ("redis available again", "") in count_lines(log))
        finally:
            worker.stop()
            thread.join(10)
            client.close()
            process.kill()
            process.wait(10)
    assert {("work queue unavailable", queue) for queue in queues} <= away.keys()
    assert ("wake-ups unavailable", "") in away
    assert {event: count for event, count in away.items() if count > 1} == {}


def test_a_clock_that_differs_from_redis_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    work_queue, clock = IdleQueue(), Clock()
    clock.moment += 30.0
    worker = Worker("w1", work_queue, Reconcilers(None, None, NoTasks()), clock, threads={"tasks": 1})
    thread = threading.Thread(target=worker.run_until_stopped)
    thread.start()
    try:
        for _ in range(3):
            work_queue.has_sent_heartbeat.clear()
            assert work_queue.has_sent_heartbeat.wait(5)
    finally:
        worker.stop()
        thread.join(10)
    found = [record for record in caplog.records if record.getMessage() == "clock differs from redis"]
    assert [record.fields for record in found] == [{"ahead_s": 30.0}]
    assert not work_queue.rescheduled

"""Periodic tasks go on, also after Redis has lost its data."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from receiver.engine.jobs import ENSURE_EVERY_S, PeriodicTasks
from receiver.engine.queue import WorkQueue
from receiver.engine.reconcilers import Reconcilers
from receiver.engine.worker import Worker
from receiver.storage.connection import Client
from receiver.storage.keys import TASKS, Keys
from tests.rig import Clock
from tests.script_clocks import SHARED_CLOCK


@pytest.fixture
def work_queue(redis_client: Client) -> WorkQueue:
    return WorkQueue(redis_client, script_clock=SHARED_CLOCK)


def a_periodic_task(clock: Clock) -> PeriodicTasks:
    return PeriodicTasks({"poll-": lambda now: now + 60}, None, {}, clock)  # type: ignore[arg-type]


def waits_until(client: Client) -> float | None:
    return client.zscore(Keys(0).queue(TASKS), "poll-")


def test_a_waiting_task_keeps_its_due_time(work_queue: WorkQueue, redis_client: Client) -> None:
    clock = Clock()
    work_queue.enqueue(TASKS, "poll-", clock() + 7)
    a_periodic_task(clock).enqueue_missing(work_queue)
    assert waits_until(redis_client) == clock() + 7


def test_a_running_task_is_not_run_twice(work_queue: WorkQueue) -> None:
    clock = Clock()
    periodic_tasks = a_periodic_task(clock)
    periodic_tasks.enqueue_all(work_queue)
    assert work_queue.claim(TASKS, "w", clock(), 1).entries == ("poll-",)
    periodic_tasks.enqueue_missing(work_queue)
    work_queue.release(TASKS, "w", "poll-", periodic_tasks.reconcile("poll-", TASKS, "w"))
    assert work_queue.claim(TASKS, "w", clock(), 1).entries == ()


def test_a_worker_enqueues_tasks_again_after_redis_lost_its_data(
    work_queue: WorkQueue, redis_client: Client
) -> None:
    clock = Clock()
    worker = Worker("w", work_queue, Reconcilers(None, None, a_periodic_task(clock)), clock, threads={})  # type: ignore[arg-type]
    running = threading.Thread(target=worker.run_until_stopped)
    running.start()
    try:
        until(lambda: waits_until(redis_client) is not None)
        redis_client.flushall()
        clock.moment += ENSURE_EVERY_S + 1
        until(lambda: waits_until(redis_client) is not None)
    finally:
        worker.stop()
        running.join(10)
        for thread in threading.enumerate():
            if thread.name == "listen":  # it uses the connection that the test closes next
                thread.join(10)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)

"""Duties go on, also when the store has forgotten them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from receiver.engine.duties import KEEP_EVERY_S, LANE, Duties, Repeated
from receiver.engine.worker import Worker
from receiver.store.agenda import RedisAgenda
from receiver.store.connection import Client
from receiver.store.keys import Keys
from tests.moments import HANDED_IN
from tests.rig import Clock


@pytest.fixture
def agenda(redis_client: Client) -> RedisAgenda:
    return RedisAgenda(redis_client, moments=HANDED_IN)


def a_duty(clock: Clock) -> Duties:
    return Duties({"watch-": Repeated(lambda now: now + 60)}, None, {}, clock)  # type: ignore[arg-type]


def waits_until(client: Client) -> float | None:
    return client.zscore(Keys(0).agenda(LANE), "watch-")


def test_one_that_waits_keeps_its_moment(agenda: RedisAgenda, redis_client: Client) -> None:
    clock = Clock()
    agenda.put(LANE, "watch-", clock() + 7)
    a_duty(clock).keep(agenda)
    assert waits_until(redis_client) == clock() + 7


def test_one_that_is_being_done_is_not_done_twice(agenda: RedisAgenda) -> None:
    clock = Clock()
    duties = a_duty(clock)
    duties.begin(agenda)
    assert agenda.claim(LANE, "w", clock(), 1).incidents == ("watch-",)
    duties.keep(agenda)
    agenda.release(LANE, "w", "watch-", duties.reconcile("watch-", LANE, "w"))
    assert agenda.claim(LANE, "w", clock(), 1).incidents == ()


def test_a_worker_brings_back_what_a_store_that_lost_its_data_forgot(
    agenda: RedisAgenda, redis_client: Client
) -> None:
    clock = Clock()
    worker = Worker("w", agenda, None, a_duty(clock), clock, threads={})  # type: ignore[arg-type]
    running = threading.Thread(target=worker.run)
    running.start()
    try:
        until(lambda: waits_until(redis_client) is not None)
        redis_client.flushall()
        clock.moment += KEEP_EVERY_S + 1
        until(lambda: waits_until(redis_client) is not None)
    finally:
        worker.stop()
        running.join(10)
        for thread in threading.enumerate():
            if thread.name == "listen":  # it holds the line that the test is about to close
                thread.join(10)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)

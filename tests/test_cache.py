"""Remembering answers: fresh ones at once, old ones while the other side is away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from receiver.cache import Cache, CachedValue
from receiver.errors import TemporaryDeliveryError
from tests.rig import Clock

WAIT_S = 5.0


class Oracle:
    """Answers what it is told to, and counts how often it was asked."""

    def __init__(self) -> None:
        self.answer: Any = "one"
        self.asked: list[str] = []
        self.can_respond = threading.Event()
        self.can_respond.set()

    def __call__(self, question: str) -> Any:
        self.asked.append(question)
        assert self.can_respond.wait(WAIT_S)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def a_cache(oracle: Callable[[str], str], clock: Clock) -> Cache[str]:
    return Cache("test", oracle, clock, ttl_s=120.0, retry_s=30.0)


def test_an_answer_is_kept_for_its_time() -> None:
    oracle, clock = Oracle(), Clock()
    recall = a_cache(oracle, clock)
    begun = clock.moment
    assert recall.find_value("q", WAIT_S) == CachedValue("one", begun)
    oracle.answer = "two"
    clock.moment += 119
    assert recall.find_value("q", WAIT_S) == CachedValue("one", begun)
    clock.moment += 1
    assert recall.find_value("q", WAIT_S) == CachedValue("two", begun + 120)
    assert oracle.asked == ["q", "q"]


def test_each_question_has_its_own_answer() -> None:
    recall = a_cache(lambda question: question * 2, Clock())
    assert (recall.find_value("a", WAIT_S).value, recall.find_value("b", WAIT_S).value) == ("aa", "bb")


def test_the_last_good_answer_stands_while_the_other_side_is_away() -> None:
    oracle, clock = Oracle(), Clock()
    recall = a_cache(oracle, clock)
    begun = clock.moment
    recall.find_value("q", WAIT_S)
    oracle.answer = TemporaryDeliveryError("no_answer")
    clock.moment += 1000
    assert recall.find_value("q", WAIT_S) == CachedValue("one", begun)


def test_who_did_not_answer_is_left_alone_for_a_while() -> None:
    oracle, clock = Oracle(), Clock()
    recall = a_cache(oracle, clock)
    oracle.answer = TemporaryDeliveryError("no_answer")
    assert recall.find_value("q", WAIT_S) is None
    clock.moment += 29
    assert recall.find_value("q", WAIT_S) is None
    assert len(oracle.asked) == 1
    oracle.answer = "back"
    clock.moment += 1
    assert recall.find_value("q", WAIT_S).value == "back"


def test_a_wait_that_was_asked_for_is_kept() -> None:
    oracle, clock = Oracle(), Clock()
    recall = a_cache(oracle, clock)
    oracle.answer = TemporaryDeliveryError("rate_limited", retry_after=100)
    recall.find_value("q", WAIT_S)
    clock.moment += 99
    recall.find_value("q", WAIT_S)
    assert len(oracle.asked) == 1


def test_an_answer_on_its_way_keeps_nobody_waiting_who_can_have_the_old_one() -> None:
    oracle, clock = Oracle(), Clock()
    recall = a_cache(oracle, clock)
    recall.find_value("q", WAIT_S)
    oracle.can_respond.clear()
    oracle.answer = "two"
    clock.moment += 120

    assert recall.find_value("q", 0.0).value == "one"  # the first asks, and waits no longer than it may
    assert recall.find_value("q", WAIT_S).value == "one"  # the second doesn't wait at all

    assert len(oracle.asked) == 2
    oracle.can_respond.set()


def test_who_knows_nothing_yet_waits_for_the_answer_on_its_way() -> None:
    oracle, clock = Oracle(), Clock()
    recall = a_cache(oracle, clock)
    oracle.can_respond.clear()
    assert recall.find_value("q", 0.0) is None
    oracle.can_respond.set()
    assert recall.find_value("q", WAIT_S).value == "one"
    assert oracle.asked == ["q"]


def test_many_at_once_ask_once() -> None:
    oracle, clock = Oracle(), Clock()
    recall = a_cache(oracle, clock)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(recall.find_value("q", WAIT_S))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert [answer.value for answer in found] == ["one"] * 20
    assert oracle.asked == ["q"]


def test_the_memory_has_an_end() -> None:
    oracle, clock = Oracle(), Clock()
    recall = a_cache(oracle, clock)
    for n in range(2100):
        recall.find_value(str(n), WAIT_S)
    assert len(recall._entries) <= 2000


def test_an_answer_from_before_the_clock_was_set_back_is_asked_anew() -> None:
    oracle, clock = Oracle(), Clock()
    recall = a_cache(oracle, clock)
    recall.find_value("q", WAIT_S)
    oracle.answer = "two"
    clock.moment -= 3600
    assert recall.find_value("q", WAIT_S) == CachedValue("two", clock.moment)

"""The cache: fresh values at once, stale values while the source is unavailable."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from receiver.cache import Cache, CachedValue
from receiver.errors import DeliveryError, TemporaryDeliveryError
from tests.rig import Clock

WAIT_S = 5.0


class Oracle:
    """A source that returns the value it was given and counts the calls."""

    def __init__(self) -> None:
        self.answer: Any = "one"
        self.questions: list[str] = []
        self.can_respond = threading.Event()
        self.can_respond.set()

    def __call__(self, question: str) -> Any:
        self.questions.append(question)
        assert self.can_respond.wait(WAIT_S)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def a_cache(oracle: Callable[[str], str], clock: Clock) -> Cache[str]:
    return Cache("test", oracle, clock, ttl_s=120.0, retry_s=30.0)


def test_a_value_is_cached_for_its_ttl() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    start = clock.moment
    assert cache.find_value("q", WAIT_S) == CachedValue("one", start)
    oracle.answer = "two"
    clock.moment += 119
    assert cache.find_value("q", WAIT_S) == CachedValue("one", start)
    clock.moment += 1
    assert cache.find_value("q", WAIT_S) == CachedValue("two", start + 120)
    assert oracle.questions == ["q", "q"]


def test_each_key_has_its_own_value() -> None:
    cache = a_cache(lambda question: question * 2, Clock())
    assert (cache.find_value("a", WAIT_S).value, cache.find_value("b", WAIT_S).value) == ("aa", "bb")


def test_the_last_good_value_is_returned_while_the_source_is_unavailable() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    start = clock.moment
    cache.find_value("q", WAIT_S)
    oracle.answer = TemporaryDeliveryError("no_answer")
    clock.moment += 1000
    assert cache.find_value("q", WAIT_S) == CachedValue("one", start)


def test_a_source_that_failed_is_not_called_again_before_the_retry_time() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    oracle.answer = TemporaryDeliveryError("no_answer")
    assert cache.find_value("q", WAIT_S) is None
    clock.moment += 29
    assert cache.find_value("q", WAIT_S) is None
    assert len(oracle.questions) == 1
    oracle.answer = "back"
    clock.moment += 1
    assert cache.find_value("q", WAIT_S).value == "back"


def test_the_retry_after_of_the_source_is_respected() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    oracle.answer = TemporaryDeliveryError("rate_limited", retry_after=100)
    cache.find_value("q", WAIT_S)
    clock.moment += 99
    cache.find_value("q", WAIT_S)
    assert len(oracle.questions) == 1


def test_a_caller_gets_the_stale_value_while_a_refresh_is_running() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    cache.find_value("q", WAIT_S)
    oracle.can_respond.clear()
    oracle.answer = "two"
    clock.moment += 120

    assert cache.find_value("q", 0.0).value == "one"  # it starts the refresh
    assert cache.find_value("q", WAIT_S).value == "one"  # the refresh is already running

    assert len(oracle.questions) == 2
    oracle.can_respond.set()


def test_a_caller_without_a_stale_value_waits_for_the_running_call() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    oracle.can_respond.clear()
    assert cache.find_value("q", 0.0) is None
    oracle.can_respond.set()
    assert cache.find_value("q", WAIT_S).value == "one"
    assert oracle.questions == ["q"]


def test_concurrent_callers_share_one_call() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    values: list[Any] = []
    threads = [
        threading.Thread(target=lambda: values.append(cache.find_value("q", WAIT_S))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert [answer.value for answer in values] == ["one"] * 20
    assert oracle.questions == ["q"]


def test_the_number_of_cached_values_is_bounded() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    for n in range(2100):
        cache.find_value(str(n), WAIT_S)
    assert len(cache._entries) <= 2000


def test_a_value_from_before_the_clock_was_set_back_is_loaded_again() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    cache.find_value("q", WAIT_S)
    oracle.answer = "two"
    clock.moment -= 3600
    assert cache.find_value("q", WAIT_S) == CachedValue("two", clock.moment)


def test_a_caller_that_needs_a_value_fetches_it_itself() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    assert (cache.get_value("q"), cache.get_value("q")) == ("one", "one")
    assert oracle.questions == ["q"]
    oracle.answer = "two"
    clock.moment += 120
    assert cache.get_value("q") == "two"


def test_a_value_can_be_asked_for_that_is_not_older_than_a_moment() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    cache.get_value("q")
    oracle.answer = "two"
    clock.moment += 10
    assert cache.get_value("q", since=clock.moment - 11) == "one"
    assert cache.get_value("q", since=clock.moment - 10) == "two"


def test_where_there_never_was_a_value_the_error_is_raised_until_the_retry_time() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    oracle.answer = TemporaryDeliveryError("no_answer")
    for _ in range(2):
        with pytest.raises(DeliveryError, match="no_answer"):
            cache.get_value("q")
    assert len(oracle.questions) == 1
    oracle.answer = "back"
    clock.moment += 30
    assert cache.get_value("q") == "back"
    oracle.answer = TemporaryDeliveryError("no_answer")
    clock.moment += 120
    assert cache.get_value("q") == "back"


def test_a_caller_that_needs_a_newer_value_waits_for_the_running_call_and_makes_its_own() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    oracle.can_respond.clear()
    assert cache.find_value("q", 0.0) is None
    clock.moment += 1
    values: list[Any] = []
    thread = threading.Thread(target=lambda: values.append(cache.get_value("q", since=clock.moment - 0.5)))
    thread.start()
    oracle.can_respond.set()
    thread.join(WAIT_S)
    assert values == ["one"]
    assert oracle.questions == ["q", "q"]


def test_an_unexpected_error_does_not_block_the_key() -> None:
    oracle, clock = Oracle(), Clock()
    cache = a_cache(oracle, clock)
    oracle.answer = KeyError("q")
    with pytest.raises(KeyError):
        cache.get_value("q")
    oracle.answer = "back"
    clock.moment += 30
    assert cache.get_value("q") == "back"


def test_the_number_of_concurrent_fetches_is_bounded() -> None:
    oracle, clock = Oracle(), Clock()
    cache = Cache("test", oracle, clock, ttl_s=120.0, retry_s=30.0, at_once=2)
    oracle.can_respond.clear()
    for key in "abc":
        assert cache.find_value(key, 0.0) is None
    oracle.can_respond.set()
    assert [cache.find_value(key, WAIT_S) is not None for key in "ab"] == [True, True]
    assert set(oracle.questions) == {"a", "b"}
    deadline = time.monotonic() + WAIT_S
    while cache.find_value("c", WAIT_S) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(oracle.questions) == {"a", "b", "c"}

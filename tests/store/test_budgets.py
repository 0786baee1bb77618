"""Budgets on a real Valkey: who goes, who waits how long, and who is not waited for."""

from __future__ import annotations

import pytest

from receiver.domain.budget import Bucket
from receiver.store.budgets import RedisBudgets
from receiver.store.connection import Client
from tests.moments import HANDED_IN

NOW = 1_795_435_200.0
POSTS = Bucket("slack:post:#alerts", burst=3, rate=1.0)


@pytest.fixture
def budgets(redis_client: Client) -> RedisBudgets:
    return RedisBudgets(redis_client, moments=HANDED_IN)


def ask(
    budgets: RedisBudgets, who: str, now: float = NOW, rank: float = 0.0, *, first: bool = False
) -> float:
    """Return how long *who* has to wait."""
    return budgets.take(POSTS, who, rank or now, now, is_first=first).wait_s


def empty(budgets: RedisBudgets, now: float = NOW) -> None:
    for n in range(POSTS.burst):
        assert ask(budgets, f"early-{n}", now) == 0


def test_a_burst_goes_at_once_and_the_rest_at_the_rate(budgets: RedisBudgets) -> None:
    assert [ask(budgets, f"a-{n}") for n in range(6)] == [0, 0, 0, 1, 2, 3]


def test_who_comes_when_it_was_told_goes(budgets: RedisBudgets) -> None:
    empty(budgets)
    assert ask(budgets, "late") == 1
    assert ask(budgets, "late", NOW + 0.999) == pytest.approx(0.001)
    assert ask(budgets, "late", NOW + 1) == 0


def test_two_workers_share_one_budget(budgets: RedisBudgets, redis_client: Client) -> None:
    other = RedisBudgets(redis_client, moments=HANDED_IN)
    assert [ask(budgets, "a"), ask(other, "b"), ask(budgets, "c"), ask(other, "d")] == [0, 0, 0, 1]


def test_buckets_do_not_hinder_each_other(budgets: RedisBudgets) -> None:
    empty(budgets)
    other = Bucket("slack:post:#other", 3, 1.0)
    assert budgets.take(other, "a", NOW, NOW, is_first=False).wait_s == 0


def test_the_least_rank_goes_first_whoever_came_first(budgets: RedisBudgets) -> None:
    empty(budgets)
    assert ask(budgets, "info", rank=NOW + 62) == 1
    assert ask(budgets, "critical", rank=NOW + 2) == 1
    assert ask(budgets, "info", NOW + 1, rank=NOW + 62) == 1
    assert ask(budgets, "critical", NOW + 1, rank=NOW + 2) == 0
    assert ask(budgets, "info", NOW + 2, rank=NOW + 62) == 0


def test_who_waits_keeps_its_best_place(budgets: RedisBudgets) -> None:
    empty(budgets)
    ask(budgets, "changes often", rank=NOW + 1)
    ask(budgets, "other", rank=NOW + 2)
    ask(budgets, "changes often", rank=NOW + 9)
    assert ask(budgets, "other", NOW + 1, rank=NOW + 2) == 1


def test_who_never_comes_back_is_not_waited_for(budgets: RedisBudgets) -> None:
    empty(budgets)
    for n in range(5):
        ask(budgets, f"gone-{n}", rank=NOW - 100)
    assert ask(budgets, "here", NOW + 3.9, rank=NOW) > 0
    assert ask(budgets, "here", NOW + 6.1, rank=NOW) == 0


def test_hundreds_that_leave_hold_nobody_up_for_long(budgets: RedisBudgets) -> None:
    """They are missed as soon as they should have asked again."""
    empty(budgets)
    for n in range(300):
        ask(budgets, f"gone-{n}", rank=NOW - 100)
    now, wait = NOW, ask(budgets, "here", rank=NOW)
    while wait:
        now += wait
        wait = ask(budgets, "here", now, rank=NOW)
    assert now - NOW < 20


def test_who_has_to_wait_long_asks_again_now_and_then_seldomer_where_many_do(budgets: RedisBudgets) -> None:
    empty(budgets)
    waits = [ask(budgets, f"a-{n:03}") for n in range(400)]
    assert waits[:6] == [1, 2, 3, 4, 5, pytest.approx(5.06)]
    assert waits[399] == 9


def test_a_pause_lets_nobody_go_and_then_one(budgets: RedisBudgets) -> None:
    budgets.pause(POSTS, NOW + 4)
    assert ask(budgets, "a") == 4
    assert ask(budgets, "b") == 5
    assert ask(budgets, "a", NOW + 3.9) == pytest.approx(0.1)
    assert ask(budgets, "a", NOW + 4) == 0
    assert ask(budgets, "b", NOW + 4) == 1


def test_a_pause_takes_what_was_saved_for_a_burst(budgets: RedisBudgets) -> None:
    ask(budgets, "a")
    budgets.pause(POSTS, NOW + 4)
    assert [ask(budgets, who, NOW + 4) for who in "bcd"] == [0, 1, 2]


def test_a_shorter_pause_does_not_end_a_longer_one(budgets: RedisBudgets) -> None:
    budgets.pause(POSTS, NOW + 30)
    budgets.pause(POSTS, NOW + 1)
    assert ask(budgets, "a", NOW + 29) == pytest.approx(1)


def test_a_clock_that_is_set_back_freezes_nothing(budgets: RedisBudgets) -> None:
    empty(budgets)
    budgets.pause(POSTS, NOW + 2)
    ask(budgets, "gone", rank=NOW - 100)
    back = NOW - 3600
    assert ask(budgets, "a", back) == pytest.approx(3, abs=0.01)
    assert ask(budgets, "a", back + 3) == 0
    assert ask(budgets, "b", back + 3) == pytest.approx(1, abs=0.01)


def test_clocks_that_differ_a_little_make_no_tokens(budgets: RedisBudgets) -> None:
    """Each turn from the one behind to the one ahead would count the same second anew."""
    empty(budgets)
    went = 0
    for n in range(100):
        went += ask(budgets, f"ahead-{n}", NOW + 0.9) == 0
        went += ask(budgets, f"behind-{n}", NOW) == 0
    assert went == 0


def test_it_is_known_who_waits_for_a_first_one_and_how_long_the_next_would(budgets: RedisBudgets) -> None:
    empty(budgets)
    ask(budgets, "a root", rank=NOW + 2, first=True)
    ask(budgets, "b root", rank=NOW + 1, first=True)
    turn = budgets.take(POSTS, "c step:x", NOW - 30, NOW, is_first=False)
    assert budgets.waiting(POSTS) == ["b root", "a root"]
    assert turn.firsts_wait_s == 3
    assert ask(budgets, "c step:x", NOW + 1, rank=NOW - 30) == 0
    assert ask(budgets, "b root", NOW + 2, rank=NOW + 1, first=True) == 0
    assert budgets.waiting(POSTS) == ["a root"]


def test_keys_go_when_nobody_asks(budgets: RedisBudgets, redis_client: Client) -> None:
    empty(budgets)
    ask(budgets, "a", first=True)
    names = [key.decode() for key in redis_client.scan_iter("rcv:*budget*")]
    assert len(names) == 4
    assert all(0 < redis_client.ttl(name) < 3 * 3600 for name in names)
    assert {name.partition("{")[2].partition("}")[0] for name in names} == {POSTS.name}

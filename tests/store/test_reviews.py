"""Reviews on a real Valkey: kept whole, changed by one at a time, and gone when nobody needs them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from receiver.domain.alert import Severity
from receiver.domain.delivery import Delivery, Receipt
from receiver.domain.person import Person
from receiver.domain.review import Review, ReviewItem
from receiver.domain.review_ports import Reviews
from receiver.domain.review_record import ReviewState, slot_of_reviews
from receiver.errors import StoreError
from receiver.store.connection import Client, connect
from receiver.store.keys import REVIEWS_FOR_S
from receiver.store.reviews import RedisReviews

NOW = 1_795_424_400.0
GROUP_ID = slot_of_reviews("alerts-info")


@pytest.fixture
def reviews(redis_client: Client) -> RedisReviews:
    return RedisReviews(redis_client)


def a_state() -> ReviewState:
    item = ReviewItem("DiskWillFill", Severity.INFO, 3, 1, NOW - 60, ("abc-1", "abc-2"))
    state = ReviewState(NOW - 86400, NOW - 86400).open(
        Review("alerts-info", "#alerts-info", NOW - 86400, NOW, (item,), 1, 2, 3)
    )
    delivery = Delivery(state.records[0].id, attempts=1).with_receipt(Receipt(NOW, "C0INFO:1.000001"))
    record = replace(
        state.records[0], delivery=delivery, reviewed_by=Person("alice", "slack", "U1"), reviewed_at=NOW + 5
    )
    return state.put(record)


def test_a_route_that_was_never_looked_at_has_no_state(reviews):
    held = reviews.read(GROUP_ID)
    assert (held.group_id, held.state, held.version) == (GROUP_ID, None, 0)


def test_what_was_kept_is_read_whole(reviews):
    port: Reviews = reviews
    assert port.keep(port.read(GROUP_ID), a_state())
    held = port.read(GROUP_ID)
    assert (held.state, held.version) == (a_state(), 1)


def test_routes_do_not_share_their_reviews(reviews):
    reviews.keep(reviews.read(GROUP_ID), a_state())
    assert reviews.read(slot_of_reviews("alerts-warning")).state is None


def test_a_change_of_what_somebody_else_changed_meanwhile_is_refused(reviews):
    held = reviews.read(GROUP_ID)
    assert reviews.keep(held, a_state())
    assert not reviews.keep(held, ReviewState(1.0, 1.0))
    assert reviews.read(GROUP_ID).state == a_state()


def test_of_many_who_change_it_at_once_one_is_let_through(reviews):
    held = reviews.read(GROUP_ID)
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda n: reviews.keep(held, ReviewState(float(n), NOW)), range(32)))
    assert kept.count(True) == 1
    state = reviews.read(GROUP_ID).state
    assert state is not None
    assert state.since == kept.index(True)


def test_each_write_keeps_them_for_another_400_days(reviews, redis_client):
    reviews.keep(reviews.read(GROUP_ID), a_state())
    (key,) = redis_client.keys("*reviews*")
    redis_client.expire(key, 60)
    reviews.keep(reviews.read(GROUP_ID), a_state().advance(NOW + 1))
    assert REVIEWS_FOR_S - 10 < redis_client.ttl(key) <= REVIEWS_FOR_S


def test_a_store_that_forgot_its_scripts_is_told_them_again(reviews, redis_client):
    redis_client.script_flush()
    assert reviews.keep(reviews.read(GROUP_ID), a_state())


def test_a_store_that_is_away_is_said_so():
    reviews = RedisReviews(connect("redis://127.0.0.1:1/0", timeout_s=0.2))
    with pytest.raises(StoreError):
        reviews.read(GROUP_ID)

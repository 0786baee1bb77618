"""Reviews on a real Valkey: stored completely, changed by compare-and-set, and expired."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from receiver.errors import StoreError
from receiver.model.alert import Severity
from receiver.model.delivery import Delivery, Receipt
from receiver.model.incident import Person
from receiver.reviews.model import Review, ReviewItem, ReviewState, review_group_id
from receiver.reviews.service import RedisReviews
from receiver.storage.connection import Client, connect
from receiver.storage.keys import REVIEWS_FOR_S

NOW = 1_795_424_400.0
GROUP_ID = review_group_id("alerts-info")


@pytest.fixture
def reviews(redis_client: Client) -> RedisReviews:
    return RedisReviews(redis_client)


def a_state() -> ReviewState:
    item = ReviewItem("DiskWillFill", Severity.INFO, 3, 1, NOW - 60, ("abc-1", "abc-2"))
    state = ReviewState(NOW - 86400, NOW - 86400).with_review(
        Review("alerts-info", "#alerts-info", NOW - 86400, NOW, (item,), 1, 2, 3)
    )
    delivery = Delivery(state.records[0].id, attempts=1).with_receipt(Receipt(NOW, "C0INFO:1.000001"))
    record = replace(
        state.records[0], delivery=delivery, reviewed_by=Person("alice", "slack", "U1"), reviewed_at=NOW + 5
    )
    return state.with_record(record)


def test_a_route_that_was_never_checked_has_no_state(reviews):
    loaded = reviews.load_reviews(GROUP_ID)
    assert (loaded.group_id, loaded.state, loaded.version) == (GROUP_ID, None, 0)


def test_saved_reviews_are_loaded_completely(reviews):
    port = reviews
    assert port.save_if_unchanged(port.load_reviews(GROUP_ID), a_state())
    loaded = port.load_reviews(GROUP_ID)
    assert (loaded.state, loaded.version) == (a_state(), 1)


def test_routes_do_not_share_their_reviews(reviews):
    reviews.save_if_unchanged(reviews.load_reviews(GROUP_ID), a_state())
    assert reviews.load_reviews(review_group_id("alerts-warning")).state is None


def test_a_change_of_a_state_that_changed_meanwhile_is_refused(reviews):
    loaded = reviews.load_reviews(GROUP_ID)
    assert reviews.save_if_unchanged(loaded, a_state())
    assert not reviews.save_if_unchanged(loaded, ReviewState(1.0, 1.0))
    assert reviews.load_reviews(GROUP_ID).state == a_state()


def test_of_many_concurrent_changes_one_is_saved(reviews):
    loaded = reviews.load_reviews(GROUP_ID)
    with ThreadPoolExecutor(8) as pool:
        saved = list(
            pool.map(lambda n: reviews.save_if_unchanged(loaded, ReviewState(float(n), NOW)), range(32))
        )
    assert saved.count(True) == 1
    state = reviews.load_reviews(GROUP_ID).state
    assert state is not None
    assert state.since == saved.index(True)


def test_each_write_extends_the_expiry_to_400_days(reviews, redis_client):
    reviews.save_if_unchanged(reviews.load_reviews(GROUP_ID), a_state())
    (key,) = redis_client.keys("*reviews*")
    redis_client.expire(key, 60)
    reviews.save_if_unchanged(reviews.load_reviews(GROUP_ID), replace(a_state(), checked_at=NOW + 1))
    assert REVIEWS_FOR_S - 10 < redis_client.ttl(key) <= REVIEWS_FOR_S


def test_scripts_that_redis_lost_are_loaded_again(reviews, redis_client):
    redis_client.script_flush()
    assert reviews.save_if_unchanged(reviews.load_reviews(GROUP_ID), a_state())


def test_an_unavailable_redis_is_a_store_error():
    reviews = RedisReviews(connect("redis://127.0.0.1:1/0", timeout_s=0.2))
    with pytest.raises(StoreError):
        reviews.load_reviews(GROUP_ID)

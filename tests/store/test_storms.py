"""Storms on a real Valkey: one at a place, changed by one at a time, and gone when nobody needs them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from receiver.domain.storm import Member, Storm, new_storm_id
from receiver.domain.storm_ports import StormShelf
from receiver.errors import NotFound
from receiver.store.connection import Client
from receiver.store.keys import Keys
from receiver.store.storms import RedisStorms
from tests.moments import HANDED_IN

NOW = 1_795_424_400.0
PLACE = "channel:#alerts-critical"


@pytest.fixture
def storms(redis_client: Client) -> RedisStorms:
    return RedisStorms(redis_client, history_s=1000, moments=HANDED_IN)


def a_storm(at: float = NOW, place: str = PLACE) -> Storm:
    return Storm(new_storm_id(place, at), place, at)


def begin(storms: StormShelf, storm: Storm) -> Storm:
    assert storms.begin(storm, "", NOW) == storm.id
    return storm


def test_one_storm_is_on_at_a_place(storms):
    first = begin(storms, a_storm())
    assert storms.begin(a_storm(NOW + 1), "", NOW) == first.id
    assert storms.find_on(PLACE) == first.id
    assert [one.id for one in storms.find_unresolved()] == [first.id]


def test_many_that_begin_one_at_once_agree(storms):
    with ThreadPoolExecutor(8) as pool:
        begun = set(pool.map(lambda n: storms.begin(a_storm(NOW + n), "", NOW), range(20)))
    assert begun == {storms.find_on(PLACE)}


def test_a_full_storm_gives_its_place_to_another_once(storms):
    first = begin(storms, a_storm())
    second, third = a_storm(NOW + 1), a_storm(NOW + 2)
    assert storms.begin(second, first.id, NOW) == second.id
    assert storms.begin(third, first.id, NOW) == second.id


def test_a_storm_that_begins_is_on_the_agenda(storms, redis_client):
    storm = begin(storms, a_storm())
    assert redis_client.zscore(Keys(0).queue("slack"), storm.id) == NOW


def test_who_joined_is_there(storms):
    storm = begin(storms, a_storm())
    door = storms.knock(storm.id, "abc-1")
    assert (door.member, door.count) == (None, 0)
    assert storms.join(door, "abc-1", Member(NOW, 1, "root/"), None)
    assert storms.knock(storm.id, "abc-1").member == Member(NOW, 1, "root/")
    assert storms.load(storm.id).members == {"abc-1": Member(NOW, 1, "root/")}


def test_nobody_joins_a_storm_that_changed_since_they_knocked(storms):
    """Else somebody could slip into a wave that was just acknowledged, and nobody would be told."""
    storm = begin(storms, a_storm())
    door = storms.knock(storm.id, "abc-1")
    assert storms.keep(storms.load(storm.id), replace(storm, closed=1))
    assert not storms.join(door, "abc-1", Member(NOW), None)
    assert storms.load(storm.id).members == {}


def test_a_change_that_must_not_miss_anybody_is_not_kept_when_somebody_joined(storms):
    storm = begin(storms, a_storm())
    held = storms.load(storm.id)
    assert storms.join(storms.knock(storm.id, "abc-1"), "abc-1", Member(NOW), None)
    assert not storms.keep(held, replace(storm, closed=1), if_nobody_joined=True)
    assert storms.keep(held, replace(storm, closed=1))


def test_two_changes_of_the_same_state_are_one(storms):
    storm = begin(storms, a_storm())
    held = storms.load(storm.id)
    assert storms.keep(held, replace(storm, closed=1))
    assert not storms.keep(held, replace(storm, closed=2))
    assert storms.load(storm.id).storm.closed == 1


def test_a_storm_that_ended_leaves_its_place_and_one_that_is_resolved_expires(storms, redis_client):
    storm = begin(storms, a_storm())
    storms.join(storms.knock(storm.id, "abc-1"), "abc-1", Member(NOW), None)
    assert storms.keep(storms.load(storm.id), replace(storm, ended_at=NOW + 9))
    assert storms.find_on(PLACE) == ""
    assert [one.id for one in storms.find_unresolved()] == [storm.id]
    assert storms.keep(storms.load(storm.id), replace(storm, ended_at=NOW + 9, resolved_at=NOW + 9))
    assert storms.find_unresolved() == []
    for key in (Keys(0).storm(storm.id), Keys(0).storm_members(storm.id)):
        assert 900 < redis_client.ttl(key) <= 1000


def test_a_storm_nobody_knows_is_not_found(storms):
    assert storms.knock("storm-x", "abc-1") is None
    with pytest.raises(NotFound):
        storms.load("storm-x")

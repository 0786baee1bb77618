"""Storms on a real Valkey: one active storm per target, saved by compare-and-set, and expired after their
end.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from receiver.errors import NotFound
from receiver.storage.connection import Client
from receiver.storage.keys import Keys
from receiver.storms.model import Member, Storm, new_storm_id
from receiver.storms.store import RedisStorms
from tests.script_clocks import SHARED_CLOCK

NOW = 1_795_424_400.0
TARGET_KEY = "channel:#alerts-critical"


@pytest.fixture
def storms(redis_client: Client) -> RedisStorms:
    return RedisStorms(redis_client, history_s=1000, script_clock=SHARED_CLOCK)


def a_storm(at: float = NOW, target_key: str = TARGET_KEY) -> Storm:
    return Storm(new_storm_id(target_key, at), target_key, at)


def start(storms: RedisStorms, storm: Storm) -> Storm:
    assert storms.start_storm(storm, "", NOW) == storm.id
    return storm


def test_one_storm_is_active_at_a_target(storms):
    first = start(storms, a_storm())
    assert storms.start_storm(a_storm(NOW + 1), "", NOW) == first.id
    assert storms.find_active(TARGET_KEY) == first.id
    assert [one.id for one in storms.list_unresolved()] == [first.id]


def test_concurrent_starts_at_a_target_agree_on_one_storm(storms):
    with ThreadPoolExecutor(8) as pool:
        begun = set(pool.map(lambda n: storms.start_storm(a_storm(NOW + n), "", NOW), range(20)))
    assert begun == {storms.find_active(TARGET_KEY)}


def test_a_full_storm_is_replaced_once_by_another_storm(storms):
    first = start(storms, a_storm())
    second, third = a_storm(NOW + 1), a_storm(NOW + 2)
    assert storms.start_storm(second, first.id, NOW) == second.id
    assert storms.start_storm(third, first.id, NOW) == second.id


def test_a_storm_that_starts_is_enqueued(storms, redis_client):
    storm = start(storms, a_storm())
    assert redis_client.zscore(Keys(0).queue("slack"), storm.id) == NOW


def test_a_member_that_joined_is_loaded(storms):
    storm = start(storms, a_storm())
    join_view = storms.load_for_join(storm.id, "abc-1")
    assert (join_view.member, join_view.member_count) == (None, 0)
    assert storms.add_member(join_view, "abc-1", Member(NOW, 1, "parent/"), None)
    assert storms.load_for_join(storm.id, "abc-1").member == Member(NOW, 1, "parent/")
    assert storms.load_storm(storm.id).members == {"abc-1": Member(NOW, 1, "parent/")}


def test_no_member_is_added_to_a_storm_that_changed_since_it_was_read(storms):
    """Else an incident could join a batch that was just acknowledged, and no responder would be notified of
    it.
    """
    storm = start(storms, a_storm())
    join_view = storms.load_for_join(storm.id, "abc-1")
    assert storms.save_if_unchanged(storms.load_storm(storm.id), replace(storm, closed_batch=1))
    assert not storms.add_member(join_view, "abc-1", Member(NOW), None)
    assert storms.load_storm(storm.id).members == {}


def test_a_change_that_must_know_all_members_is_not_saved_if_one_joined(storms):
    storm = start(storms, a_storm())
    loaded = storms.load_storm(storm.id)
    assert storms.add_member(storms.load_for_join(storm.id, "abc-1"), "abc-1", Member(NOW), None)
    assert not storms.save_if_unchanged(loaded, replace(storm, closed_batch=1), if_none_joined=True)
    assert storms.save_if_unchanged(loaded, replace(storm, closed_batch=1))


def test_of_two_changes_of_the_same_state_only_one_is_saved(storms):
    storm = start(storms, a_storm())
    loaded = storms.load_storm(storm.id)
    assert storms.save_if_unchanged(loaded, replace(storm, closed_batch=1))
    assert not storms.save_if_unchanged(loaded, replace(storm, closed_batch=2))
    assert storms.load_storm(storm.id).storm.closed_batch == 1


def test_a_storm_that_ended_is_not_active_and_one_that_is_resolved_expires(storms, redis_client):
    storm = start(storms, a_storm())
    storms.add_member(storms.load_for_join(storm.id, "abc-1"), "abc-1", Member(NOW), None)
    assert storms.save_if_unchanged(storms.load_storm(storm.id), replace(storm, ended_at=NOW + 9))
    assert storms.find_active(TARGET_KEY) == ""
    assert [one.id for one in storms.list_unresolved()] == [storm.id]
    assert storms.save_if_unchanged(
        storms.load_storm(storm.id), replace(storm, ended_at=NOW + 9, resolved_at=NOW + 9)
    )
    assert storms.list_unresolved() == []
    for key in (Keys(0).storm(storm.id), Keys(0).storm_members(storm.id)):
        assert 900 < redis_client.ttl(key) <= 1000


def test_an_unknown_storm_is_not_found(storms):
    assert storms.load_for_join("storm-x", "abc-1") is None
    with pytest.raises(NotFound):
        storms.load_storm("storm-x")

"""Changed routes in Alertmanager give the same alerts another group key: no one is paged for them again."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.storage.connection import Client
from tests.rig import Rig

BY_NAME = {"alertname": "DiskFull"}
BY_TEAM = {"team": "storage"}


def disk(rig: Rig, host: str, **how: Any) -> dict[str, Any]:
    return rig.alert("DiskFull", host=host, team="storage", **how)


def posts(rig: Rig, *alerts: dict[str, Any], group: dict[str, str], **fields: Any) -> dict[str, Any]:
    answer = rig.posts(*alerts, group=group, **fields)
    rig.works()
    return answer


@pytest.fixture
def incident(rig: Rig) -> str:
    """The incident of two firing alerts, grouped by name; ten seconds later."""
    answer = posts(rig, disk(rig, "a"), disk(rig, "b"), group=BY_NAME)
    rig.passes("10s")
    return str(answer["incidents"][0])


def ended(rig: Rig, host: str) -> dict[str, Any]:
    return disk(rig, host, ended=True, at=rig.clock() - 1)


def test_the_same_alerts_under_a_new_group_key_are_duplicates(rig: Rig, incident: str) -> None:
    outside = rig.visible_output()
    answer = posts(rig, disk(rig, "a"), disk(rig, "b"), group=BY_TEAM)
    assert answer == {
        "alerts": 2,
        "new": 0,
        "duplicates": 2,
        "resolved": 0,
        "rejected": 0,
        "incidents": [incident],
    }
    assert rig.visible_output() == outside
    rig.passes("5m")
    assert rig.paged() == ["on-call", "team-lead"]


def test_their_resolve_under_the_new_key_is_applied(rig: Rig, incident: str) -> None:
    posts(rig, disk(rig, "a"), disk(rig, "b"), group=BY_TEAM)
    assert posts(rig, ended(rig, "a"), ended(rig, "b"), group=BY_TEAM)["resolved"] == 2
    assert rig.state(incident) == "resolved"
    assert rig.pagerduty.still_open() == []


def test_the_incident_is_resolved_when_all_alerts_are_under_whatever_keys(rig: Rig, incident: str) -> None:
    posts(rig, ended(rig, "a"), group=BY_TEAM)
    assert rig.state(incident) == "open"
    posts(rig, ended(rig, "b"), group=BY_NAME)
    assert rig.state(incident) == "resolved"


def test_a_truncated_payload_of_the_new_group_resolves_no_incident(rig: Rig, incident: str) -> None:
    posts(rig, ended(rig, "a"), ended(rig, "b"), group=BY_TEAM, truncatedAlerts=3)
    assert rig.state(incident) == "open"


def test_alerts_without_an_owner_open_an_incident_of_the_new_group(rig: Rig, incident: str) -> None:
    answer = posts(rig, disk(rig, "a"), disk(rig, "c"), group=BY_TEAM)
    assert (answer["new"], answer["duplicates"]) == (1, 1)
    assert set(answer["incidents"]) > {incident}
    [other] = set(answer["incidents"]) - {incident}
    assert [alert["labels"]["host"] for alert in rig.shows(other)["alerts"]] == ["c"]
    assert rig.paged() == ["on-call", "on-call"]

    answer = posts(rig, ended(rig, "a"), ended(rig, "b"), ended(rig, "c"), group=BY_TEAM)
    assert answer["resolved"] == 3
    assert (rig.state(incident), rig.state(other)) == ("resolved", "resolved")


def test_a_new_alert_joins_the_new_groups_incident_once_it_has_one(rig: Rig, incident: str) -> None:
    [other] = set(posts(rig, disk(rig, "a"), disk(rig, "c"), group=BY_TEAM)["incidents"]) - {incident}
    answer = posts(rig, disk(rig, "a"), disk(rig, "c"), disk(rig, "d"), group=BY_TEAM)
    assert (answer["new"], answer["duplicates"]) == (1, 2)
    assert rig.shows(other)["firing"] == 2
    assert rig.shows(incident)["firing"] == 2


def test_within_the_flap_window_it_reopens_under_the_new_key(rig: Rig, incident: str) -> None:
    posts(rig, ended(rig, "a"), ended(rig, "b"), group=BY_NAME)
    rig.passes("1m")
    assert posts(rig, disk(rig, "a"), group=BY_TEAM)["incidents"] == [incident]
    assert rig.state(incident) == "open"
    assert rig.paged() == ["on-call", "on-call"]
    assert len(rig.parents()) == 1


def test_after_the_flap_window_an_alert_opens_an_incident_under_the_new_key(rig: Rig, incident: str) -> None:
    posts(rig, ended(rig, "a"), ended(rig, "b"), group=BY_NAME)
    rig.passes("11m")
    [other] = posts(rig, disk(rig, "a"), group=BY_TEAM)["incidents"]
    assert other != incident
    assert rig.paged() == ["on-call", "on-call"]


def test_another_receiver_of_alertmanager_is_treated_likewise(rig: Rig, incident: str) -> None:
    answer = posts(rig, disk(rig, "a"), group=BY_TEAM, receiver="another")
    assert (answer["new"], answer["incidents"]) == (0, [incident])


def test_alerts_of_another_source_are_other_alerts(rig: Rig, incident: str) -> None:
    assert posts(rig, disk(rig, "a"), group=BY_TEAM, source="berlin")["incidents"] != [incident]


def test_a_manually_resolved_incident_stays_resolved_under_the_new_key(rig: Rig, incident: str) -> None:
    rig.answers(incident, "resolve")
    answer = posts(
        rig, disk(rig, "a", at=rig.clock() - 10), disk(rig, "b", at=rig.clock() - 10), group=BY_TEAM
    )
    assert answer["duplicates"] == 2
    assert rig.paged() == ["on-call"]
    posts(rig, ended(rig, "a"), group=BY_TEAM)
    rig.passes("1m")
    assert posts(rig, disk(rig, "a"), group=BY_TEAM)["new"] == 1
    assert rig.paged() == ["on-call", "on-call"]


def test_an_owner_without_an_incident_is_ignored(rig: Rig, incident: str, redis_client: Client) -> None:
    """The incident was deleted manually, but not the owner entries that name it."""
    group_id = incident.partition("-")[0]
    keys = rig.services.incidents.keys_of(group_id)
    redis_client.delete(keys.incident(group_id), keys.timeline(incident))
    redis_client.zrem(keys.open, incident)
    assert posts(rig, disk(rig, "a"), group=BY_TEAM)["new"] == 1
    assert posts(rig, disk(rig, "a"), group=BY_TEAM)["duplicates"] == 1


def test_stored_owners_expire_with_their_alerts(rig: Rig, incident: str, redis_client: Client) -> None:
    [key] = redis_client.scan_iter("rcv:*:alert-owners:*")
    assert redis_client.hlen(key) == 2
    assert 700 < redis_client.ttl(key) <= rig.services.routing.history
    posts(rig, ended(rig, "a"), group=BY_NAME)
    posts(rig, ended(rig, "b"), group=BY_TEAM)
    # Until the alerts could no longer reopen the incident.
    keys = list(redis_client.scan_iter("rcv:*:*alert-owners*"))
    assert len(keys) == 2
    assert all(600 < redis_client.ttl(key) <= 660 for key in keys)


def test_owners_of_ended_alerts_are_removed_while_others_fire(
    rig: Rig, incident: str, redis_client: Client
) -> None:
    posts(rig, ended(rig, "a"), group=BY_NAME)
    [key] = redis_client.scan_iter("rcv:*:alert-owners:*")
    [left] = redis_client.scan_iter("rcv:*:ended-alert-owners:*")
    assert redis_client.zcard(left) == 1
    for name in redis_client.zrange(left, 0, -1):
        redis_client.zadd(left, {name: 1})  # long ago
    posts(rig, disk(rig, "c"), group=BY_NAME)
    assert (redis_client.hlen(key), redis_client.zcard(left)) == (2, 0)
    assert posts(rig, disk(rig, "b"), group=BY_TEAM)["incidents"] == [incident]


def test_two_processes_that_receive_an_alert_under_two_keys_at_once_page_once(rig: Rig) -> None:
    client, answers = rig.client.application, []
    start = threading.Barrier(3)

    def post(body: dict[str, Any]) -> None:
        start.wait(10)
        answers.append(client.test_client().post("/webhooks/alertmanager", json=body).json)

    for n in range(10):
        answers.clear()
        alert = rig.alert("DiskFull", host=f"host-{n}")
        keys = [{"alertname": "DiskFull", "n": str(n)}, {"n": str(n)}, {"team": str(n)}]
        bodies = [rig.payload(alert, group=key) for key in keys]
        threads = [threading.Thread(target=post, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        rig.works()
        assert sorted(answer["new"] for answer in answers) == [0, 0, 1]
        assert len({tuple(answer["incidents"]) for answer in answers}) == 1
    assert len(rig.paged()) == 10


HOSTS = ("a", "b", "c")
NEWS = st.tuples(
    st.sampled_from(["by name", "by team"]),
    st.sampled_from(["one", "two"]),
    st.sets(st.sampled_from(HOSTS), min_size=1).map(sorted),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NEWS, min_size=1, max_size=6), st.permutations(HOSTS), st.data())
def test_each_alert_fires_in_one_incident_and_is_resolved_there_in_any_order(
    rig: Rig, redis_client: Client, news: list[tuple[str, list[str]]], ends: list[str], data: st.DataObject
) -> None:
    redis_client.flushall()
    keys = {"by name": BY_NAME, "by team": BY_TEAM}
    start = rig.clock()
    seen: set[str] = set()
    new = 0
    for how, receiver, hosts in news:
        alerts = [disk(rig, host, at=start) for host in hosts]
        new += rig.posts(*alerts, group=keys[how], receiver=receiver)["new"]
        seen |= set(hosts)
    assert new == len(seen)
    incidents = rig.client.get("/api/v1/incidents?state=open").json["incidents"]
    assert sum(one["firing"] for one in incidents) == len(seen)

    rig.clock.moment += 60
    for host in ends:
        how = data.draw(st.sampled_from(sorted(keys)))
        rig.posts(disk(rig, host, ended=True, at=start), group=keys[how])

    assert rig.client.get("/api/v1/incidents?state=open").json["incidents"] == []
    assert all(redis_client.ttl(key) <= 660 for key in redis_client.scan_iter("rcv:*:*alert-owners*"))

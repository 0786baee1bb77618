"""The open incidents in memory: always equal to those in Redis, although only changes are loaded."""

from __future__ import annotations

import pytest

from receiver.incidents.open_incidents import OpenIncidents
from receiver.incidents.store import RedisIncidents
from receiver.model.delivery import Delivery
from receiver.model.incident import Incident, IncidentUpdate, Person, group_id_of
from receiver.model.merge import merge
from receiver.model.routing import RouteSettings
from receiver.model.transitions import acknowledge, resolve
from receiver.storage.connection import Client
from receiver.storage.keys import CHANGES_LIMIT, Keys
from tests.builders import OPENED_AT, a_group, an_alert
from tests.script_clocks import SHARED_CLOCK

NOW = OPENED_AT
ROUTE_SETTINGS = RouteSettings("#alerts-critical", "#alerts-critical", "critical", ("on-call",))


class Counting(RedisIncidents):
    """Counts the loads of all open incidents."""

    times = 0

    def list_open(self, *, is_brief: bool = False):
        self.times += 1
        return super().list_open(is_brief=is_brief)


@pytest.fixture
def incidents(redis_client: Client) -> Counting:
    return Counting(redis_client, history_s=1000, script_clock=SHARED_CLOCK)


def open_incident(
    incidents: RedisIncidents, name: str, severity: str = "critical", at: float = NOW
) -> Incident:
    group = a_group(an_alert(name, severity=severity), group_key=f"{{}}:{name}")
    loaded = incidents.load_latest([group_id_of(group.source, group.group_key, ROUTE_SETTINGS.route)])[0]
    change = merge(loaded.incident, group, ROUTE_SETTINGS, at)
    assert incidents.commit_updates([IncidentUpdate(loaded, change, (), at)]) == [True]
    return change.incident


def change_incident(incidents: RedisIncidents, incident: Incident, transition) -> None:
    loaded = incidents.load_latest([incident.group_id])[0]
    change = transition(loaded.incident, Person("ada"), NOW + 1)
    assert incidents.commit_updates([IncidentUpdate(loaded, change, (), NOW + 1)]) == [True]


def names(open_incidents: OpenIncidents) -> list[str]:
    return [one.alertname for one in open_incidents.list_all()]


def test_the_most_urgent_incidents_are_listed_first(incidents: Counting) -> None:
    open_incidents = OpenIncidents(incidents)
    taken = open_incident(incidents, "Taken")
    open_incident(incidents, "Warning", "warning")
    open_incident(incidents, "Later", at=NOW + 5)
    open_incident(incidents, "Earlier", at=NOW + 1)
    change_incident(incidents, taken, acknowledge)
    assert names(open_incidents) == ["Earlier", "Later", "Warning", "Taken"]


def test_two_processes_list_equally_urgent_incidents_in_the_same_order(incidents: Counting) -> None:
    early = OpenIncidents(incidents)
    for number in range(8):
        open_incident(incidents, f"Alike{number}")
        early.list_all()
    late = OpenIncidents(incidents)
    assert names(early) == names(late)
    change_incident(incidents, open_incident(incidents, "Alike8"), acknowledge)
    assert names(early) == names(late)


def test_each_change_is_visible_at_once_and_all_incidents_are_loaded_only_once(incidents: Counting) -> None:
    open_incidents = OpenIncidents(incidents)
    first = open_incident(incidents, "First")
    assert names(open_incidents) == ["First"]
    open_incident(incidents, "Second", "warning")
    assert names(open_incidents) == ["First", "Second"]
    change_incident(incidents, first, acknowledge)
    assert [(one.alertname, one.is_acknowledged) for one in open_incidents.list_all()] == [
        ("Second", False),
        ("First", True),
    ]
    change_incident(incidents, first, resolve)
    assert names(open_incidents) == ["Second"]
    assert incidents.times == 1


def test_an_unchanged_incident_is_the_same_object(incidents: Counting) -> None:
    open_incidents = OpenIncidents(incidents)
    incident = open_incident(incidents, "DiskFull")
    before = open_incidents.list_all()
    assert open_incidents.list_all() is before
    incidents.record_delivery(incident.id, "message", Delivery(attempts=1))
    assert open_incidents.list_all()[0] is not before[0]


@pytest.mark.parametrize("loss", ["lost", "cut", "replaced"])
def test_all_incidents_are_loaded_again_if_the_log_of_changes_has_a_gap(
    incidents: Counting, redis_client: Client, loss: str
) -> None:
    open_incidents = OpenIncidents(incidents)
    incident = open_incident(incidents, "DiskFull")
    assert names(open_incidents) == ["DiskFull"]
    change_incident(incidents, incident, resolve)
    if loss == "cut":
        for _ in range(CHANGES_LIMIT + 200):
            redis_client.xadd(Keys(0).changes, {"id": "other"}, maxlen=CHANGES_LIMIT)
    else:
        last_ms = int(redis_client.xrevrange(Keys(0).changes, count=1)[0][0].split(b"-")[0])
        redis_client.delete(Keys(0).changes)
    if loss == "replaced":  # a log that begins in the same millisecond may begin with the same position
        redis_client.xadd(Keys(0).changes, {"id": "other"}, id=f"{last_ms + 1}-0")
    assert names(open_incidents) == []
    redis_client.delete(Keys(0).changes)


@pytest.mark.parametrize("was_emptied", [False, True])
def test_all_incidents_are_loaded_again_if_the_log_was_empty_and_may_have_been_cut_since(
    incidents: Counting, redis_client: Client, was_emptied: bool
) -> None:
    """The first entries of the log have no position before them, so a cut of them leaves no gap behind."""
    open_incidents = OpenIncidents(incidents)
    if was_emptied:  # it expired
        open_incident(incidents, "Former")
        redis_client.delete(Keys(0).changes)
    before = names(open_incidents)
    open_incident(incidents, "DiskFull")
    for _ in range(CHANGES_LIMIT + 200):
        redis_client.xadd(Keys(0).changes, {"id": "other"}, maxlen=CHANGES_LIMIT)
    assert sorted(names(open_incidents)) == ["DiskFull", *before]
    redis_client.delete(Keys(0).changes)


def test_the_log_of_changes_is_capped_and_expires(incidents: Counting, redis_client: Client) -> None:
    open_incident(incidents, "DiskFull")
    for _ in range(CHANGES_LIMIT + 300):
        redis_client.xadd(Keys(0).changes, {"id": "other"})
    incident = open_incident(incidents, "Another")
    assert redis_client.xlen(Keys(0).changes) <= CHANGES_LIMIT + 100
    assert redis_client.xrevrange(Keys(0).changes, count=1)[0][1] == {b"id": incident.id.encode()}
    assert 0 < redis_client.ttl(Keys(0).changes) <= 86400

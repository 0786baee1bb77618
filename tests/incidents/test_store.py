"""Incidents on a real Valkey: saved in one step or not at all, loaded again, and expired in time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from receiver.engine.queue import WorkQueue
from receiver.errors import LeaseLost, NotFound, StoreError
from receiver.incidents.store import RedisIncidents
from receiver.model.alert import BUILT_IN_WORDS
from receiver.model.delivery import Delivery, Receipt
from receiver.model.incident import Incident, IncidentUpdate, Person, TimelineEvent, group_id_of
from receiver.model.merge import merge
from receiver.model.routing import Route, RouteSettings
from receiver.model.transitions import resolve
from receiver.storage.connection import Client, connect
from tests.builders import OPENED_AT, a_group, an_alert
from tests.ingesting import build_ingester
from tests.script_clocks import SHARED_CLOCK

NOW = OPENED_AT
ROUTE_SETTINGS = RouteSettings("#alerts-critical", "#alerts-critical", "critical", ("on-call",))


@pytest.fixture
def incidents(redis_client: Client) -> RedisIncidents:
    return RedisIncidents(redis_client, history_s=1000, script_clock=SHARED_CLOCK)


def save_group(incidents: RedisIncidents, group: object, now: float = NOW) -> Incident:
    group_id = group_id_of(group.source, group.group_key, ROUTE_SETTINGS.route)
    loaded = incidents.load_latest([group_id])[0]
    change = merge(loaded.incident, group, ROUTE_SETTINGS, now)
    if change.is_changed:
        assert incidents.commit_updates([IncidentUpdate(loaded, change, ("slack",), now)]) == [True]
    return change.incident


def test_a_saved_incident_is_loaded_completely(incidents: RedisIncidents) -> None:
    alert = an_alert()
    incident = save_group(incidents, a_group(alert))
    loaded = incidents.load_incident(incident.id)
    assert loaded.alerts == {alert.fingerprint: alert}
    assert loaded.alert_states == incident.alert_states
    assert [event.what for event in incidents.load_timeline(incident.id)] == ["opened"]


def test_a_change_of_an_incident_that_changed_meanwhile_is_refused(incidents: RedisIncidents) -> None:
    group = a_group(an_alert())
    group_id = group_id_of(group.source, group.group_key, ROUTE_SETTINGS.route)
    loaded = incidents.load_latest([group_id])[0]
    change = merge(None, group, ROUTE_SETTINGS, NOW)
    assert incidents.commit_updates([IncidentUpdate(loaded, change, ("slack",), NOW)]) == [True]
    assert incidents.commit_updates([IncidentUpdate(loaded, change, ("slack",), NOW)]) == [False]


def test_many_groups_are_loaded_and_saved_at_once(incidents: RedisIncidents) -> None:
    groups = [a_group(an_alert(f"Alert{n}"), group_key=f"{{}}:{n}") for n in range(5)]
    group_ids = [group_id_of(g.source, g.group_key, ROUTE_SETTINGS.route) for g in groups]
    updates = [
        IncidentUpdate(loaded, merge(None, group, ROUTE_SETTINGS, NOW), ("slack", "pagerduty"), NOW)
        for loaded, group in zip(incidents.load_latest(group_ids), groups, strict=True)
    ]
    assert incidents.commit_updates(updates) == [True] * 5
    assert all(loaded.incident for loaded in incidents.load_latest(group_ids))


def test_the_former_incident_of_a_group_stays_readable(incidents: RedisIncidents) -> None:
    first = save_group(incidents, a_group(an_alert()))
    save_group(incidents, a_group(an_alert(ends_at=NOW + 1)), NOW + 1)
    second = save_group(incidents, a_group(an_alert(starts_at=NOW + 5000)), NOW + 5000)
    assert second.id != first.id
    assert incidents.load_incident(first.id).is_past
    assert incidents.load_incident(first.id).is_resolved
    assert not incidents.load_incident(second.id).is_past


def test_a_receipt_of_a_former_incident_is_saved(incidents: RedisIncidents) -> None:
    first = save_group(incidents, a_group(an_alert()))
    save_group(incidents, a_group(an_alert(ends_at=NOW + 1)), NOW + 1)
    second = save_group(incidents, a_group(an_alert(starts_at=NOW + 5000)), NOW + 5000)
    delivery = Delivery("", attempts=1, receipt=Receipt(NOW, "C1:2"))
    incidents.record_delivery(
        first.id, "message", delivery, events=[TimelineEvent(NOW, "delivered", "Posted")]
    )
    assert incidents.load_incident(first.id).deliveries == {"message": delivery}
    assert incidents.load_incident(second.id).deliveries == {}


def test_an_attempt_is_recorded_only_by_the_worker_with_the_lease(
    incidents: RedisIncidents, redis_client: Client
) -> None:
    incident = save_group(incidents, a_group(an_alert()))
    WorkQueue(redis_client, script_clock=SHARED_CLOCK).claim("slack", "w1", NOW, 1)
    incidents.record_delivery(incident.id, "message", Delivery(attempts=1), worker="w1", queue="slack")
    with pytest.raises(LeaseLost):
        incidents.record_delivery(incident.id, "message", Delivery(attempts=2), worker="w2", queue="slack")
    assert incidents.load_incident(incident.id).deliveries["message"].attempts == 1


@pytest.mark.parametrize(("writes", "due_in"), [(2, 60.0), (3, 0.0)])
def test_an_outcome_wakes_other_queues_by_the_plan_or_now_if_the_incident_was_written_meanwhile(
    incidents: RedisIncidents, redis_client: Client, writes: int, due_in: float
) -> None:
    incident = save_group(incidents, a_group(an_alert()))
    expected = incidents.load_with(incident.id, ())[0].writes + 2
    for number in range(1, writes):
        incidents.record_delivery(incident.id, f"{number}", Delivery(attempts=1))
    call = incidents.build_record_call(
        incident.id,
        "message",
        Delivery(attempts=1, receipt=Receipt(NOW)),
        dues={"pagerduty": NOW + 60.0, "slack": None},
        expected_writes=expected,
        now=NOW,
    )
    assert incidents.save_outcome(call)[0] == expected - 2 + writes
    queue = incidents.keys_of(incident.group_id).queue("pagerduty")
    assert redis_client.zscore(queue, incident.id) == pytest.approx(NOW + due_in)
    # The same call again, after a broken connection, is no further write.
    assert incidents.save_outcome(call)[0] == expected - 2 + writes


def test_every_write_of_an_incident_is_counted(incidents: RedisIncidents) -> None:
    """Also that its group has a newer incident: its pages then have the same dedup key."""
    first = save_group(incidents, a_group(an_alert()))
    counts = [incidents.load_with(first.id, ())[0].writes]
    incidents.record_delivery(first.id, "message", Delivery(attempts=1))
    counts.append(incidents.load_with(first.id, ())[0].writes)
    save_group(incidents, a_group(an_alert(ends_at=NOW + 1)), NOW + 1)
    counts.append(incidents.load_with(first.id, ())[0].writes)
    save_group(incidents, a_group(an_alert(starts_at=NOW + 5000)), NOW + 5000)
    counts.append(incidents.load_with(first.id, ())[0].writes)
    assert counts == [1, 2, 3, 4]


def test_an_expired_incident_is_not_created_again(incidents: RedisIncidents, redis_client: Client) -> None:
    incident = save_group(incidents, a_group(an_alert()))
    redis_client.flushall()
    incidents.record_delivery(
        incident.id, "message", Delivery(attempts=1), events=[TimelineEvent(NOW, "delivered", "Posted")]
    )
    assert list(redis_client.scan_iter("*")) == []
    with pytest.raises(NotFound):
        incidents.load_incident(incident.id)


def test_open_incidents_never_expire_and_closed_ones_do(
    incidents: RedisIncidents, redis_client: Client
) -> None:
    incident = save_group(incidents, a_group(an_alert()))
    keys = incidents.keys_of(incident.group_id)
    assert redis_client.ttl(keys.incident(incident.group_id)) == -1
    save_group(incidents, a_group(an_alert(ends_at=NOW + 1)), NOW + 1)
    assert 900 < redis_client.ttl(keys.incident(incident.group_id)) <= 1000
    assert 900 < redis_client.ttl(keys.timeline(incident.id)) <= 1000


def test_a_reopened_incident_no_longer_expires(incidents: RedisIncidents, redis_client: Client) -> None:
    incident = save_group(incidents, a_group(an_alert()))
    save_group(incidents, a_group(an_alert(ends_at=NOW + 1)), NOW + 1)
    save_group(incidents, a_group(an_alert(starts_at=NOW + 2)), NOW + 2)
    keys = incidents.keys_of(incident.group_id)
    assert redis_client.ttl(keys.incident(incident.group_id)) == -1
    assert redis_client.ttl(keys.timeline(incident.id)) == -1


def test_incidents_are_listed_newest_first_page_by_page(incidents: RedisIncidents) -> None:
    ids = [
        save_group(incidents, a_group(an_alert(f"Alert{n}"), group_key=str(n)), NOW + n).id for n in range(7)
    ]
    listed, cursor = [], ""
    while cursor is not None:
        page = incidents.list_newest(limit=3, cursor=cursor)
        listed += [incident.id for incident in page.incidents]
        cursor = page.next_cursor
    assert listed == ids[::-1]


def test_incidents_are_filtered_by_state_severity_and_name(incidents: RedisIncidents) -> None:
    save_group(incidents, a_group(an_alert("A", severity="critical"), group_key="a"))
    closed = save_group(incidents, a_group(an_alert("B", severity="warning"), group_key="b"))
    loaded = incidents.load_latest([closed.group_id])[0]
    incidents.commit_updates(
        [IncidentUpdate(loaded, resolve(loaded.incident, Person("alice"), NOW + 1), ("slack",), NOW)]
    )

    def names(**filters: object) -> list[str]:
        return [incident.alertname for incident in incidents.list_newest(**filters).incidents]

    assert names(states=frozenset({"open", "acknowledged"})) == ["A"]
    assert names(states=frozenset({"resolved"})) == ["B"]
    assert names(severity="warning") == ["B"]
    assert names(alertname="A") == ["A"]


def test_the_last_matching_incident_ends_the_list(incidents: RedisIncidents) -> None:
    """Older incidents that do not match give no cursor; neither do those on a full last page."""
    save_group(incidents, a_group(an_alert("B"), group_key="b"), NOW)
    groups = [a_group(an_alert("A", instance=str(n)), group_key=str(n)) for n in (1, 2)]
    ids = [save_group(incidents, group, NOW + n).id for n, group in enumerate(groups, 1)]
    assert incidents.list_newest(alertname="A", limit=2).next_cursor is None
    assert incidents.list_newest(limit=3).next_cursor is None
    first = incidents.list_newest(alertname="A", limit=1)
    assert first.next_cursor is not None
    second = incidents.list_newest(alertname="A", limit=1, cursor=first.next_cursor)
    assert [one.id for page in (first, second) for one in page.incidents] == ids[::-1]
    assert second.next_cursor is None


def test_an_invalid_cursor_is_refused_with_a_message(incidents: RedisIncidents) -> None:
    with pytest.raises(NotFound):
        incidents.list_newest(cursor="nonsense")


def test_a_group_of_two_thousand_alerts_is_saved(incidents: RedisIncidents) -> None:
    group = a_group(*(an_alert(instance=f"host-{n}") for n in range(2000)))
    incident = save_group(incidents, group)
    assert len(incidents.load_incident(incident.id).alerts) == 2000


def test_the_later_copy_of_an_alert_saved_alone_and_in_a_batch_is_loaded(incidents: RedisIncidents) -> None:
    hosts = [f"host-{n}" for n in range(10)]
    save_group(incidents, a_group(*(an_alert(instance=host) for host in hosts)))
    later = an_alert(instance="host-3", ends_at=NOW + 1, annotations={"summary": "over"})
    incident = save_group(incidents, a_group(later), NOW + 1)
    loaded = incidents.load_incident(incident.id)
    assert len(loaded.alerts) == 10
    assert loaded.alerts[later.fingerprint] == later
    again = an_alert(instance="host-3", starts_at=NOW + 2, annotations={"summary": "again"})
    save_group(
        incidents, a_group(*(an_alert(instance=host) for host in hosts if host != "host-3"), again), NOW + 2
    )
    assert incidents.load_incident(incident.id).alerts[later.fingerprint] == again


def test_the_same_group_ingested_by_many_threads_makes_one_incident(
    valkey_url: str, redis_client: Client
) -> None:
    class Rules:
        flap_window = 600.0
        flap_count = 4
        severities = BUILT_IN_WORDS
        routes = (Route("#a", "#a", escalation="critical"),)

        def find_route(self, labels: object) -> object:
            return self.routes[0]

        def get_policy(self, name: str) -> object:
            from receiver.model.routing import NO_POLICY

            return NO_POLICY

    def ingest(_: int) -> object:
        return build_ingester(RedisIncidents(connect(valkey_url), history_s=1000), Rules()).ingest(
            (a_group(an_alert(), an_alert(instance="web-2")),), NOW
        )

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(ingest, range(32)))
    assert len({incident for result in results for incident in result.incidents}) == 1
    assert sum(result.new for result in results) == 2
    assert sum(result.duplicates for result in results) == 62


def test_an_unreachable_redis_is_a_store_error() -> None:
    unreachable = RedisIncidents(connect("unix:///nonexistent/valkey.sock"), history_s=10)
    with pytest.raises(StoreError):
        unreachable.load_latest(["a"])

"""Changes of routing.yaml while alerts fire: these stay in their incidents, new alerts use the new routes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig import ROUTING, Rig

CRITICAL = """  - {match: ['severity="critical"'], channel: "#alerts-critical", escalation: critical}\n"""
CHANGES = {
    "a route of the same channel before it": CRITICAL.replace("severity", "team") + CRITICAL,
    "a matcher written otherwise": CRITICAL.replace('="', '=~"'),
    "another matcher": CRITICAL.replace("'severity=", "'alertname=\"DiskFull\"', 'severity="),
    "another channel": CRITICAL.replace("#alerts-critical", "#alerts-warning"),
    "another escalation": CRITICAL.replace("escalation: critical", "escalation: warning"),
    "the route is gone": "",
    "it goes to another route that is there": CRITICAL.replace('"critical"', '"fatal"'),
}


@pytest.fixture(params=CHANGES.values(), ids=CHANGES.keys())
def changed(request: pytest.FixtureRequest) -> str:
    assert CRITICAL in ROUTING
    return ROUTING.replace(CRITICAL, request.param)


def repeats(rig: Rig, name: str, **how: Any) -> dict[str, Any]:
    answer = rig.posts(rig.alert(name, at=rig.clock() - 60, **how))
    rig.works()
    return answer


def test_firing_alerts_stay_in_their_incident_without_a_second_page(rig: Rig, changed: str) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("10s")
    rig.answers(incident, "acknowledge")
    paged, parents = rig.paged(), len(rig.parents())
    rig.configure(changed)
    rig.passes("1m")
    answer = repeats(rig, "DiskFull")
    assert (answer["incidents"], answer["duplicates"]) == ([incident], 1)
    rig.passes("1h")
    assert (rig.paged(), len(rig.parents())) == (paged, parents)
    assert rig.shows(incident)["acknowledged_by"] == "alice"


def test_their_resolve_is_applied_to_that_incident(rig: Rig, changed: str) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("10s")
    rig.configure(changed)
    rig.passes("1m")
    assert repeats(rig, "DiskFull", ended=True)["resolved"] == 1
    assert rig.state(incident) == "resolved"
    assert rig.pagerduty.still_open() == []
    assert rig.client.get("/api/v1/incidents?state=open").json["incidents"] == []


def test_an_alert_that_fires_again_later_uses_the_new_routes(rig: Rig, changed: str) -> None:
    former = rig.fires("DiskFull")
    rig.configure(changed)
    rig.passes("10s")
    repeats(rig, "DiskFull", ended=True)
    rig.passes("1h")
    again = rig.fires("DiskFull")
    assert again != former
    route = rig.services.routing.find_route({"alertname": "DiskFull", "severity": "critical"})
    assert rig.shows(again)["route"] == route.name
    assert rig.shows(again)["channel"] == route.channel


def test_a_new_alert_of_the_same_group_uses_the_new_routes(rig: Rig, changed: str) -> None:
    former = rig.fires("DiskFull", host="a")
    rig.configure(changed)
    rig.passes("10s")
    answer = rig.posts(rig.alert("DiskFull", host="a", at=rig.clock() - 10), rig.alert("DiskFull", host="b"))
    assert answer["new"] == 1
    assert answer["duplicates"] == 1
    route = rig.services.routing.find_route({"alertname": "DiskFull", "severity": "critical"})
    if rig.shows(former)["route"] != route.name:
        (other,) = set(answer["incidents"]) - {former}
        assert rig.shows(other)["route"] == route.name


def test_incidents_opened_meanwhile_by_a_process_with_the_old_routes_stay_there_too(
    rig: Rig, changed: str
) -> None:
    before = rig.client
    rig.configure(changed)
    rig.fires("DiskSlow")  # the new configuration has been applied
    alert = rig.alert("DiskFull")
    incident = before.post("/webhooks/alertmanager", json=rig.payload(alert)).json["incidents"][0]
    rig.passes("1m")
    assert rig.posts(alert)["incidents"] == [incident]
    assert repeats(rig, "DiskFull", ended=True)["resolved"] == 1
    assert rig.state(incident) == "resolved"


def test_alerts_on_their_current_route_are_not_looked_up_any_more(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.configure(ROUTING)
    alert = rig.alert("DiskFull")
    rig.posts(alert)
    assert rig.posts(alert)["duplicates"] == 1
    assert rig.services.ingester._former_routes._owners == {}

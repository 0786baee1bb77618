"""Guarantee 10: open incidents when routing.yaml changes."""

from __future__ import annotations

from tests.rig import ROUTING, Rig


def test_a_removed_step_is_skipped_and_the_timeline_shows_it(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.configure(ROUTING.replace("{notify: team-lead, after: 5m}, {notify: manager", "{notify: manager"))
    rig.passes("5m")
    assert rig.paged() == ["on-call", "manager"]
    assert "team-lead" in str([event["text"] for event in rig.shows(incident)["timeline"]])


def test_an_inserted_step_pages_no_one_twice(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.configure(
        ROUTING.replace("critical: [{notify: on-call}, ", "critical: [{notify: manager}, {notify: on-call}, ")
    )
    rig.passes("1h")
    assert sorted(rig.triggered()) == ["manager", "manager", "on-call", "team-lead"]


def test_an_incident_of_a_removed_route_stays_in_its_channel(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.configure(ROUTING.replace("#alerts-critical", "#elsewhere"))
    rig.answers(incident, "resolve")
    rig.passes("5s")
    assert rig.shows(incident)["channel"] == "#alerts-critical"
    assert len(rig.parents()) == 1


def test_a_responder_of_a_removed_step_still_gets_the_resolve(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("5m")
    rig.configure(ROUTING.replace("{notify: team-lead, after: 5m}, {notify: manager", "{notify: manager"))
    rig.answers(incident, "resolve")
    assert rig.pagerduty.still_open() == []

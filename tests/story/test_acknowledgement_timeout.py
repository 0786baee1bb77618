"""Acknowledgements and snoozes time out; then the step is notified again."""

from __future__ import annotations

import pytest

from tests.rig import ROUTING, Rig

FORGETFUL = ROUTING.replace(
    "critical: [{notify: on-call}, {notify: team-lead, after: 5m}, {notify: manager, after: 5m}]",
    "critical: {ack_timeout: 1h, steps: [{notify: on-call}, {notify: team-lead, after: 5m}, {notify: manager, after: 5m}]}",
)


@pytest.fixture
def timed(rig: Rig) -> Rig:
    rig.configure(FORGETFUL)
    return rig


def test_the_person_who_acknowledged_is_reminded_at_half_of_the_timeout(timed: Rig) -> None:
    incident = timed.fires("DiskFull")
    timed.answers(incident, "acknowledge", "alice")
    timed.passes("29m")
    count = len(timed.replies())
    timed.passes("2m")
    assert len(timed.replies()) == count + 1
    assert "alice" in timed.replies()[-1]


def test_an_acknowledgement_that_timed_out_is_withdrawn(timed: Rig) -> None:
    incident = timed.fires("DiskFull")
    timed.passes("6m")
    timed.answers(incident, "acknowledge", "alice")
    timed.passes("59m")
    assert timed.state(incident) == "acknowledged"
    assert timed.paged() == ["on-call", "team-lead"]
    timed.passes("1m")
    assert timed.state(incident) == "open"
    assert timed.paged() == ["on-call", "team-lead", "team-lead"]
    timed.passes("5m")
    assert timed.paged()[3:] == ["manager"]


def test_a_resolved_incident_is_not_unacknowledged(timed: Rig) -> None:
    incident = timed.fires("DiskFull")
    timed.answers(incident, "acknowledge")
    timed.passes("50m")
    timed.ends("DiskFull")
    timed.passes("10h")
    assert timed.state(incident) == "resolved"
    assert timed.paged() == ["on-call"]


def test_a_renewed_acknowledgement_has_its_full_timeout(timed: Rig) -> None:
    incident = timed.fires("DiskFull")
    timed.answers(incident, "acknowledge", "alice")
    timed.passes("50m")
    timed.answers(incident, "unacknowledge", "alice")
    timed.answers(incident, "acknowledge", "bob")
    timed.passes("59m")
    assert timed.state(incident) == "acknowledged"


def test_a_snooze_pauses_the_escalation_for_its_time(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("6m")
    answer = rig.client.post(f"/api/v1/incidents/{incident}/snooze", json={"by": "alice", "for": "1h"})
    assert answer.status_code == 200
    rig.passes("59m")
    assert rig.state(incident) == "acknowledged"
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("1m")
    assert rig.state(incident) == "open"
    assert rig.paged() == ["on-call", "team-lead", "team-lead"]
    rig.passes("5m")
    assert rig.paged()[3:] == ["manager"]


def test_a_snooze_of_an_incident_without_an_escalation_ends_too(rig: Rig) -> None:
    incident = rig.fires("CertRenewed", "info")
    rig.client.post(f"/api/v1/incidents/{incident}/snooze", json={"for": "1h"})
    rig.passes("59m")
    assert rig.state(incident) == "acknowledged"
    rig.passes("1m")
    assert rig.state(incident) == "open"
    assert rig.paged() == []


@pytest.mark.parametrize("body", [{}, {"for": "soon"}, {"for": "0"}, {"for": "10y"}, {"for": 5}])
def test_a_snooze_needs_a_valid_duration(rig: Rig, body: dict[str, object]) -> None:
    incident = rig.fires("DiskFull")
    answer = rig.client.post(f"/api/v1/incidents/{incident}/snooze", json=body)
    assert answer.status_code == 400
    assert rig.state(incident) == "open"

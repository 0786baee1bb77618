"""Acknowledged and forgotten: time-outs and snoozes end, and then it is told again."""

from __future__ import annotations

import pytest

from tests.rig import ROUTING, Rig

FORGETFUL = ROUTING.replace(
    "critical: [{notify: on-call}, {notify: team-lead, after: 5m}, {notify: manager, after: 5m}]",
    "critical: {ack_timeout: 1h, steps: [{notify: on-call}, {notify: team-lead, after: 5m}, {notify: manager, after: 5m}]}",
)


@pytest.fixture
def forgetful(rig: Rig) -> Rig:
    rig.configure(FORGETFUL)
    return rig


def test_whoever_acknowledged_is_reminded_at_half_of_the_time(forgetful: Rig) -> None:
    incident = forgetful.fires("DiskFull")
    forgetful.answers(incident, "acknowledge", "alice")
    forgetful.passes("29m")
    told = len(forgetful.replies())
    forgetful.passes("2m")
    assert len(forgetful.replies()) == told + 1
    assert "alice" in forgetful.replies()[-1]


def test_an_acknowledgement_that_ran_out_is_taken_back(forgetful: Rig) -> None:
    incident = forgetful.fires("DiskFull")
    forgetful.passes("6m")
    forgetful.answers(incident, "acknowledge", "alice")
    forgetful.passes("59m")
    assert forgetful.state(incident) == "acknowledged"
    assert forgetful.paged() == ["on-call", "team-lead"]
    forgetful.passes("1m")
    assert forgetful.state(incident) == "open"
    assert forgetful.paged() == ["on-call", "team-lead", "team-lead"]
    forgetful.passes("5m")
    assert forgetful.paged()[3:] == ["manager"]


def test_what_resolved_in_time_is_not_taken_back(forgetful: Rig) -> None:
    incident = forgetful.fires("DiskFull")
    forgetful.answers(incident, "acknowledge")
    forgetful.passes("50m")
    forgetful.ends("DiskFull")
    forgetful.passes("10h")
    assert forgetful.state(incident) == "resolved"
    assert forgetful.paged() == ["on-call"]


def test_an_acknowledgement_given_anew_has_its_full_time(forgetful: Rig) -> None:
    incident = forgetful.fires("DiskFull")
    forgetful.answers(incident, "acknowledge", "alice")
    forgetful.passes("50m")
    forgetful.answers(incident, "unacknowledge", "alice")
    forgetful.answers(incident, "acknowledge", "bob")
    forgetful.passes("59m")
    assert forgetful.state(incident) == "acknowledged"


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


def test_a_snooze_of_what_pages_nobody_ends_too(rig: Rig) -> None:
    incident = rig.fires("CertRenewed", "info")
    rig.client.post(f"/api/v1/incidents/{incident}/snooze", json={"for": "1h"})
    rig.passes("59m")
    assert rig.state(incident) == "acknowledged"
    rig.passes("1m")
    assert rig.state(incident) == "open"
    assert rig.paged() == []


@pytest.mark.parametrize("body", [{}, {"for": "soon"}, {"for": "0"}, {"for": "10y"}, {"for": 5}])
def test_a_snooze_needs_a_time_that_makes_sense(rig: Rig, body: dict[str, object]) -> None:
    incident = rig.fires("DiskFull")
    answer = rig.client.post(f"/api/v1/incidents/{incident}/snooze", json=body)
    assert answer.status_code == 400
    assert rig.state(incident) == "open"

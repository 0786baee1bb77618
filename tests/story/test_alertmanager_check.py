"""Guarantee 8: Alertmanager is checked before each further step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.model.incident import Person
from tests.mocks.alertmanager import MockAlertmanager
from tests.rig import ROUTING, Rig

ALICE = Person("alice")


@pytest.fixture
def alertmanager(rig: Rig) -> Iterator[MockAlertmanager]:
    """The Alertmanager of the rig, up for a while, which returns the alerts that the rig fires."""
    with MockAlertmanager(clock=rig.clock) as alertmanager:
        rig.configure(ROUTING + f'alertmanager: {{url: "{alertmanager.url}"}}\n')
        rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
        rig.passes("10m")
        yield alertmanager


def fire(rig: Rig, alertmanager: MockAlertmanager, name: str = "DiskFull") -> str:
    alertmanager.fires(alertname=name, severity="critical")
    return rig.fires(name)


def bob_silences(rig: Rig, alertmanager: MockAlertmanager, for_s: float, **labels: str) -> str:
    """Create a silence in Alertmanager's own page; return its ID."""
    client = AlertmanagerClient([alertmanager.url])
    return client.make_silence(labels, rig.clock(), rig.clock() + for_s, by="bob", comment="known")


def silence(rig: Rig, incident: str, for_: str = "1h") -> int:
    """Create a silence over the API, in a thread, while the worker processes the request."""
    rig.services.incident_service.silence(
        incident, ALICE, 3600.0 if for_ == "1h" else 0.0, "known", rig.clock()
    )
    rig.works()
    return rig.shows(incident)["silences"][-1]["number"]


def test_while_the_alert_fires_unmuted_steps_are_notified_on_time(
    rig: Rig, alertmanager: MockAlertmanager
) -> None:
    fire(rig, alertmanager)
    rig.passes("4m59s")
    assert rig.paged() == ["on-call"]
    rig.passes("1s")
    assert rig.paged() == ["on-call", "team-lead"]


def test_a_silence_created_in_alertmanager_suppresses_the_steps_and_is_shown(
    rig: Rig, alertmanager: MockAlertmanager
) -> None:
    incident = fire(rig, alertmanager)
    bob_silences(rig, alertmanager, 3600, alertname="DiskFull")
    rig.passes("30m")
    assert rig.paged() == ["on-call"]
    shown = rig.shows(incident)
    assert shown["suppressed"]["by"] == "bob"
    assert (shown["next_step"], shown["next_step_at"]) == ("team-lead", None)
    steps = [(step["step"], step["state"], step["due_at"]) for step in shown["escalation"]["steps"][1:]]
    assert steps == [("team-lead", "later", None), ("manager", "later", None)]
    assert "bob" in rig.parents()[0].words


def test_when_the_silence_ends_an_overdue_step_is_notified_at_once(
    rig: Rig, alertmanager: MockAlertmanager
) -> None:
    fire(rig, alertmanager)
    bob_silences(rig, alertmanager, 3600, alertname="DiskFull")
    rig.passes("59m59s")
    assert rig.paged() == ["on-call"]
    rig.passes("3s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("5m")
    assert rig.paged()[2:] == ["manager"]


def test_after_a_silence_expired_early_the_escalation_goes_on(
    rig: Rig, alertmanager: MockAlertmanager
) -> None:
    fire(rig, alertmanager)
    silenced = bob_silences(rig, alertmanager, 36000, alertname="DiskFull")
    rig.passes("10m")
    AlertmanagerClient([alertmanager.url]).expire_silence(silenced)
    rig.passes("1m")
    assert rig.paged() == ["on-call", "team-lead"]


def test_one_firing_alert_without_a_silence_is_enough_to_escalate(
    rig: Rig, alertmanager: MockAlertmanager
) -> None:
    for host in ("a", "b"):
        alertmanager.fires(alertname="DiskFull", severity="critical", host=host)
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    bob_silences(rig, alertmanager, 3600, alertname="DiskFull", host="a")
    rig.passes("5m")
    assert rig.paged() == ["on-call", "team-lead"]


def test_an_unreachable_alertmanager_delays_no_step_and_is_shown(
    rig: Rig, alertmanager: MockAlertmanager
) -> None:
    fire(rig, alertmanager)
    alertmanager.stop()
    rig.passes("5m1s")
    assert rig.paged() == ["on-call", "team-lead"]
    assert any("could not be asked" in reply for reply in rig.replies())


def test_a_resolve_that_never_arrived_is_found(rig: Rig, alertmanager: MockAlertmanager) -> None:
    """Alertmanager does not send the resolve of a silenced alert."""
    incident = fire(rig, alertmanager)
    rig.passes("2m")
    alertmanager.resolves(alertname="DiskFull", severity="critical")
    rig.passes("2m")
    assert rig.state(incident) == "open"
    rig.passes("2m")
    assert rig.state(incident) == "resolved"
    assert rig.events()[-1] == "resolve"
    assert "gone from Alertmanager" in str(rig.shows(incident)["timeline"])


def test_absence_right_after_a_restart_proves_nothing(rig: Rig, alertmanager: MockAlertmanager) -> None:
    incident = fire(rig, alertmanager)
    rig.passes("2m")
    alertmanager.restart()
    alertmanager.resolves(alertname="DiskFull", severity="critical")
    rig.passes("4m")
    assert rig.state(incident) == "open"


def test_an_alert_that_alertmanager_never_returned_is_never_resolved(
    rig: Rig, alertmanager: MockAlertmanager
) -> None:
    incident = rig.fires("FromElsewhere")
    rig.passes("2h")
    assert rig.state(incident) == "open"


def test_a_silence_of_ours_is_created_there_and_suppresses(rig: Rig, alertmanager: MockAlertmanager) -> None:
    incident = fire(rig, alertmanager)
    silence(rig, incident)
    (made,) = alertmanager.in_force()
    assert made["createdBy"] == "alice"
    assert {m["name"]: m["value"] for m in made["matchers"]} == {
        "alertname": "DiskFull",
        "severity": "critical",
    }
    rig.passes("10m")
    assert rig.paged() == ["on-call"]
    assert "alice" in rig.parents()[0].words


def test_after_a_silence_was_expired_here_the_escalation_goes_on(
    rig: Rig, alertmanager: MockAlertmanager
) -> None:
    incident = fire(rig, alertmanager)
    number = silence(rig, incident)
    rig.passes("10m")
    rig.services.incident_service.expire_silence(incident, number, ALICE, rig.clock())
    rig.passes("3s")
    assert alertmanager.in_force() == []
    assert rig.paged() == ["on-call", "team-lead"]


def test_a_warning_is_posted_before_a_silence_ends(rig: Rig, alertmanager: MockAlertmanager) -> None:
    incident = fire(rig, alertmanager)
    silence(rig, incident)
    rig.passes("44m")
    count = len(rig.replies())
    rig.passes("2m")
    assert len(rig.replies()) == count + 1
    assert "ilence" in rig.replies()[-1]


def test_a_silence_until_resolved_is_extended_while_the_alert_fires_and_ended_afterwards(
    rig: Rig, alertmanager: MockAlertmanager
) -> None:
    incident = fire(rig, alertmanager)
    silence(rig, incident, "until resolved")
    rig.passes("9h", every="1m")
    assert len(alertmanager.in_force()) == 1
    assert rig.paged() == ["on-call"]
    rig.ends("DiskFull")
    assert alertmanager.in_force() == []
    assert rig.state(incident) == "resolved"


def test_alerts_with_different_names_get_a_silence_each(rig: Rig, alertmanager: MockAlertmanager) -> None:
    for name in ("A", "B"):
        alertmanager.fires(alertname=name, severity="critical")
    incident = rig.posts(rig.alert("A"), rig.alert("B"), group={})["incidents"][0]
    rig.works()
    silence(rig, incident)
    assert len(alertmanager.in_force()) == 2


def test_a_silence_over_the_api_that_can_not_be_created_is_502_and_withdrawn(
    rig: Rig, alertmanager: MockAlertmanager
) -> None:
    incident = rig.fires("DiskFull")
    rig.configure(ROUTING)
    answer = rig.client.post(f"/api/v1/incidents/{incident}/silence", json={"for": "2h"})
    assert answer.status_code == 502
    assert alertmanager.in_force() == []


def test_an_incident_that_was_suppressed_when_it_resolved_pages_when_it_fires_again(
    rig: Rig, alertmanager: MockAlertmanager
) -> None:
    """Alertmanager sends no muted alert, so an alert that it sends is not suppressed any more."""
    incident = fire(rig, alertmanager)
    bob_silences(rig, alertmanager, 120, alertname="DiskFull")
    rig.passes("1m30s")
    assert rig.shows(incident)["suppressed"]
    rig.ends("DiskFull")
    rig.passes("5s")
    assert rig.fires("DiskFull") == incident
    assert rig.paged() == ["on-call", "on-call"]


def test_an_unmuted_alert_that_joins_ends_the_suppression(rig: Rig, alertmanager: MockAlertmanager) -> None:
    alertmanager.fires(alertname="DiskFull", severity="critical", host="a")
    rig.fires("DiskFull", host="a")
    bob_silences(rig, alertmanager, 36000, alertname="DiskFull", host="a")
    rig.passes("10m30s")
    assert rig.paged() == ["on-call"]
    alertmanager.fires(alertname="DiskFull", severity="critical", host="b")
    rig.posts(rig.alert("DiskFull", host="b"))
    rig.works()
    assert rig.paged() == ["on-call", "team-lead"]

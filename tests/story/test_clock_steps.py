"""A clock that is set back or forward, as NTP does: nothing is repeated, nothing is skipped for good.

After the clock is set back, a wait may end later, by the step at most; an action that is due at once is not
late.
"""

from __future__ import annotations

import pytest

from receiver.model.incident import Person
from tests.rig import QUEUES, ROUTING, Rig

HOUR = 3600.0


def sets_back(rig: Rig, seconds: float = HOUR) -> None:
    """Set the clock back; the worker notices that within a second and reschedules everything."""
    rig.clock.moment -= seconds
    for queue in QUEUES:
        rig.services.work_queue.reschedule_all(queue, rig.clock())
    rig.works()


def sets_forward(rig: Rig, seconds: float = HOUR) -> None:
    rig.clock.moment += seconds
    rig.works()


def test_after_a_step_back_the_next_step_is_notified_once_and_late_by_the_step_at_most(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("2m")
    sets_back(rig)
    rig.passes("1h2m59s")
    assert rig.paged() == ["on-call"]
    rig.passes("2s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("2h")
    assert rig.triggered() == ["on-call", "team-lead", "manager"]


def test_after_a_step_forward_the_next_step_is_notified_at_once_and_the_last_waits_in_full(
    rig: Rig,
) -> None:
    rig.fires("DiskFull")
    rig.passes("2m")
    sets_forward(rig)
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("4m59s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("2h")
    assert rig.triggered() == ["on-call", "team-lead", "manager"]


def test_after_steps_forward_and_back_no_one_is_paged_twice(rig: Rig) -> None:
    rig.fires("DiskFull")
    sets_forward(rig)
    sets_back(rig)
    rig.passes("5h", every="5m")
    assert rig.triggered() == ["on-call", "team-lead", "manager"]


def test_an_incident_posted_before_the_clock_was_set_back_is_paged_at_once(rig: Rig) -> None:
    rig.posts(rig.alert("DiskFull"))
    sets_back(rig)
    rig.passes("1s")
    assert rig.paged() == ["on-call"]
    assert len(rig.parents()) == 1


def test_a_retry_does_not_wait_until_the_clock_reaches_its_time_again(rig: Rig) -> None:
    rig.pagerduty.stop()
    rig.fires("DiskFull")
    rig.passes("3s")
    sets_back(rig)
    rig.pagerduty.start()
    rig.passes("6s")
    assert rig.triggered() == ["on-call"]


def test_the_message_is_edited_although_its_last_edit_is_in_the_future(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    sets_back(rig)
    rig.answers(incident, "acknowledge")
    rig.passes("2s")
    assert "Acknowledged by alice" in rig.parents()[0].words


@pytest.mark.parametrize("step", [sets_back, sets_forward])
def test_an_acknowledgement_survives_a_step_of_the_clock(rig: Rig, step) -> None:
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge")
    step(rig)
    rig.passes("2h")
    assert rig.paged() == ["on-call"]
    rig.answers(incident, "resolve")
    rig.passes("5s")
    assert rig.pagerduty.still_open() == []


@pytest.mark.parametrize("step", [sets_back, sets_forward])
def test_a_lease_that_is_not_renewed_expires_in_time(rig: Rig, step) -> None:
    """The lease of a killed worker must not last until the clock reaches its expiry again."""
    rig.posts(rig.alert("DiskFull"))
    for queue in QUEUES:
        rig.services.work_queue.claim(queue, "killed", rig.clock(), 10)
    step(rig)
    rig.passes("3s")
    assert rig.paged() == ["on-call"]


def test_after_a_step_back_a_snooze_ends_once(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.services.incident_service.snooze(incident, Person("alice"), 1800.0, rig.clock())
    rig.passes("10m")
    sets_back(rig)
    rig.passes("1h19m")
    assert rig.paged() == ["on-call"]
    rig.passes("2m")
    assert rig.paged() == ["on-call", "on-call"]
    rig.passes("1m")
    assert rig.paged() == ["on-call", "on-call"]


def test_after_a_step_forward_over_its_end_a_snooze_ends_once(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.services.incident_service.snooze(incident, Person("alice"), 1800.0, rig.clock())
    rig.passes("1m")
    sets_forward(rig)
    rig.passes("10s")
    sets_back(rig)
    rig.passes("1m")
    assert rig.paged() == ["on-call", "on-call"]


def test_an_acknowledgement_with_a_timeout_expires_once(rig: Rig) -> None:
    rig.configure(
        ROUTING.replace(
            "critical: [{notify: on-call}", "critical: {ack_timeout: 1h, steps: [{notify: on-call}"
        ).replace("{notify: manager, after: 5m}]\n  warning", "{notify: manager, after: 5m}]}\n  warning")
    )
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge")
    rig.passes("30m")
    sets_back(rig)
    rig.passes("1h29m")
    assert rig.state(incident) == "acknowledged"
    rig.passes("2m")
    assert rig.state(incident) == "open"
    assert rig.paged() == ["on-call", "on-call"]


@pytest.mark.parametrize("step", [sets_back, sets_forward])
def test_a_review_is_posted_once(rig: Rig, step) -> None:
    rig.configure(
        ROUTING.replace('channel: "#alerts-info"', 'channel: "#alerts-info", review: next-business-day')
    )
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.works()
    rig.fires("Curious", severity="info")
    rig.passes("21h30s", every="1h")  # Tuesday 09:00:30
    step(rig)
    rig.passes("5h", every="30m")
    assert sum("eview" in message.words for message in rig.parents()) == 1


def test_a_flap_across_a_step_back_is_the_same_incident(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.ends("DiskFull")
    sets_back(rig)
    answer = rig.posts(rig.alert("DiskFull", at=rig.clock() + HOUR + 5))
    assert answer["incidents"] == [incident]


def test_a_heartbeat_from_before_the_clock_was_set_back_does_not_count_as_alive(rig: Rig) -> None:
    rig.services.work_queue.record_heartbeat("killed", rig.clock())
    rig.clock.moment -= HOUR
    assert rig.client.get("/readyz").status_code == 503
    rig.services.work_queue.record_heartbeat("alive", rig.clock())
    assert rig.client.get("/readyz").json["workers"] == 1

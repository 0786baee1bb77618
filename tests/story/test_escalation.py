"""Guarantees 5 to 7: who is notified when, and what an acknowledgement does."""

from __future__ import annotations

import itertools

from tests.rig import KEYS, ROUTING, Rig


def test_critical_goes_from_on_call_to_team_lead_to_manager(rig: Rig) -> None:
    rig.fires("DiskFull", "critical")
    assert rig.paged() == ["on-call"]
    rig.passes("4m59s")
    assert rig.paged() == ["on-call"]
    rig.passes("1s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("5m")
    assert rig.paged() == ["on-call", "team-lead", "manager"]
    rig.passes("10h")
    assert rig.triggered() == ["on-call", "team-lead", "manager"]


def test_warning_goes_to_the_team_lead_after_half_an_hour_and_no_further(rig: Rig) -> None:
    rig.fires("SlowTests", "warning")
    rig.passes("29m59s")
    assert rig.paged() == ["on-call"]
    rig.passes("1s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("10h")
    assert rig.triggered() == ["on-call", "team-lead"]


def test_each_step_is_posted_in_the_thread_with_a_mention(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("10m")
    texts = rig.replies()
    assert len(texts) == 3
    assert "On-call" in texts[0]
    assert "@team-lead" in texts[1]
    assert "@manager" in texts[2]


def test_duplicates_neither_move_nor_double_a_timer(rig: Rig) -> None:
    rig.fires("DiskFull")
    for _ in range(9):
        rig.passes("30s")
        rig.fires("DiskFull")
    rig.passes("29s")
    assert rig.paged() == ["on-call"]
    rig.passes("1s")
    assert rig.triggered() == ["on-call", "team-lead"]


def test_an_acknowledgement_stops_the_steps_and_reaches_pagerduty(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    rig.answers(incident, "acknowledge", "alice")
    rig.passes("1h")
    assert rig.paged() == ["on-call"]
    assert rig.events() == ["trigger", "acknowledge"]
    assert rig.shows(incident)["acknowledged_by"] == "alice"
    assert "alice" in rig.parents()[0].words


def test_acknowledging_twice_is_harmless(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge", "alice")
    rig.passes("5s")
    before = rig.visible_output()
    assert rig.answers(incident, "acknowledge", "bob")["acknowledged_by"] == "alice"
    rig.passes("5s")
    assert rig.visible_output() == before


def test_alerts_joining_an_acknowledged_incident_cause_no_page(rig: Rig) -> None:
    incident = rig.fires("DiskFull", host="a")
    rig.answers(incident, "acknowledge")
    rig.passes("5s")
    count = len(rig.replies())
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    rig.passes("1h")
    assert rig.triggered() == ["on-call"]
    assert len(rig.replies()) == count + 1
    assert rig.state(incident) == "acknowledged"


def test_alerts_joining_an_unacknowledged_incident_move_no_timer(rig: Rig) -> None:
    rig.fires("DiskFull", host="a")
    rig.passes("3m")
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    rig.passes("1m59s")
    assert rig.triggered() == ["on-call"]
    rig.passes("1s")
    assert rig.triggered() == ["on-call", "team-lead"]


def test_a_worse_severity_unacknowledges_the_incident(rig: Rig) -> None:
    """The step that was notified last is notified again at once."""
    rig.configure(ROUTING.replace("""['severity="critical"']""", "['alertname=\"DiskFull\"']"))
    incident = rig.fires("DiskFull", "warning")
    rig.passes("6m")
    rig.answers(incident, "acknowledge")
    rig.passes("10m")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.posts(rig.alert("DiskFull", "critical"))
    rig.works()
    assert rig.state(incident) == "open"
    assert rig.paged() == ["on-call", "team-lead", "team-lead"]
    rig.passes("4m59s")
    assert rig.paged()[3:] == []
    rig.passes("1s")
    assert rig.paged()[3:] == ["manager"]


def test_severity_never_gets_lower_while_open(rig: Rig) -> None:
    rig.configure(ROUTING.replace("""['severity="critical"']""", "['alertname=\"DiskFull\"']"))
    incident = rig.fires("DiskFull", "critical")
    rig.posts(rig.alert("DiskFull", "critical", ended=True), rig.alert("DiskFull", "warning"))
    assert rig.shows(incident)["severity"] == "critical"


def test_after_an_unacknowledge_the_last_step_is_notified_again_and_waits_in_full(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("6m")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.answers(incident, "acknowledge")
    rig.passes("20m")
    rig.answers(incident, "unacknowledge")
    assert rig.paged() == ["on-call", "team-lead", "team-lead"]
    rig.passes("4m59s")
    assert rig.paged()[3:] == []
    rig.passes("1s")
    assert rig.paged()[3:] == ["manager"]


def test_after_an_unacknowledge_before_any_notification_escalation_starts_with_the_first_step(
    rig: Rig,
) -> None:
    rig.posts(rig.alert("DiskFull"))
    incident = rig.client.get("/api/v1/incidents").json["incidents"][0]["id"]
    rig.client.post(f"/api/v1/incidents/{incident}/acknowledge", json={})
    rig.passes("1h")
    assert rig.paged() == []
    rig.answers(incident, "unacknowledge")
    assert rig.paged() == ["on-call"]


def test_while_pagerduty_is_down_the_step_times_out_after_two_minutes(rig: Rig) -> None:
    """An outage shortens no responder's time to respond, and delays no further step either."""
    rig.pagerduty.fail_next(503, times=10_000)
    rig.slack.archive("#alerts-critical")  # else the reply in the thread would notify the step
    incident = rig.fires("DiskFull")
    rig.passes("6m59s")
    assert "timed_out" in str(rig.shows(incident)["escalation"])
    assert {request.body["routing_key"] for request in rig.pagerduty.requests} == {
        KEYS["PAGERDUTY_ONCALL_KEY"]
    }
    rig.passes("1s")
    assert rig.pagerduty.requests[-1].body["routing_key"] == KEYS["PAGERDUTY_TEAM_LEAD_KEY"]


def test_a_page_still_arrives_after_its_step_timed_out(rig: Rig) -> None:
    rig.pagerduty.fail_next(503, times=40)
    rig.fires("DiskFull")
    rig.passes("30m")
    assert sorted(rig.paged()) == ["manager", "on-call", "team-lead"]


def test_the_wait_starts_when_the_step_was_notified(rig: Rig) -> None:
    rig.pagerduty.fail_next(503, times=3)
    rig.fires("DiskFull")
    rig.passes("9s")
    assert rig.paged() == ["on-call"]
    notified_at = rig.pagerduty.opened()[0].opened_at
    rig.passes("6m")
    assert rig.pagerduty.opened()[1].opened_at - notified_at >= 300


def test_a_step_that_failed_permanently_starts_the_next_wait_at_once(rig: Rig) -> None:
    rig.refuses("on-call")
    rig.fires("DiskFull")
    rig.passes("4m59s")
    assert rig.paged() == []
    rig.passes("1s")
    assert rig.paged() == ["team-lead"]


def test_retries_start_with_short_delays_that_grow(rig: Rig) -> None:
    rig.pagerduty.fail_next(503, times=200)
    rig.fires("DiskFull")
    rig.passes("4m")
    at = [request.at for request in rig.pagerduty.requests]
    waits = [later - earlier for earlier, later in itertools.pairwise(at)]
    for wait, expected in zip(waits, [0.5, 1, 2, 4, 5, 5, 5], strict=False):
        assert expected * 0.8 - 0.01 <= wait <= expected * 1.2 + 0.01
    assert waits[-1] >= 24


def test_retry_after_is_respected(rig: Rig) -> None:
    rig.pagerduty.fail_next(429, retry_after=17)
    rig.fires("DiskFull")
    rig.passes("16s")
    assert rig.paged() == []
    rig.passes("1s")
    assert rig.paged() == ["on-call"]


def test_a_429_without_a_retry_after_waits_five_seconds(rig: Rig) -> None:
    rig.pagerduty.fail_next(429)
    rig.fires("DiskFull")
    rig.passes("4s")
    assert rig.paged() == []
    rig.passes("2s")
    assert rig.paged() == ["on-call"]

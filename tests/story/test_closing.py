"""Guarantees 3, 4 and 9: resolved, reopened, manually resolved, and resolved before any notification."""

from __future__ import annotations

from tests.rig import QUEUES, ROUTING, Rig
from tests.slack_people import SECRET, SlackPeople


def test_firing_again_within_the_flap_window_reopens_the_same_message(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    rig.ends("DiskFull")
    rig.passes("5m")
    assert rig.fires("DiskFull") == incident
    rig.passes("5s")
    assert rig.state(incident) == "open"
    assert len(rig.parents()) == 1
    assert rig.events() == ["trigger", "resolve", "trigger"]
    assert len({event.dedup_key for event in rig.pagerduty.events}) == 1


def test_after_reopening_further_steps_wait_in_full(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.passes("4m")
    rig.ends("DiskFull")
    rig.passes("2m")
    rig.fires("DiskFull")
    rig.passes("4m58s")
    assert rig.paged() == ["on-call", "on-call"]
    rig.passes("2s")
    assert rig.paged() == ["on-call", "on-call", "team-lead"]


def test_an_acknowledgement_ends_with_the_resolve(rig: Rig) -> None:
    """Else an incident that was acknowledged once would never page again after it reopened."""
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge", "alice")
    rig.passes("1m")
    rig.ends("DiskFull")
    details = rig.shows(incident)
    assert (details["state"], details["acknowledged_by"]) == ("resolved", "alice")
    rig.passes("2m")
    rig.fires("DiskFull")
    rig.passes("5s")
    details = rig.shows(incident)
    assert (details["state"], details["acknowledged_by"], details["acknowledged_at"]) == ("open", None, None)
    assert rig.events() == ["trigger", "acknowledge", "resolve", "trigger"]
    assert rig.pagerduty.opened()[-1].state == "triggered"
    assert len(rig.parents()) == 1
    rig.passes("10m")
    assert rig.paged() == ["on-call", "on-call", "team-lead", "manager"]
    (reopened,) = [reply for reply in rig.replies() if "Firing again" in reply]
    assert "alice, your acknowledgement ended when it resolved" in reopened
    texts = [event["text"] for event in rig.shows(incident)["timeline"]]
    assert "The acknowledgement by alice ended when it resolved" in texts


def test_a_snooze_ends_with_the_resolve_too(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.client.post(f"/api/v1/incidents/{incident}/snooze", json={"by": "alice", "for": "8h"})
    rig.ends("DiskFull")
    rig.passes("2m")
    rig.fires("DiskFull")
    assert rig.shows(incident)["snoozed_until"] is None
    assert rig.paged() == ["on-call", "on-call"]


def test_after_an_acknowledgement_an_incident_that_reopens_before_its_resolve_was_sent_is_paged_again(
    rig: Rig,
) -> None:
    """PagerDuty notifies no one of an event that joins an acknowledged incident, so that is resolved first."""
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge")
    rig.posts(rig.alert("DiskFull", ended=True))
    rig.posts(rig.alert("DiskFull"))
    rig.passes("5s")
    assert rig.state(incident) == "open"
    assert rig.events() == ["trigger", "acknowledge", "resolve", "trigger"]


def test_an_alert_acknowledged_each_time_pages_again_until_it_is_flapping(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    for _ in range(6):
        if rig.state(incident) == "open":
            rig.answers(incident, "acknowledge")
        rig.passes("20s")
        rig.ends("DiskFull")
        rig.passes("20s")
        rig.fires("DiskFull")
    rig.passes("9m")
    assert rig.triggered() == ["on-call"] * 3
    assert rig.state(incident) == "acknowledged"


def test_an_alert_that_fires_again_with_a_worse_severity_starts_one_escalation_run(rig: Rig) -> None:
    rig.configure(ROUTING.replace("""['severity="critical"']""", "['alertname=\"DiskFull\"']"))
    incident = rig.fires("DiskFull", "warning")
    rig.passes("6m")
    rig.answers(incident, "acknowledge")
    rig.ends("DiskFull", "warning")
    rig.passes("1m")
    rig.posts(rig.alert("DiskFull", "critical"))
    rig.passes("1m")
    assert rig.state(incident) == "open"
    assert rig.paged() == ["on-call", "team-lead", "on-call"]


def test_the_person_who_had_acknowledged_is_mentioned_if_slack_knows_them(rig: Rig) -> None:
    rig.environ |= {"SLACK_SIGNING_SECRET": SECRET}
    rig.configure(ROUTING)
    incident = rig.fires("DiskFull")
    people = SlackPeople(rig.client, rig.clock, rig.slack)
    people.clicks("acknowledge", incident)
    rig.passes("5s")
    rig.ends("DiskFull")
    rig.passes("1m")
    rig.fires("DiskFull")
    rig.passes("5s")
    (reopened,) = [reply for reply in rig.slack.replies() if "Firing again" in reply.words]
    assert len(reopened.pings) == 1


def test_the_time_to_acknowledge_is_unchanged_when_the_incident_reopens(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("90s")
    rig.answers(incident, "acknowledge")
    rig.ends("DiskFull")
    rig.passes("1m")
    rig.fires("DiskFull")
    rig.ends("DiskFull")
    (row,) = rig.client.get("/api/v1/history").json["incidents"]
    assert row["acknowledged_after_s"] == 90.0


def test_reopening_before_the_resolve_was_sent_causes_no_second_page(rig: Rig) -> None:
    rig.fires("DiskFull")
    rig.posts(rig.alert("DiskFull", ended=True))
    rig.posts(rig.alert("DiskFull"))
    rig.passes("4m")
    assert rig.events() == ["trigger"]


def test_firing_again_later_is_a_new_incident(rig: Rig) -> None:
    first = rig.fires("DiskFull")
    rig.ends("DiskFull")
    rig.passes("10m1s")
    second = rig.fires("DiskFull")
    assert first != second
    assert len(rig.parents()) == 2
    assert rig.paged() == ["on-call", "on-call"]
    assert rig.state(first) == "resolved"


def test_a_flapping_alert_causes_no_new_page(rig: Rig) -> None:
    rig.fires("DiskFull")
    for _ in range(6):
        rig.passes("20s")
        rig.ends("DiskFull")
        rig.passes("20s")
        rig.fires("DiskFull")
    assert len(rig.parents()) == 1
    assert len(rig.paged()) < 4


def test_an_incident_is_resolved_manually_while_it_fires(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.answers(incident, "resolve", "alice")
    rig.passes("5s")
    assert rig.state(incident) == "resolved"
    assert rig.events() == ["trigger", "resolve"]
    assert "alice" in rig.parents()[0].words
    answer = rig.posts(rig.alert("DiskFull"))
    rig.passes("1h")
    assert answer["duplicates"] == 1
    assert len(rig.parents()) == 1
    assert rig.triggered() == ["on-call"]


def test_a_new_alert_in_a_manually_resolved_group_opens_a_new_incident(rig: Rig) -> None:
    first = rig.fires("DiskFull", host="a")
    rig.answers(first, "resolve")
    answer = rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    rig.works()
    assert (answer["new"], answer["duplicates"]) == (1, 1)
    second = answer["incidents"][0]
    assert second != first
    details = rig.shows(second)
    assert (details["firing"], details["total"]) == (1, 1)
    assert rig.paged() == ["on-call", "on-call"]
    rig.posts(rig.alert("DiskFull", host="b", ended=True))
    assert rig.state(second) == "resolved"


def test_a_dismissed_alert_that_fires_again_after_its_resolve_opens_a_new_incident(rig: Rig) -> None:
    first = rig.fires("DiskFull")
    rig.answers(first, "resolve")
    rig.ends("DiskFull")
    rig.passes("1m")
    second = rig.fires("DiskFull")
    assert second != first
    assert rig.paged() == ["on-call", "on-call"]


def test_a_manually_resolved_incident_that_still_fires_causes_one_reminder(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.answers(incident, "resolve")
    rig.passes("3h59m")
    count = len(rig.replies())
    rig.passes("2m")
    assert len(rig.replies()) == count + 1
    rig.passes("10h")
    assert len(rig.replies()) == count + 1


def test_there_is_no_reminder_of_alerts_that_stopped_firing(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.answers(incident, "resolve")
    rig.passes("1h")
    rig.ends("DiskFull")
    count = len(rig.replies())
    rig.passes("10h")
    assert len(rig.replies()) == count


def test_an_incident_resolved_before_anything_was_sent_is_not_paged(rig: Rig) -> None:
    """It is posted as resolved and not paged; a page that was not sent is not resolved either."""
    rig.posts(rig.alert("DiskFull"))
    rig.posts(rig.alert("DiskFull", ended=True))
    rig.passes("1h")
    assert rig.pagerduty.events == []
    assert len(rig.parents()) == 1
    assert "esolved" in rig.parents()[0].words
    assert rig.replies() == []


def test_the_former_incidents_resolve_reaches_pagerduty_before_the_next_page(rig: Rig) -> None:
    """Both have the same dedup key: a late resolve would resolve the new page."""
    first = rig.fires("DiskFull", host="a")
    rig.pagerduty.fail_next(503, times=3)
    rig.answers(first, "resolve")
    rig.posts(rig.alert("DiskFull", host="b"))
    rig.passes("30s")
    assert rig.events() == ["trigger", "resolve", "trigger"]
    assert rig.pagerduty.opened()[-1].state == "triggered"


def test_a_resolve_while_the_page_may_have_been_sent_resolves_it(rig: Rig) -> None:
    """The response to the page was lost, so PagerDuty may have accepted it."""
    rig.pagerduty.drop_answer()
    rig.posts(rig.alert("DiskFull"))
    rig.works(QUEUES)
    rig.posts(rig.alert("DiskFull", ended=True))
    rig.passes("1m")
    assert rig.events()[-1] == "resolve"
    assert rig.pagerduty.still_open() == []

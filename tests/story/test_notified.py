"""Guarantee 5: when a step is notified, and when the next wait starts, after any failure or outage."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.clock import parse_duration
from tests.rig import QUEUES, ROUTING, Rig
from tests.story.outage import with_fallback

CRITICAL = "#alerts-critical"
# Without it the team lead has no routing key: the step is notified only in Slack.
PAGER = ', pagerduty: {routing_key: "${PAGERDUTY_TEAM_LEAD_KEY}"}'


def pass_without_workers(rig: Rig, duration: str) -> None:
    """Let time pass in which no worker runs."""
    rig.clock.moment += parse_duration(duration)
    rig.works()


def steps(rig: Rig, incident: str) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in rig.shows(incident)["escalation"]["steps"]}


def only_in_slack(text: str = ROUTING) -> str:
    assert PAGER in text
    return text.replace(PAGER, "")


def test_after_an_outage_the_manager_waits_for_the_team_lead(rig: Rig) -> None:
    """Before, a permanently failed message counted as notification of both, and both were paged at once."""
    rig.slack.archive(CRITICAL)
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    pass_without_workers(rig, "10h")
    assert rig.paged() == ["on-call", "team-lead"]
    shown = steps(rig, incident)
    assert shown["team-lead"]["notified_at"].startswith("2026-11-23T22:01:00")
    assert (shown["manager"]["state"], shown["manager"]["notified_at"]) == ("waiting", None)
    rig.passes("4m59s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("1s")
    assert rig.paged() == ["on-call", "team-lead", "manager"]


@pytest.mark.parametrize("fallback", ["", "#nowhere", "on-call"])
def test_after_an_outage_a_step_without_a_thread_times_out_at_once(rig: Rig, fallback: str) -> None:
    """Neither the channel nor its fallback accepts a message, or the fallback was paged before."""
    rig.configure(only_in_slack(with_fallback(fallback) if fallback else ROUTING))
    rig.slack.archive(CRITICAL)
    incident = rig.fires("DiskFull")
    rig.passes("1m")
    pass_without_workers(rig, "10h")
    lead = steps(rig, incident)["team-lead"]
    assert (lead["state"], lead["notified_at"]) == ("timed_out", None)
    assert lead["timed_out_at"].startswith("2026-11-23T22:01:00")
    rig.passes("4m59s")
    assert "manager" not in rig.paged()
    rig.passes("1s")
    assert "manager" in rig.paged()


def test_a_notification_cut_off_by_an_outage_is_sent_before_the_next_wait(rig: Rig) -> None:
    """The two minutes after its first attempt passed while no worker ran that could retry it."""
    rig.slack.archive(CRITICAL)
    rig.fires("DiskFull")
    rig.passes("4m59s")
    rig.pagerduty.fail_next(503, times=1)
    rig.passes("1s")
    pass_without_workers(rig, "10h")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("4m59s")
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("1s")
    assert rig.paged() == ["on-call", "team-lead", "manager"]


def test_a_step_that_still_fails_after_an_outage_times_out(rig: Rig) -> None:
    rig.slack.archive(CRITICAL)
    incident = rig.fires("DiskFull")
    rig.passes("4m59s")
    rig.pagerduty.fail_next(503, times=2)
    rig.passes("1s")
    pass_without_workers(rig, "10h")
    lead = steps(rig, incident)["team-lead"]
    assert (lead["state"], lead["notified_at"]) == ("timed_out", None)
    rig.passes("4m59s")
    assert steps(rig, incident)["team-lead"]["state"] == "notified"
    assert rig.paged() == ["on-call", "team-lead"]
    rig.passes("1s")
    assert rig.paged() == ["on-call", "team-lead", "manager"]


def test_a_receipt_after_the_timeout_sets_notified_at_and_moves_no_wait(rig: Rig) -> None:
    rig.slack.archive(CRITICAL)
    rig.pagerduty.fail_next(503, times=30)
    incident = rig.fires("DiskFull")
    rig.passes("6m59s")
    first = steps(rig, incident)["on-call"]
    assert first["timed_out_at"].startswith("2026-11-23T12:02:00")
    assert first["notified_at"] > first["timed_out_at"]
    assert "team-lead" not in rig.paged()
    rig.passes("1s")
    assert "team-lead" in rig.paged()


def test_a_manual_retry_of_a_failed_page_moves_no_wait(rig: Rig) -> None:
    """Before, the wait that had started with the refusal started again with the retry."""
    rig.slack.archive(CRITICAL)
    rig.refuses("on-call")
    incident = rig.fires("DiskFull")
    rig.passes("4m")
    rig.pagerduty.routing_keys = None
    for failure in rig.client.get("/api/v1/deliveries?state=failed").json["deliveries"]:
        rig.client.post(f"/api/v1/deliveries/{failure['id']}/retry", json={})
    rig.works()
    assert rig.paged() == ["on-call"]
    assert steps(rig, incident)["on-call"]["notified_at"].startswith("2026-11-23T12:04:00")
    rig.passes("1m1s")
    assert rig.paged() == ["on-call", "team-lead"]


def test_an_old_storm_message_notifies_no_later_step(rig: Rig) -> None:
    """Before, its receipt counted as the mention of the team lead: after an outage the manager was due, too."""
    rig.storms_after_s = 1.5
    rig.configure(only_in_slack() + "limits: {slack_posts: 1/s, pagerduty: 20/m}\n")
    for n in range(8):
        rig.posts(rig.alert("DiskFull", host=str(n)), group={"host": str(n)})
    rig.passes("1m")
    assert rig.client.get("/api/v1/storms").json["storms"]
    rig.clock.moment += parse_duration("10h")
    rig.works(tuple(queue for queue in QUEUES if queue != "slack"))
    assert "manager" not in rig.paged()
    rig.passes("4m59s")
    assert "manager" not in rig.paged()
    rig.passes("3m")
    assert "manager" in rig.paged()


def test_a_step_notified_before_the_escalation_run_shows_its_time(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("6m")
    rig.answers(incident, "acknowledge")
    rig.passes("20m")
    rig.answers(incident, "unacknowledge")
    first, second, third = rig.shows(incident)["escalation"]["steps"]
    assert first["notified_at"].startswith("2026-11-23T12:00:00")
    assert second["notified_at"].startswith("2026-11-23T12:26:00")
    assert third["due_at"].startswith("2026-11-23T12:31:00")

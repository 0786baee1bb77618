"""A delivery that failed permanently is sent at once, and once, to the fallback of its route."""

from __future__ import annotations

import pytest

from tests.rig import ROUTING, Rig
from tests.story.outage import custom_details, in_channel, with_fallback

CRITICAL = "#alerts-critical"
OPS = "#ops"


@pytest.fixture
def rig(rig: Rig) -> Rig:
    rig.slack.workspace.add_channel(OPS)
    return rig


@pytest.mark.parametrize("reason", ["invalid_auth", "channel_not_found", "is_archived", "not_in_channel"])
def test_a_message_that_failed_permanently_is_posted_to_the_fallback_channel_at_once(
    rig: Rig, reason: str
) -> None:
    rig.configure(with_fallback(OPS))
    rig.slack.fail_next("chat.postMessage", error=reason)
    rig.fires("DiskFull")
    (message,) = rig.parents()
    assert message.channel == OPS
    assert f"in place of {CRITICAL}" in message.words
    assert reason in message.words


def test_the_fallback_message_is_updated(rig: Rig) -> None:
    rig.configure(with_fallback(OPS))
    rig.slack.archive(CRITICAL)
    incident = rig.fires("DiskFull", host="a")
    rig.passes("5s")
    rig.posts(rig.alert("DiskFull", host="a"), rig.alert("DiskFull", host="b"))
    rig.passes("5s")
    rig.answers(incident, "acknowledge", "alice")
    rig.passes("5s")
    rig.posts(rig.alert("DiskFull", host="a", ended=True), rig.alert("DiskFull", host="b", ended=True))
    rig.passes("5s")
    (message,) = rig.parents()
    assert "Resolved" in message.text
    assert message.edits >= 2
    assert any("joined" in reply for reply in rig.replies())
    assert all(reply.channel_id == message.channel_id for reply in rig.slack.replies())


def test_a_channel_archived_while_an_incident_is_open_moves_it_to_the_fallback_channel(rig: Rig) -> None:
    rig.configure(with_fallback(OPS))
    incident = rig.fires("DiskFull")
    rig.passes("5s")
    rig.slack.archive(CRITICAL)
    rig.answers(incident, "acknowledge", "alice")
    rig.passes("1m")
    (message,) = in_channel(rig, OPS)
    assert "Acknowledged by alice" in message.words
    assert "an earlier message" in message.words
    rig.ends("DiskFull")
    rig.passes("5s")
    (message,) = in_channel(rig, OPS)
    assert "Resolved" in message.text


def test_a_message_that_failed_permanently_pages_the_fallback_responder_once(rig: Rig) -> None:
    rig.configure(with_fallback("manager", of="warning"))
    rig.slack.archive("#alerts-warning")
    rig.fires("DiskFull", "warning")
    rig.passes("20m")
    assert sorted(rig.paged()) == ["manager", "on-call"]
    assert rig.triggered().count("manager") == 1


def test_the_fallback_page_follows_the_responders_page_state(rig: Rig) -> None:
    rig.configure(with_fallback("manager", of="warning"))
    rig.slack.archive("#alerts-warning")
    incident = rig.fires("DiskFull", "warning")
    rig.answers(incident, "acknowledge")
    rig.ends("DiskFull", "warning")
    rig.passes("5s")
    assert rig.events("manager") == ["trigger", "acknowledge", "resolve"]


def test_a_route_without_an_escalation_uses_its_fallback_responder(rig: Rig) -> None:
    rig.configure(with_fallback("manager", of="info"))
    rig.slack.archive("#alerts-info")
    incident = rig.fires("BackupSlow", "info")
    assert rig.paged() == ["manager"]
    rig.answers(incident, "acknowledge")
    rig.ends("BackupSlow", "info")
    rig.passes("5s")
    assert rig.events("manager") == ["trigger", "acknowledge", "resolve"]


def test_a_page_that_failed_permanently_pages_the_fallback_responder_at_once(rig: Rig) -> None:
    rig.configure(with_fallback("manager"))
    rig.refuses("on-call")
    rig.fires("DiskFull")
    assert rig.paged() == ["manager"]
    assert any("Paging Manager @manager in place" in reply for reply in rig.replies())


def test_the_fallbacks_receipt_notifies_the_step_and_starts_the_next_wait(rig: Rig) -> None:
    """A step whose delivery failed is not skipped: the fallback responder's receipt notifies it."""
    rig.configure(with_fallback("manager"))
    rig.slack.archive(CRITICAL)
    rig.refuses("on-call")
    rig.fires("DiskFull")
    rig.passes("4m59s")
    assert rig.paged() == ["manager"]
    rig.passes("1s")
    assert rig.paged() == ["manager", "team-lead"]


def test_two_pages_that_failed_permanently_page_the_fallback_responder_once(rig: Rig) -> None:
    """The pages of on-call and team lead are both refused: the first pages the fallback responder."""
    rig.configure(with_fallback("manager"))
    rig.pagerduty.routing_keys = [rig.environ["PAGERDUTY_MANAGER_KEY"]]
    rig.fires("DiskFull")
    rig.passes("9m")
    assert rig.paged() == ["manager"]


def test_the_other_targets_of_the_step_are_still_notified(rig: Rig) -> None:
    rig.configure(with_fallback("manager"))
    rig.refuses("team-lead")
    rig.fires("DiskFull")
    rig.passes("5m")
    assert rig.paged() == ["on-call", "manager"]
    assert any("Paging Team Lead @team-lead" in reply for reply in rig.replies())


def test_a_page_that_failed_permanently_is_mentioned_in_the_fallback_channel(rig: Rig) -> None:
    rig.configure(with_fallback(OPS))
    rig.refuses("on-call")
    rig.fires("DiskFull", host="<!channel> @everyone")
    rig.passes("20m")
    (call,) = in_channel(rig, OPS)
    assert "On-call could not be reached (invalid_routing_key)" in call.text
    assert call.pings == ["!here"]
    assert "/archives/" in call.text


def test_no_fallback_is_notified_after_the_resolve(rig: Rig) -> None:
    rig.configure(with_fallback("manager"))
    rig.refuses("on-call")
    rig.posts(rig.alert("DiskFull"))
    rig.works(("slack",))
    rig.ends("DiskFull")
    rig.passes("10m")
    assert rig.triggered() == []


def test_no_further_fallback_is_notified_after_an_acknowledgement(rig: Rig) -> None:
    rig.configure(with_fallback("manager"))
    rig.pagerduty.fail_next(503, times=3)
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge")
    rig.refuses("on-call")
    rig.passes("10m")
    assert rig.triggered() == []


def test_a_fallback_that_fails_too_is_a_failed_delivery(rig: Rig) -> None:
    rig.configure(with_fallback(OPS))
    rig.slack.archive(CRITICAL)
    rig.slack.archive(OPS)
    incident = rig.fires("DiskFull")
    rig.passes("10m")
    failed = [d["id"] for d in rig.shows(incident)["deliveries"] if d["state"] == "failed"]
    assert failed == ["fallback", "message"]
    assert rig.paged() == ["on-call", "team-lead", "manager"]


def test_the_fallback_message_is_posted_once_although_its_response_is_lost(rig: Rig) -> None:
    rig.configure(with_fallback(OPS))
    rig.slack.fail_next("chat.postMessage", error="is_archived")
    rig.slack.drop_answer("chat.postMessage")
    rig.fires("DiskFull")
    rig.passes("1m")
    assert [message.channel for message in rig.parents()] == [OPS]


def test_an_outage_of_pagerduty_is_reported_in_the_thread_after_ten_seconds_with_a_mention(rig: Rig) -> None:
    rig.pagerduty.fail_next(503, times=10_000)
    rig.fires("DiskFull")
    rig.passes("9s")
    assert not any("PagerDuty can't be reached" in reply for reply in rig.replies())
    rig.passes("1s")
    (reply,) = [m for m in rig.slack.replies() if "PagerDuty can't be reached (server_error)" in m.words]
    assert reply.pings == ["!here"]


def test_a_report_of_a_delay_that_is_over_is_shown_as_no_longer_needed(rig: Rig) -> None:
    rig.pagerduty.fail_next(503, times=5)
    incident = rig.fires("DiskFull")
    rig.passes("9s")
    rig.slack.fail_next("chat.postMessage", status=503, times=100)
    rig.passes("1m")
    rig.slack.heal()
    rig.passes("2m")
    assert rig.paged() == ["on-call"]
    (row,) = [one for one in rig.shows(incident)["deliveries"] if one["id"] == "page_delayed:on-call"]
    assert (row["state"], row["retry_at"], row["note"]) == ("pending", None, "no longer needed")
    assert "no longer needed" in rig.client.get(f"/incidents/{incident}").text


def test_an_outage_of_pagerduty_mentions_the_responder_if_slack_knows_them(rig: Rig) -> None:
    rig.slack.add_user("U0LEAD0001", "team-lead", "lead@example.com")
    rig.refuses("team-lead")
    rig.fires("DiskFull")
    rig.passes("6m")
    (reply,) = [m for m in rig.slack.replies() if "PagerDuty can't be reached" in m.words]
    assert set(reply.pings) == {"@U0LEAD0001"}


def test_the_fallback_reply_for_a_page_notifies_the_step(rig: Rig) -> None:
    rig.pagerduty.fail_next(503, times=10_000)
    rig.fires("DiskFull")
    rig.passes("5m9s")
    assert not any("@team-lead" in reply for reply in rig.replies())
    rig.passes("1s")
    assert any("@team-lead" in reply for reply in rig.replies())


def test_a_page_that_arrives_in_time_is_not_reported_as_delayed(rig: Rig) -> None:
    rig.pagerduty.fail_next(503, times=3)
    rig.fires("DiskFull")
    rig.passes("1m")
    assert rig.paged() == ["on-call"]
    assert not any("can't be reached" in reply for reply in rig.replies())


def test_an_outage_of_slack_is_reported_in_the_page(rig: Rig) -> None:
    rig.slack.archive(CRITICAL)
    rig.fires("DiskFull")
    assert custom_details(rig)["slack"] == "Slack could not be reached: is_archived"


def test_a_failing_slack_is_reported_in_the_page(rig: Rig) -> None:
    rig.slack.fail_next("chat.postMessage", status=503, times=100)
    rig.fires("DiskFull")
    rig.passes("1s")
    assert custom_details(rig)["slack"].startswith("Slack could not be reached yet: ")


def test_a_working_slack_is_not_mentioned_in_the_page(rig: Rig) -> None:
    rig.fires("DiskFull")
    assert "slack" not in custom_details(rig)


def test_a_step_notified_in_slack_only_goes_to_the_fallback(rig: Rig) -> None:
    """The team lead has no routing key: with the channel gone, the step is notified by the fallback on time."""
    text = with_fallback("manager", of="warning").replace(
        'slack: "@team-lead", pagerduty: {routing_key: "${PAGERDUTY_TEAM_LEAD_KEY}"}', 'slack: "@team-lead"'
    )
    rig.configure(text.replace("after: 30m}]", "after: 30m}, {notify: manager, after: 10m}]"))
    rig.fires("DiskFull", "warning")
    rig.slack.archive("#alerts-warning")
    rig.passes("29m59s")
    assert rig.paged() == ["on-call"]
    rig.passes("1s")
    assert rig.paged() == ["on-call", "manager"]


def test_a_route_without_a_fallback_escalates_as_usual(rig: Rig) -> None:
    rig.configure(ROUTING)
    rig.slack.archive(CRITICAL)
    rig.fires("DiskFull")
    rig.passes("10m")
    assert rig.paged() == ["on-call", "team-lead", "manager"]


def test_a_step_notified_by_the_fallback_is_shown_as_notified(rig: Rig) -> None:
    """Before, the API evaluated the escalation without the fallback of the route."""
    rig.configure(with_fallback("manager"))
    rig.slack.archive(CRITICAL)
    rig.refuses("on-call")
    incident = rig.fires("DiskFull")
    rig.passes("5s")
    first, second, _ = rig.shows(incident)["escalation"]["steps"]
    assert (first["state"], second["state"]) == ("notified", "waiting")
    (row,) = rig.client.get("/api/v1/incidents").json["incidents"]
    assert row["next_step"] == "team-lead"

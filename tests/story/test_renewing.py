"""A repeated acknowledgement renews its timeout, from every client, and only if a person repeats it."""

from __future__ import annotations

import pytest

from receiver.app.worker import build_reconcilers
from tests.mocks.pagerduty_account import INTEGRATION, PagedIncident
from tests.mocks.slack_workspace import SlackMessage
from tests.rig import Rig
from tests.slack_people import SECRET, SlackPeople
from tests.story.test_acknowledgement_timeout import FORGETFUL

PAGERDUTY = 'pagerduty: {api_token: "${PAGERDUTY_API_TOKEN}"}\n'


@pytest.fixture
def rig(rig: Rig) -> Rig:
    rig.environ |= {"PAGERDUTY_WEBHOOK_SECRET": "pagerduty-secret", "SLACK_SIGNING_SECRET": SECRET}
    rig.environ |= {"PAGERDUTY_API_TOKEN": "rest-token", "PAGERDUTY_API_URL": rig.pagerduty.url}
    rig.configure(PAGERDUTY + FORGETFUL)
    rig.reconcilers = build_reconcilers(rig.services)
    return rig


@pytest.fixture
def people(rig: Rig) -> SlackPeople:
    return SlackPeople(rig.client, rig.clock, rig.slack)


@pytest.fixture
def incident(rig: Rig) -> str:
    """An incident that alice acknowledged 50 minutes ago."""
    incident = rig.fires("DiskFull")
    rig.answers(incident, "acknowledge", "alice")
    rig.passes("50m")
    return incident


def post(rig: Rig, body: bytes, headers: dict[str, str]) -> int:
    return rig.client.post("/webhooks/pagerduty", data=body, headers=headers).status_code


def deliver_webhooks(rig: Rig) -> None:
    """Deliver PagerDuty's webhooks and let the worker process them."""
    rig.pagerduty.webhooks.deliver(lambda body, headers: post(rig, body, headers))
    rig.works()


def page(rig: Rig) -> PagedIncident:
    return rig.pagerduty.opened()[-1]


def reminder(rig: Rig) -> SlackMessage:
    return next(reply for reply in rig.slack.replies() if "Acknowledged by alice 30m ago" in reply.words)


def is_renewed(rig: Rig, incident: str, by: str) -> None:
    """Return whether its timeout starts now, and PagerDuty got one further acknowledgement."""
    acknowledged_at = rig.clock()
    rig.passes("59m")
    details = rig.shows(incident)
    assert (details["state"], details["acknowledged_by"]) == ("acknowledged", by)
    assert any(f"Acknowledged by {by} 30m ago" in reply for reply in rig.replies())
    rig.passes(f"{acknowledged_at + 3600.0 - rig.clock():.0f}s")
    assert rig.state(incident) == "open"
    assert rig.paged() == ["on-call", "on-call"]


def test_an_acknowledgement_is_renewed_over_the_api(rig: Rig, incident: str) -> None:
    rig.answers(incident, "acknowledge", "bob")
    assert rig.events() == ["trigger", "acknowledge", "acknowledge"]
    is_renewed(rig, incident, "bob")
    texts = [event["text"] for event in rig.shows(incident)["timeline"] if event["what"] == "acknowledged"]
    assert texts == ["Acknowledged", "Acknowledged again"]


def test_an_acknowledgement_is_renewed_by_the_button_of_the_reminder(
    rig: Rig, incident: str, people: SlackPeople
) -> None:
    assert reminder(rig).buttons == {"acknowledge": incident}
    assert (
        "Paging goes on when as long again has passed, unless it is acknowledged again" in reminder(rig).words
    )
    people.clicks("acknowledge", incident, by="alice")
    rig.works()
    is_renewed(rig, incident, "alice")


def test_an_acknowledgement_is_renewed_by_a_command_in_slack(
    rig: Rig, incident: str, people: SlackPeople
) -> None:
    assert "Acknowledged: DiskFull" in people.reply_to(f"ack {incident}", by="bob")
    rig.works()
    is_renewed(rig, incident, "bob")


def test_an_acknowledgement_is_renewed_by_the_dashboard(rig: Rig, incident: str) -> None:
    assert "Acknowledge again" in rig.client.get(f"/incidents/{incident}").text
    assert rig.submits(f"/incidents/{incident}/acknowledge").status_code == 303
    is_renewed(rig, incident, str(rig.shows(incident)["acknowledged_by"]))


def test_an_acknowledgement_is_renewed_in_pagerduty(rig: Rig, incident: str) -> None:
    rig.pagerduty.acknowledges(page(rig), "Bob Roe")
    deliver_webhooks(rig)
    assert rig.events() == ["trigger", "acknowledge"]
    is_renewed(rig, incident, "Bob Roe")


def test_a_repeated_webhook_renews_once(rig: Rig, incident: str) -> None:
    rig.pagerduty.acknowledges(page(rig), "Bob Roe")
    deliver_webhooks(rig)
    (webhook,) = [one for one in rig.pagerduty.webhooks.done if b"Bob Roe" in one.body]
    rig.passes("40m")
    assert post(rig, webhook.body, webhook.headers) == 202
    rig.passes("20m")
    assert rig.state(incident) == "open"


def test_an_event_for_our_own_acknowledgement_renews_nothing(rig: Rig, incident: str) -> None:
    deliver_webhooks(rig)
    details = rig.shows(incident)
    rig.passes("5m")
    rig.pagerduty.webhooks.add("incident.acknowledged", page(rig), INTEGRATION, {})
    deliver_webhooks(rig)
    assert rig.shows(incident)["acknowledged_at"] == details["acknowledged_at"]
    rig.passes("5m")
    assert rig.state(incident) == "open"


def test_a_click_that_slack_repeats_renews_once(rig: Rig, incident: str, people: SlackPeople) -> None:
    sent_at = rig.clock()
    people.clicks("acknowledge", incident, at=sent_at)
    rig.works()
    at = rig.shows(incident)["acknowledged_at"]
    rig.passes("2m")
    people.clicks("acknowledge", incident, at=sent_at)
    assert rig.shows(incident)["acknowledged_at"] == at


def test_a_double_click_and_two_concurrent_acknowledgements_renew_once(rig: Rig, incident: str) -> None:
    rig.answers(incident, "acknowledge", "bob")
    for moment, by in ((0.4, "bob"), (20.0, "carol")):
        rig.clock.moment += moment
        assert rig.answers(incident, "acknowledge", by)["acknowledged_by"] == "bob"
    assert rig.events() == ["trigger", "acknowledge", "acknowledge"]


def test_after_a_clock_was_set_back_an_acknowledgement_is_still_renewed(rig: Rig, incident: str) -> None:
    rig.clock.moment -= 7200.0
    assert rig.answers(incident, "acknowledge", "bob")["acknowledged_by"] == "bob"


def test_renewals_do_not_change_the_time_to_acknowledge(rig: Rig, incident: str) -> None:
    rig.answers(incident, "acknowledge", "bob")
    rig.ends("DiskFull")
    (row,) = rig.client.get("/api/v1/history").json["incidents"]
    assert row["acknowledged_after_s"] < 60.0

"""Info alerts cause no page: the team reviews them once, at the start of the next business day."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.rig import ROUTING, Rig
from tests.slack_people import SECRET, SlackPeople

DAY = 86400.0
REVIEWED = ROUTING.replace('channel: "#alerts-info"}', 'channel: "#alerts-info", review: next-business-day}')
BERLIN = 'business_hours: {timezone: Europe/Berlin, days: mon-fri, from: "09:00", to: "17:00"}\n'
AMERICA = (
    'business_hours: {timezone: America/New_York, days: mon-fri, from: "09:00", to: "17:00", holidays: US}\n'
)


def start_receiver(rig: Rig, hours: str, moment: float) -> None:
    """Run the receiver from *moment* on."""
    rig.clock.moment = moment
    rig.configure(REVIEWED + hours)
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.works()


def reviews(rig: Rig) -> list[str]:
    return [parent.words for parent in rig.parents() if "eview" in parent.text]


@pytest.mark.parametrize(
    ("hours", "friday_1700", "opens"),
    [
        (BERLIN, "2026-11-27T17:00:00+01:00", "2026-11-30T09:00:00+01:00"),
        # Clocks go back in the night to Sunday, or forward in another one.
        (BERLIN, "2026-10-23T17:00:00+02:00", "2026-10-26T09:00:00+01:00"),
        (BERLIN, "2026-03-27T17:00:00+01:00", "2026-03-30T09:00:00+02:00"),
        # Monday 2026-09-07 is Labor Day.
        (AMERICA, "2026-09-04T17:00:00-04:00", "2026-09-08T09:00:00-04:00"),
    ],
)
def test_info_alerts_of_friday_are_reviewed_at_the_start_of_the_next_business_day(
    rig: Rig, hours: str, friday_1700: str, opens: str
) -> None:
    evening, morning = (dt.datetime.fromisoformat(text).timestamp() for text in (friday_1700, opens))
    start_receiver(rig, hours, evening)
    for host in ("a", "b"):
        rig.fires("CertRenewed", "info", host=host)
    wait = int(morning - evening)
    rig.passes(f"{wait - 1}s", every="1h")
    assert reviews(rig) == []
    rig.passes("2s")
    (review,) = reviews(rig)
    assert "CertRenewed" in review
    rig.passes("20h", every="1h")
    assert len(reviews(rig)) == 1


def test_without_incidents_there_is_no_message(rig: Rig) -> None:
    start_receiver(rig, BERLIN, rig.clock())
    rig.fires("DiskFull", "critical")
    rig.passes("3d", every="1h")
    assert reviews(rig) == []


def test_a_restart_reviews_nothing_twice(rig: Rig) -> None:
    start_receiver(rig, BERLIN, rig.clock())
    rig.fires("CertRenewed", "info")
    rig.passes("1d", every="1h")
    assert len(reviews(rig)) == 1
    start_receiver(rig, BERLIN, rig.clock())
    rig.passes("1h")
    assert len(reviews(rig)) == 1


def test_a_review_is_marked_with_its_button(rig: Rig) -> None:
    rig.environ["SLACK_SIGNING_SECRET"] = SECRET
    start_receiver(rig, BERLIN, rig.clock())
    rig.fires("CertRenewed", "info")
    rig.passes("1d", every="1h")
    (review,) = [parent for parent in rig.parents() if "reviewed" in parent.buttons]
    people = SlackPeople(rig.client, rig.clock, rig.slack)
    assert people.clicks("reviewed", review.buttons["reviewed"], by="alice").status_code == 200
    rig.passes("5s")
    (review,) = [parent for parent in rig.parents() if "eview" in parent.text]
    assert "reviewed" not in review.buttons
    assert "U0ALICE1" in review.words or "alice" in review.words


def test_a_mark_whose_edit_failed_is_shown_soon_after(rig: Rig) -> None:
    rig.environ["SLACK_SIGNING_SECRET"] = SECRET
    start_receiver(rig, BERLIN, rig.clock())
    rig.fires("CertRenewed", "info")
    rig.passes("1d", every="1h")
    (review,) = [parent for parent in rig.parents() if "reviewed" in parent.buttons]
    rig.slack.fail_next("chat.update", status=503)
    SlackPeople(rig.client, rig.clock, rig.slack).clicks("reviewed", review.buttons["reviewed"])
    rig.passes("10s")
    assert [parent for parent in rig.parents() if "reviewed" in parent.buttons] == []


def test_a_review_that_failed_permanently_is_posted_once_to_the_fallback_channel_and_reported(
    rig: Rig,
) -> None:
    rig.slack.workspace.add_channel("#ops")
    text = REVIEWED.replace("review: next-business-day}", 'review: next-business-day, fallback: "#ops"}')
    rig.configure(text + BERLIN + 'notices: {channel: "#monitoring"}\n')
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.fires("CertRenewed", "info")
    rig.slack.archive("#alerts-info")
    rig.passes("1d", every="1h")
    (review,) = [parent for parent in rig.parents() if "eview" in parent.text and parent.channel == "#ops"]
    assert "CertRenewed" in review.words
    notices = [parent.text for parent in rig.parents() if parent.channel == "#monitoring"]
    assert (
        sum("Review to slack:#alerts-info failed permanently: is_archived" in notice for notice in notices)
        == 1
    )


def test_a_review_that_failed_permanently_pages_no_fallback_responder(rig: Rig) -> None:
    text = REVIEWED.replace("review: next-business-day}", "review: next-business-day, fallback: manager}")
    rig.configure(text + BERLIN)
    rig.reconcilers.periodic_tasks.enqueue_all(rig.services.work_queue)
    rig.fires("CertRenewed", "info")
    rig.passes("1m")
    rig.slack.archive("#alerts-info")
    rig.passes("1d", every="1h")
    assert rig.paged() == []

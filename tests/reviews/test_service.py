"""Reviews on a real Valkey, with a mock Slack and a clock that the test sets.

A worker that is killed is one whose Slack or store raises an exception that no code catches; the next worker
continues with what is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from receiver.business_hours import BusinessHours
from receiver.engine.notification import Notification
from receiver.errors import NotFound, StoreError
from receiver.incidents.notification_builder import LinkSettings
from receiver.incidents.store import RedisIncidents
from receiver.integrations.slack.channel import SlackChannel
from receiver.model.alert import Group
from receiver.model.delivery import IN_FLIGHT_S, Receipt
from receiver.model.incident import IncidentUpdate, Person, group_id_of
from receiver.model.merge import merge
from receiver.model.routing import SLACK, Route, RouteSettings
from receiver.reviews.model import ReviewState, VersionedReviews
from receiver.reviews.service import RedisReviews, ReviewService, ReviewSettings
from receiver.storage.connection import Client
from receiver.text import Secret
from tests.builders import a_group, an_alert
from tests.mocks.slack import MockSlack
from tests.support.dispatching import UnlimitedRate, a_dispatcher

ROUTE = Route("alerts-info", "#alerts-info", review="next-business-day")
NEW_YORK = "America/New_York"
ALICE = Person("alice", "slack", "U0ALICE12")


class Death(BaseException):
    """Raised where the worker is killed."""


def at(text: str, zone: str = NEW_YORK) -> float:
    """Return the timestamp of a local time such as `2026-11-23 09:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


class Office:
    """A route with its review service, the mock Slack and a clock."""

    def __init__(self, redis: Client, slack: MockSlack, hours: BusinessHours) -> None:
        self.slack = slack
        slack.workspace.clock = lambda: self.now
        self.hours = hours
        self.now = at("2026-11-18 12:00", hours.timezone)
        self.reviews = RedisReviews(redis)
        self.incidents = RedisIncidents(redis, history_s=90 * 86400)
        self.channel = SlackChannel(Secret("xoxb-test"), slack.url, 2.0, clock=lambda: self.now)
        self.settings = ReviewSettings(
            hours,
            LinkSettings(
                "https://receiver.example", more={"alerts-info": (("Wiki", "https://wiki.example"),)}
            ),
            fallbacks={},
        )

    def review_service(
        self, *, channel: object = None, reviews: object = None, incidents: object = None
    ) -> ReviewService:
        """Return the review service of a new worker."""
        return ReviewService(
            reviews or self.reviews,
            incidents or self.incidents,
            a_dispatcher({SLACK: channel or self.channel}, lambda: self.now),
            UnlimitedRate(),
            self.settings,
        )

    def run(self, review_service: ReviewService | None = None) -> float:
        return (review_service or self.review_service()).run_due(ROUTE, self.now)

    def passes_to(self, moment: float | str) -> float:
        """Advance the clock, running the service when it is due; return when it is due next."""
        end = at(moment, self.hours.timezone) if isinstance(moment, str) else moment
        due = self.run()
        while due <= end:
            assert due > self.now
            self.now = due
            due = self.run()
        self.now = end
        return due

    def fires(
        self,
        name: str = "DiskWillFill",
        moment: str = "",
        *,
        is_resolved: bool = False,
        route: str = "alerts-info",
    ) -> str:
        """Let an alert fire at *moment*, perhaps resolved a minute later; return the incident's ID."""
        opened_at = at(moment, self.hours.timezone) if moment else self.now
        route_settings = RouteSettings(route, f"#{route}", "")
        alert = an_alert(name, severity="info", starts_at=opened_at)
        incident_id = self._ingest(a_group(alert), route_settings, opened_at)
        if is_resolved:
            self._ingest(a_group(replace(alert, ends_at=opened_at + 60)), route_settings, opened_at + 60)
        return incident_id

    def _ingest(self, group: Group, route_settings: RouteSettings, moment: float) -> str:
        loaded = self.incidents.load_latest(
            [group_id_of(group.source, group.group_key, route_settings.route)]
        )[0]
        change = merge(loaded.incident, group, route_settings, moment)
        assert self.incidents.commit_updates([IncidentUpdate(loaded, change, (), moment)]) == [True]
        return change.incident.id

    def headlines(self) -> list[str]:
        """Return the headline of each review, oldest first."""
        return [parent.text for parent in self.slack.parents]


@pytest.fixture
def slack() -> Iterator[MockSlack]:
    with MockSlack() as server:
        yield server


@pytest.fixture
def office(redis_client: Client, slack: MockSlack) -> Office:
    return Office(redis_client, slack, BusinessHours(NEW_YORK, holidays="US"))


# --- when a review is posted ---


def test_alerts_of_friday_evening_are_reviewed_once_on_monday_morning(office):
    office.passes_to("2026-11-20 17:02")
    office.fires("DiskWillFill", "2026-11-20 18:30", is_resolved=True)
    office.fires("CertExpires", "2026-11-21 03:00")
    due = office.passes_to("2026-11-23 08:59")
    assert (office.headlines(), due) == ([], at("2026-11-23 09:00"))
    due = office.passes_to("2026-11-23 09:00")
    assert office.headlines() == ["Review: 2 alerts since Friday 09:00, 1 still firing"]
    assert due == at("2026-11-24 09:00")
    text = office.slack.parents[0].words
    assert text.index("CertExpires") < text.index("DiskWillFill")
    assert "<https://receiver.example/incidents/" in text
    assert "<https://wiki.example|Wiki>" in text
    office.passes_to("2026-11-23 23:00")
    assert len(office.headlines()) == 1


def test_the_review_is_on_tuesday_if_monday_is_a_holiday(office):
    office.now = at("2026-01-16 12:00")
    office.run()
    office.fires(moment="2026-01-16 18:30", is_resolved=True)
    office.passes_to("2026-01-20 08:59")
    assert office.headlines() == []
    office.passes_to("2026-01-20 09:00")
    assert office.headlines() == ["Review: 1 alert since Friday 12:00"]


def test_the_first_start_reviews_nothing_of_the_time_before(office):
    office.fires("Ancient", "2026-11-01 12:00", is_resolved=True)
    assert office.review_service().next_due_at(ROUTE, office.now) == office.now
    assert office.run() == at("2026-11-19 09:00")
    office.passes_to("2026-11-19 12:00")
    assert office.headlines() == []


def test_without_incidents_there_is_no_message(office):
    office.run()
    office.fires("Other", "2026-11-18 13:00", route="alerts-warning")
    due = office.passes_to("2026-11-19 09:00")
    assert (office.headlines(), due) == ([], at("2026-11-20 09:00"))


def test_firing_alerts_are_in_the_review_of_each_business_day(office):
    office.run()
    office.fires()
    office.passes_to("2026-11-20 12:00")
    assert office.headlines() == [
        "Review: 1 alert since Wednesday 12:00, 1 still firing",
        "Review: 1 alert since Thursday 09:00, 1 still firing",
    ]


def test_after_an_outage_at_the_start_of_business_the_review_is_posted_at_once(office):
    office.run()
    office.fires(is_resolved=True)
    office.now = at("2026-11-19 11:00")
    assert office.run() == at("2026-11-20 09:00")
    assert len(office.headlines()) == 1


def test_more_incidents_than_a_page_are_all_counted(office):
    office.run()
    for n in range(230):
        office.fires(f"Noise{n}", "2026-11-18 15:00", is_resolved=True)
    office.passes_to("2026-11-19 09:00")
    assert office.headlines() == ["Review: 230 alerts since Wednesday 12:00"]


def test_open_incidents_are_found_without_reading_a_long_history(office):
    office.run()
    office.fires("Old", "2026-11-10 06:00")
    for n in range(700):
        office.fires(f"Noise{n}", "2026-11-11 06:00", is_resolved=True)
    asked = []

    class Counted:
        def list_newest(self, **how: object) -> object:
            page = office.incidents.list_newest(**how)
            asked.append(len(page.incidents))
            return page

    office.now = at("2026-11-19 09:00")
    office.run(office.review_service(incidents=Counted()))
    assert office.headlines() == ["Review: 1 alert since Wednesday 12:00, 1 still firing"]
    assert asked == [200, 1]


@pytest.mark.parametrize(
    ("zone", "saturday"),
    [
        pytest.param("Europe/Berlin", "2026-03-28", id="Berlin, no 02:30"),
        pytest.param("Europe/Berlin", "2026-10-24", id="Berlin, 02:30 twice"),
        pytest.param("America/New_York", "2026-03-07", id="New York, no 02:30"),
        pytest.param("America/New_York", "2026-10-31", id="New York, 01:30 twice"),
        pytest.param("Australia/Lord_Howe", "2026-10-03", id="Lord Howe, no 02:15"),
        pytest.param("Australia/Lord_Howe", "2026-04-04", id="Lord Howe, 01:45 twice"),
    ],
)
@pytest.mark.parametrize("start", ["01:30", "01:45", "02:15", "02:30", "09:00"])
def test_a_day_on_which_clocks_change_has_one_review(redis_client, slack, zone, saturday, start):
    hour, minute = start.split(":")
    hours = BusinessHours(zone, frozenset(range(7)), int(hour) * 60 + int(minute), 24 * 60)
    office = Office(redis_client, slack, hours)
    office.now = at(f"{saturday} 12:00", zone)
    office.run()
    office.fires()
    for n in range(1, 53):
        office.passes_to(at(f"{saturday} 12:00", zone) + n * 1800.0)
    posted = [datetime.fromtimestamp(float(parent.ts), ZoneInfo(zone)) for parent in slack.parents]
    sunday = datetime.fromisoformat(saturday).date() + timedelta(days=1)
    assert [moment.date() for moment in posted] == [sunday]


# --- exactly once ---


class DyingChannel:
    """The channel of a worker that is killed before or after its post arrives."""

    def __init__(self, real: SlackChannel, *, after_the_post: bool) -> None:
        self._real = real
        self._is_after = after_the_post

    def send(self, notification: Notification) -> Receipt:
        if self._is_after:
            self._real.send(notification)
        raise Death

    def find_receipt(self, notification: Notification) -> Receipt | None:
        return self._real.find_receipt(notification)


class DyingStore(RedisReviews):
    """The store of a worker that is killed before its write number *survives* + 1."""

    def __init__(self, real: RedisReviews, writes: int) -> None:
        super().__init__(real._redis)
        self._remaining_writes = writes

    def save_if_unchanged(self, loaded: VersionedReviews, state: ReviewState) -> bool:
        if self._remaining_writes == 0:
            raise Death
        self._remaining_writes -= 1
        return super().save_if_unchanged(loaded, state)


def advance_to_review(office: Office) -> None:
    """Advance *office* to a time at which a review is due."""
    office.run()
    office.fires(is_resolved=True)
    office.now = at("2026-11-19 09:00")


@pytest.mark.parametrize("after_the_post", [False, True])
def test_a_worker_killed_at_the_post_leaves_one_message(office, after_the_post):
    advance_to_review(office)
    with pytest.raises(Death):
        office.run(office.review_service(channel=DyingChannel(office.channel, after_the_post=after_the_post)))
    office.passes_to("2026-11-19 09:10")
    assert len(office.headlines()) == 1
    assert office.passes_to("2026-11-19 23:00") == at("2026-11-20 09:00")
    assert len(office.headlines()) == 1


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_worker_killed_between_any_two_writes_leaves_one_message(office, writes):
    """The writes are the review, the attempt, and the receipt."""
    advance_to_review(office)
    with pytest.raises(Death):
        office.run(office.review_service(reviews=DyingStore(office.reviews, writes)))
    office.passes_to("2026-11-19 09:10")
    assert office.headlines() == ["Review: 1 alert since Wednesday 12:00"]


def test_workers_killed_repeatedly_still_leave_one_message(office):
    advance_to_review(office)
    for n in range(12):
        with pytest.raises(Death):
            office.run(office.review_service(reviews=DyingStore(office.reviews, n % 2)))
        office.now += IN_FLIGHT_S
    office.passes_to("2026-11-19 12:00")
    assert len(office.headlines()) == 1


def test_of_two_concurrent_workers_one_posts(office):
    advance_to_review(office)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: office.run(), range(16)))
    assert len(office.headlines()) == 1


def test_a_worker_does_not_repeat_an_attempt_in_progress_of_another(office):
    """The lease of the first worker expired while Slack was slow; the second must not send it too."""
    advance_to_review(office)
    dues = []

    class SlowChannel(DyingChannel):
        def send(self, notification: Notification) -> Receipt:
            dues.append(office.run())
            return office.channel.send(notification)

    office.run(office.review_service(channel=SlowChannel(office.channel, after_the_post=False)))
    assert dues == [office.now + IN_FLIGHT_S]
    assert len(office.headlines()) == 1


def test_a_post_whose_response_was_lost_is_searched(office):
    advance_to_review(office)
    office.slack.drop_answer("chat.postMessage")
    due = office.run()
    assert office.now < due < office.now + 1
    office.passes_to("2026-11-19 12:00")
    assert len(office.headlines()) == 1
    assert len(office.slack.calls_of("chat.postMessage")) == 1


def test_after_an_outage_of_slack_the_review_is_posted(office):
    advance_to_review(office)
    office.slack.fail_next("chat.postMessage", status=503, body=b"", times=10_000)
    office.passes_to("2026-11-19 09:30")
    assert office.headlines() == []
    office.slack.heal()
    office.passes_to("2026-11-19 09:31")
    assert office.headlines() == ["Review: 1 alert since Wednesday 12:00"]


def test_the_retry_after_of_slack_is_respected(office):
    advance_to_review(office)
    office.slack.fail_next("chat.postMessage", status=429, retry_after=40)
    assert office.run() == office.now + 40


def test_a_review_that_failed_permanently_is_included_in_the_next(office):
    advance_to_review(office)
    office.slack.archive("#alerts-info")
    assert office.run() == at("2026-11-20 09:00")
    office.slack.workspace.archived.clear()
    office.fires("CertExpires", "2026-11-19 15:00", is_resolved=True)
    office.passes_to("2026-11-20 09:00")
    assert office.headlines() == ["Review: 2 alerts since Wednesday 12:00"]


def test_an_unavailable_store_is_an_error_for_the_caller(office):
    class Away:
        def load_reviews(self, group_id: str) -> VersionedReviews:
            raise StoreError("Redis: away")

    with pytest.raises(StoreError):
        office.run(office.review_service(reviews=Away()))


# --- marking a review ---


def a_posted_review(office: Office) -> str:
    advance_to_review(office)
    office.run()
    return office.slack.parents[-1].buttons["reviewed"]


def test_a_marked_review_shows_who_marked_it_and_has_no_button(office):
    review_id = a_posted_review(office)
    office.now += 600
    record = office.review_service().mark_reviewed(review_id, ALICE, office.now)
    assert (record.reviewed_by, record.reviewed_at, record.find_edit_at(office.now)) == (
        ALICE,
        office.now,
        None,
    )
    (parent,) = office.slack.parents
    assert parent.buttons == {}
    assert "✅ Reviewed by <@U0ALICE12>" in parent.words
    assert "DiskWillFill" in parent.words


def test_a_second_mark_changes_nothing(office):
    review_id = a_posted_review(office)
    office.review_service().mark_reviewed(review_id, ALICE, office.now)
    record = office.review_service().mark_reviewed(review_id, Person("bob"), office.now + 60)
    assert record.reviewed_by == ALICE
    assert office.slack.parents[0].edits == 1


def test_a_mark_whose_edit_slack_refused_is_shown_later(office):
    review_id = a_posted_review(office)
    office.slack.fail_next("chat.update", status=503, body=b"")
    record = office.review_service().mark_reviewed(review_id, ALICE, office.now)
    assert record.find_edit_at(office.now) is not None
    assert office.review_service().next_due_at(ROUTE, office.now) == record.find_edit_at(office.now)
    office.passes_to("2026-11-19 09:05")
    assert office.slack.parents[0].buttons == {}


def test_a_deleted_message_is_not_edited_for_ever(office):
    review_id = a_posted_review(office)
    office.slack.delete_message(office.slack.parents[0])
    record = office.review_service().mark_reviewed(review_id, ALICE, office.now)
    assert record.find_edit_at(office.now) is None
    assert office.run() == at("2026-11-20 09:00")


def test_an_older_review_can_still_be_marked(office):
    review_id = a_posted_review(office)
    office.fires("CertExpires", "2026-11-19 15:00", is_resolved=True)
    office.passes_to("2026-11-20 10:00")
    office.review_service().mark_reviewed(review_id, ALICE, office.now)
    assert [bool(parent.buttons) for parent in office.slack.parents] == [False, True]


def test_a_click_before_the_receipt_was_saved_is_shown_in_the_end(office):
    """The worker was killed after the post; the button was clicked before the next worker ran."""
    advance_to_review(office)
    with pytest.raises(Death):
        office.run(office.review_service(channel=DyingChannel(office.channel, after_the_post=True)))
    review_id = office.slack.parents[0].buttons["reviewed"]
    office.review_service().mark_reviewed(review_id, ALICE, office.now + 1)
    office.passes_to("2026-11-19 09:05")
    (parent,) = office.slack.parents
    assert parent.buttons == {}
    assert "Reviewed by" in parent.words


@pytest.mark.parametrize("review_id", ["", "nothing", "../../x", "x" * 2000])
def test_an_unknown_review_is_not_found(office, review_id):
    with pytest.raises(NotFound):
        office.review_service().mark_reviewed(review_id, ALICE, office.now)

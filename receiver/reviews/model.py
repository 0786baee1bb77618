"""The values of reviews: what a route's alerts did since its last review; the stored state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from receiver.engine.notification import Notification, SubjectId
from receiver.model.alert import Severity
from receiver.model.delivery import Delivery, PostedState
from receiver.model.delivery_keys import UPDATE, DeliveryKey
from receiver.model.incident import Incident, Person, compute_group_id, new_id
from receiver.text import one_line

MAX_ITEMS = 50
MAX_IDS = 3
_MAX_NAME = 200
# A web process may need some seconds to store an incident. One opened this shortly before the end of a
# review goes into the next review, so that each incident is in exactly one.
STORING_S = 10.0


class ReviewItem(Struct, frozen=True, omit_defaults=True):
    """The alerts of one name: how many, how many of them still fire, and when the latest started."""

    alertname: str
    severity: Severity = Severity.NONE  # the highest
    count: int = 0
    still_firing: int = 0
    last_at: float = 0.0
    incident_ids: tuple[str, ...] = ()  # the newest few


class Review(Struct, frozen=True, omit_defaults=True):
    """A route's alerts from `since` to `until`, and older ones that still fired at `until`.

    `items` are sorted: still firing first, then the most frequent. Of further alert names only their
    number, their alerts and how many of these still fire are kept.
    """

    route: str
    channel: str
    since: float
    until: float
    items: tuple[ReviewItem, ...]
    more_names: int = 0
    more_alerts: int = 0
    more_firing: int = 0

    @property
    def count(self) -> int:
        return self.more_alerts + sum(item.count for item in self.items)

    @property
    def still_firing(self) -> int:
        return self.more_firing + sum(item.still_firing for item in self.items)


def gather_review(
    incidents: Iterable[Incident], route: str, channel: str, since: float, until: float
) -> Review | None:
    """Return the review of *route* from *since* to *until*; None when there is nothing to review.

    *incidents* come newest first and may be of any route and any time; they need no alerts and
    no deliveries. Memory grows with the number of alert names only.
    """
    by_name: dict[str, ReviewItem] = {}
    group_ids: set[str] = set()
    for incident in incidents:
        if incident.route != route:
            continue
        # Only the group's newest incident has current alert states.
        firing = 0 if incident.group_id in group_ids else incident.firing
        group_ids.add(incident.group_id)
        began_at = max(incident.opened_at, incident.reopened_at)
        is_new = since - STORING_S < began_at <= until - STORING_S
        if is_new or (firing and not incident.is_resolved):
            # A sender's clock may be ahead.
            starts = (min(alert_state.starts_at, until) for alert_state in incident.alert_states.values())
            count, name = incident.total if is_new else firing, one_line(incident.alertname, _MAX_NAME)
            item = by_name.get(name, ReviewItem(name))
            by_name[name] = ReviewItem(
                name,
                max(item.severity, incident.severity, key=lambda severity: severity.rank),
                item.count + count,
                item.still_firing + firing,
                max(item.last_at, began_at, *starts),
                (*item.incident_ids, incident.id)[:MAX_IDS],
            )
    if not by_name:
        return None
    items = sorted(
        by_name.values(),
        key=lambda item: (not item.still_firing, -item.count, -item.severity.rank, item.alertname),
    )
    rest = items[MAX_ITEMS:]
    return Review(
        route=route,
        channel=channel,
        since=since,
        until=until,
        items=tuple(items[:MAX_ITEMS]),
        more_names=len(rest),
        more_alerts=sum(item.count for item in rest),
        more_firing=sum(item.still_firing for item in rest),
    )


# Ten business days: after two weeks off, a team can still mark every review as reviewed.
MAX_RECORDS = 10
OPEN, REVIEWED = PostedState("open"), PostedState("reviewed")


class ReviewRecord(Struct, frozen=True, omit_defaults=True):
    """A gathered review, the deliveries of its message and latest edit, and who marked it as reviewed."""

    id: str
    review: Review
    delivery: Delivery = Delivery()
    edit: Delivery = Delivery()
    reviewed_by: Person | None = None
    reviewed_at: float = 0.0

    def find_delivery(self, key: DeliveryKey) -> Delivery:
        return self.edit if key == UPDATE else self.delivery

    def with_delivery(self, key: DeliveryKey, delivery: Delivery) -> ReviewRecord:
        return replace(self, edit=delivery) if key == UPDATE else replace(self, delivery=delivery)

    @property
    def is_reviewed(self) -> bool:
        return self.reviewed_by is not None

    @property
    def posted_state(self) -> PostedState:
        """The state that its message should show."""
        return REVIEWED if self.is_reviewed else OPEN

    def find_post_at(self, now: float) -> float | None:
        """Return when the first or next attempt to post it is due; None if it was posted or failed
        permanently.
        """
        return None if self.delivery.is_settled else self.delivery.find_next_attempt_at(now)

    def find_edit_at(self, now: float) -> float | None:
        """Return when to edit its message or retry; None where it is up to date or can't be edited."""
        is_shown = self.posted_state in (OPEN, self.delivery.content_version)
        is_done = self.delivery.receipt is None or is_shown or self.edit.is_settled
        return None if is_done else self.edit.find_next_attempt_at(now)


class ReviewState(Struct, frozen=True, omit_defaults=True):
    """A route's reviews: the next one covers the time from `since`, and is due at the start of the first
    business day after `checked_at`. `records` are the newest ten, newest first.
    """

    since: float
    checked_at: float
    records: tuple[ReviewRecord, ...] = ()

    @property
    def pending(self) -> ReviewRecord | None:
        """The review that is neither posted nor failed for good; there is one at most."""
        return next((record for record in self.records if not record.delivery.is_settled), None)

    def with_review(self, review: Review) -> ReviewState:
        """Return the state with *review* as the pending one."""
        review_id = new_id(review_group_id(review.route), review.until, None)
        records = (ReviewRecord(review_id, review), *self.records)[:MAX_RECORDS]
        return ReviewState(review.until, review.until, records)

    def with_record(self, record: ReviewRecord) -> ReviewState:
        """Return the state with *record* replacing the one of the same id.

        If the newest review fails for good, the next review covers its time too.
        """
        records = tuple(record if other.id == record.id else other for other in self.records)
        is_lost = record.delivery.failed_at > 0 and records[0].id == record.id
        return replace(self, since=record.review.since if is_lost else self.since, records=records)


@dataclass(frozen=True)
class VersionedReviews:
    """A route's reviews as loaded (None: never checked), and the version for compare-and-set."""

    group_id: str
    state: ReviewState | None
    version: int

    def find_record(self, review_id: str) -> ReviewRecord | None:
        records = self.state.records if self.state is not None else ()
        return next((record for record in records if record.id == review_id), None)


@dataclass(frozen=True)
class ReviewNotification(Notification):
    """A review and what is needed to render it.

    `zone` is the time zone of the business hours, `public_url` the receiver's own address, `links` the
    route's links.
    """

    record: ReviewRecord
    zone: tzinfo = UTC
    public_url: str = ""
    links: tuple[tuple[str, str], ...] = ()

    noun: ClassVar[str] = "Review"

    @property
    def subject(self) -> SubjectId:
        return SubjectId("review", self.record.id)

    def find_notice_title(self, after: Delivery) -> str:  # noqa: ARG002  # that of the base
        return f"route {self.record.review.route}"


def review_group_id(route: str) -> str:
    """Return the group ID of a route's reviews: 12 characters, the first part of each review's id."""
    return compute_group_id("", "review", "", route)

"""How a route's reviews stand: when it was last looked at, and what became of each message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo

from msgspec import Struct
from msgspec.structs import replace

from receiver.domain.review import Review
from receiver.model.delivery import Delivery
from receiver.model.incident import Person, compute_group_id, new_id

# A team that comes back from two weeks off may still mark what it finds.
MAX_RECORDS = 10
# By then an attempt is over, or whoever made it is dead; Slack is given ten seconds to answer.
IN_FLIGHT_S = 15.0
OPEN, REVIEWED = "open", "reviewed"


class ReviewRecord(Struct, frozen=True, omit_defaults=True):
    """One review as it was gathered, its message's delivery, the latest edit's, and who marked it."""

    id: str
    review: Review
    delivery: Delivery = Delivery()
    edit: Delivery = Delivery()
    reviewed_by: Person | None = None
    reviewed_at: float = 0.0

    @property
    def is_reviewed(self) -> bool:
        return self.reviewed_by is not None

    @property
    def content_version(self) -> str:
        """What its message should show."""
        return REVIEWED if self.is_reviewed else OPEN

    @property
    def post_at(self) -> float | None:
        """When to try (again) to post it; None where it is posted or given up.

        While an attempt may be under way it is left alone, whoever holds it.
        """
        if self.delivery.is_settled:
            return None
        is_under_way = self.delivery.attempts > 0 and not self.delivery.retry_at
        return self.delivery.last_attempt_at + IN_FLIGHT_S if is_under_way else self.delivery.retry_at

    @property
    def edit_at(self) -> float | None:
        """When to try (again) to bring its message up to what is so; None where it is, or can't be."""
        receipt = self.delivery.receipt
        if (
            receipt is None
            or self.content_version in {OPEN, self.delivery.content_version}
            or self.edit.is_settled
        ):
            return None
        return self.edit.retry_at


class ReviewState(Struct, frozen=True, omit_defaults=True):
    """A route's reviews: the next one begins at *since*, and is due at the first opening after
    *checked_at*. *records* come newest first, the newest ten.
    """

    since: float
    checked_at: float
    records: tuple[ReviewRecord, ...] = ()

    def find_record(self, review_id: str) -> ReviewRecord | None:
        return next((record for record in self.records if record.id == review_id), None)

    @property
    def pending(self) -> ReviewRecord | None:
        """The review that is neither posted nor given up; there is one at most."""
        return next((record for record in self.records if record.post_at is not None), None)

    def mark_checked(self, now: float) -> ReviewState:
        """Return the state after a look that found nothing."""
        return replace(self, since=now, checked_at=now)

    def with_review(self, review: Review) -> ReviewState:
        """Return the state with a review to be posted."""
        review_id = new_id(review_group_id(review.route), review.until, None)
        records = (ReviewRecord(review_id, review), *self.records)[:MAX_RECORDS]
        return ReviewState(review.until, review.until, records)

    def with_record(self, record: ReviewRecord) -> ReviewState:
        """Return the state with *record* in the place of its former form.

        A newest review that can't be delivered at all leaves its time to the next one.
        """
        records = tuple(record if other.id == record.id else other for other in self.records)
        is_lost = record.delivery.failed_at > 0 and records[0].id == record.id
        return replace(self, since=record.review.since if is_lost else self.since, records=records)


@dataclass(frozen=True)
class VersionedReviews:
    """A route's reviews as read (None: never looked at), and the version that a change must find."""

    group_id: str
    state: ReviewState | None
    version: int


@dataclass(frozen=True)
class ReviewNotification:
    """What a channel is handed: the review as it stands, and what its words need beside it.

    *zone* is where the team works; *public_url* is our own address, *links* the route's.
    """

    record: ReviewRecord
    zone: tzinfo = UTC
    public_url: str = ""
    links: tuple[tuple[str, str], ...] = ()


def review_group_id(route: str) -> str:
    """Return the place of a route's reviews: 12 characters, the first part of each review's id."""
    return compute_group_id("", "review", "", route)

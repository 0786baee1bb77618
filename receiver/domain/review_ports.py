"""What the reviewer needs from the rooms around it."""

from __future__ import annotations

from typing import Protocol

from receiver.domain.review_record import ReviewNotification, ReviewState, VersionedReviews
from receiver.model.delivery import Receipt
from receiver.model.incident import Incident


class ReviewRepository(Protocol):
    """Keeps how each route's reviews stand; every method may raise StoreError."""

    def load_reviews(self, group_id: str) -> VersionedReviews: ...

    def save_if_unchanged(self, loaded: VersionedReviews, state: ReviewState) -> bool:
        """Keep *state*; False where somebody else changed it since *loaded* was read."""
        ...


class ReviewChannel(Protocol):
    """Posts reviews. Raises a DeliveryError; never sleeps to retry."""

    def send_review(self, notification: ReviewNotification) -> Receipt: ...

    def find_review(self, notification: ReviewNotification, since: float) -> Receipt | None:
        """Return the receipt of an earlier attempt (begun at *since*) that did arrive, if any."""
        ...

    def update_review(self, notification: ReviewNotification, message: str) -> Receipt:
        """Bring the message with the reference *message* up to what is so now."""
        ...


class IncidentListPage(Protocol):
    """Part of a list of incidents."""

    @property
    def incidents(self) -> tuple[Incident, ...]: ...
    @property
    def next_cursor(self) -> str | None: ...


class IncidentList(Protocol):
    """Lists incidents, newest first; may raise StoreError."""

    def list_newest(
        self, *, states: frozenset[str] = ..., limit: int = ..., cursor: str = ...
    ) -> IncidentListPage:
        """Return *limit* incidents of those *states* (none: all) from *cursor* on."""
        ...

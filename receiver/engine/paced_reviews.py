"""Reviews that keep to the budgets: they share a channel with everything else that is said there."""

from __future__ import annotations

from contextlib import AbstractContextManager

from receiver.domain.budget import ASIDE_S, Bucket, Limits, post_bucket, update_bucket
from receiver.domain.delivery import Receipt
from receiver.domain.policy import SLACK
from receiver.domain.review_ports import ReviewChannel
from receiver.domain.review_record import ReviewNotification
from receiver.engine.turns import Turns


class PacedReviews:
    """A ReviewChannel that waits for its turn: TurnAwaited says for how long."""

    def __init__(self, channel: ReviewChannel, turns: Turns, limits: Limits) -> None:
        self._channel = channel
        self._turns = turns
        self._limits = limits

    def send_review(self, notification: ReviewNotification) -> Receipt:
        """Post the review, or raise a DeliveryError."""
        with self._paced(post_bucket(notification.record.review.channel, self._limits), notification):
            return self._channel.send_review(notification)

    def update_review(self, notification: ReviewNotification, message: str) -> Receipt:
        """Edit the review's message, or raise a DeliveryError."""
        with self._paced(update_bucket(self._limits), notification):
            return self._channel.update_review(notification, message)

    def find_review(self, notification: ReviewNotification, since: float) -> Receipt | None:
        """Return the receipt of an earlier post; reading has no budget."""
        return self._channel.find_review(notification, since)

    def _paced(self, bucket: Bucket, notification: ReviewNotification) -> AbstractContextManager[None]:
        record = notification.record
        wanted_at = record.reviewed_at or record.review.until
        return self._turns.paced(SLACK, bucket, f"review {record.id}", wanted_at + ASIDE_S)

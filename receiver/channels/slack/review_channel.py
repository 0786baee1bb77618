"""Reviews in Slack: posted, found again after a crash, and edited when somebody marks them."""

from __future__ import annotations

from functools import partial

from receiver.channels.slack.poster import MessageMetadata, MessagePoster
from receiver.channels.slack.review import render_review
from receiver.model.delivery import Receipt
from receiver.reviews.model import ReviewNotification


class SlackReviews:
    """Sends reviews by a *poster*, once for each call. Threads may share one. Raises DeliveryErrors."""

    def __init__(self, poster: MessagePoster) -> None:
        self._poster = poster

    def send_review(self, notification: ReviewNotification) -> Receipt:
        """Post the review; return the receipt with its reference."""
        channel = notification.record.review.channel
        return self._poster.post_message(
            metadata_for(notification), channel, partial(render_review, notification)
        )

    def update_review(self, notification: ReviewNotification, message: str) -> Receipt:
        """Bring the message up to what is so now; twice is harmless."""
        channel, render = notification.record.review.channel, partial(render_review, notification)
        return self._poster.edit_message(metadata_for(notification), channel, render, message)

    def find_review(self, notification: ReviewNotification, since: float) -> Receipt | None:
        """Return the receipt of a post tried since *since* that did arrive, as far as that can be told."""
        return self._poster.find_receipt(
            metadata_for(notification), notification.record.review.channel, since
        )


def metadata_for(notification: ReviewNotification) -> MessageMetadata:
    """Return what the review's message is known by."""
    return MessageMetadata("review", notification.record.id, "review")

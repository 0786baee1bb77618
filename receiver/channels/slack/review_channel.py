"""Reviews in Slack: posted, found again after a crash, and edited when somebody marks them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from slack_sdk.errors import SlackObjectFormationError

from receiver import clock as real_clock
from receiver.channels.slack.client import Client
from receiver.channels.slack.directory import Directory
from receiver.channels.slack.errors import REFUSED_FORMATS
from receiver.channels.slack.history import find_ts
from receiver.channels.slack.message import Message, Rung
from receiver.channels.slack.references import parse_reference, permalink
from receiver.channels.slack.review import render_review
from receiver.domain.delivery import Receipt
from receiver.domain.review_record import ReviewNotification
from receiver.errors import DeliveryError, PermanentDeliveryError, TemporaryDeliveryError
from receiver.text import Secret, one_line

Record = Callable[[Mapping[str, object]], None]

EVENT_TYPE = "review"
_LOG = logging.getLogger(__name__)
# Clocks of ours and Slack's differ; looking back too far finds nothing wrong, as marks are exact.
_CLOCK_SLACK_S = 60.0


class SlackReviews:
    """Sends reviews, once for each call; it never sleeps. Threads may share one."""

    def __init__(
        self,
        token: Secret,
        base_url: str = "https://slack.com/api/",
        timeout_s: float = 10.0,
        clock: Callable[[], float] = real_clock.now,
    ) -> None:
        self._client = Client(token, base_url, timeout_s)
        self._directory = Directory(self._client, clock)
        self._clock = clock

    def send_review(self, notification: ReviewNotification) -> Receipt:
        """Post the review; return the receipt with the reference `CHANNEL:TS`.

        Formatting that Slack refuses is given up within this one call, and the receipt's note says
        so. Raises a DeliveryError for anything else.
        """
        where = {
            "channel": notification.record.review.channel,
            "metadata": mark(notification),
            "unfurl_links": False,
            "unfurl_media": False,
        }
        return self._send("chat.postMessage", where, notification)

    def update_review(self, notification: ReviewNotification, message: str) -> Receipt:
        """Bring the message up to what is so now; twice is harmless. Raises a DeliveryError."""
        reference = parse_reference(message)
        if reference is None:
            raise PermanentDeliveryError("message_not_found", "the reference is none of Slack's")
        return self._send("chat.update", {"channel": reference.channel, "ts": reference.ts}, notification)

    def find_review(self, notification: ReviewNotification, since: float) -> Receipt | None:
        """Return the receipt of a post tried since *since* that did arrive.

        None also where Slack won't tell: then it is sent again.
        """
        try:
            channel = self._directory.find_channel(notification.record.review.channel)
            if channel is None:
                return None
            where = {"channel": channel, "oldest": f"{since - _CLOCK_SLACK_S:.6f}"}
            expected = mark(notification)
            ts = find_ts(
                self._client,
                "conversations.history",
                where,
                lambda message: message.get("metadata") == expected,
            )
            return self._receipt(notification, {"channel": channel, "ts": ts}) if ts else None
        except DeliveryError as error:
            _warn("slack could not be searched", notification, error)
            return None

    def _send(self, method: str, where: Mapping[str, Any], notification: ReviewNotification) -> Receipt:
        for rung in (Rung.FULL, Rung.PLAIN):
            try:
                content = _content(render_review(notification, rung), is_edit=method == "chat.update")
                answer = self._client.post(method, {**where, **content})
            except (PermanentDeliveryError, SlackObjectFormationError) as error:
                if isinstance(error, DeliveryError) and error.reason not in REFUSED_FORMATS:
                    raise
                _warn("slack refused the formatting", notification, error)
            else:
                note = "" if rung is Rung.FULL else "Slack refused the formatting: sent as plain"
                return self._receipt(notification, answer, note)
        raise PermanentDeliveryError("invalid_blocks")

    def _receipt(
        self, notification: ReviewNotification, answer: Mapping[str, Any], note: str = ""
    ) -> Receipt:
        at = self._clock()
        reference = parse_reference(f"{answer.get('channel')}:{answer.get('ts')}")
        if reference is None:
            raise TemporaryDeliveryError("odd_answer", "no channel or ts", maybe_sent=True)
        self._directory.learn(notification.record.review.channel, reference.channel)
        link = permalink(self._directory.find_team_url(), reference)
        return Receipt(at, str(reference), link=link, note=note)


class SimulatedReviews:
    """Stands in for SlackReviews without a token: what would have been sent is handed to a recorder."""

    def __init__(self, record: Record, clock: Callable[[], float] = real_clock.now) -> None:
        self._record = record
        self._clock = clock

    def send_review(self, notification: ReviewNotification) -> Receipt:
        """Record what Slack would have been sent."""
        return self._keep(notification, "post", f"simulated:review:{notification.record.id}")

    def update_review(self, notification: ReviewNotification, message: str) -> Receipt:
        """Record the edit; it keeps the message's reference."""
        return self._keep(notification, "update", message)

    def find_review(self, notification: ReviewNotification, since: float) -> Receipt | None:  # noqa: ARG002  # the port's
        """Return None: what was recorded twice does no harm."""
        return None

    def _keep(self, notification: ReviewNotification, action: str, reference: str) -> Receipt:
        record, message = notification.record, render_review(notification)
        at = self._clock()
        self._record(
            {
                "at": at,
                "incident": "",
                "review": record.id,
                "to": f"slack:{record.review.channel}",
                "key": "review",
                "action": action,
                "channel": record.review.channel,
                "thread": "",
                "message": reference,
                "text": message.text,
                "blocks": list(message.blocks),
            }
        )
        return Receipt(at, reference, is_simulated=True)


def mark(notification: ReviewNotification) -> dict[str, Any]:
    """Return the metadata by which the review's message is found again after a crash."""
    return {"event_type": EVENT_TYPE, "event_payload": {"review": notification.record.id}}


def _content(message: Message, *, is_edit: bool) -> dict[str, Any]:
    """Return the words as Slack takes them: none of its own links and mentions are made of them.

    In an edit an empty list of blocks takes away those of before.
    """
    content: dict[str, Any] = {"text": message.text, "parse": "none"}
    return {**content, "blocks": list(message.blocks)} if message.blocks or is_edit else content


def _warn(event: str, notification: ReviewNotification, error: Exception) -> None:
    fields: dict[str, object] = {"review": notification.record.id, "error": one_line(str(error), 500)}
    _LOG.warning(event, extra={"fields": fields})

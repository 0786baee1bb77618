"""Notices in Slack: the receiver's own troubles, posted and found again after a crash."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from receiver import clock as real_clock
from receiver.channels.slack.client import Client
from receiver.channels.slack.directory import Directory
from receiver.channels.slack.history import find_ts
from receiver.channels.slack.message import MAX_TEXT
from receiver.channels.slack.mrkdwn import join_lines, line
from receiver.channels.slack.references import parse_reference
from receiver.domain.delivery import Receipt
from receiver.domain.notice import MAX_LINE, Posting
from receiver.errors import DeliveryError, TemporaryDeliveryError
from receiver.text import Secret, one_line

Record = Callable[[Mapping[str, object]], None]

EVENT_TYPE = "notice"
_LOG = logging.getLogger(__name__)
_CLOCK_SLACK_S = 60.0
_HEAD = "🛠 The receiver says:"
# A line may carry a count behind its words.
_ROOM = MAX_LINE + 60


class SlackNotices:
    """Posts notices in one channel, once for each call; it never sleeps. Threads may share one."""

    def __init__(
        self,
        channel: str,
        token: Secret,
        base_url: str = "https://slack.com/api/",
        timeout_s: float = 10.0,
        clock: Callable[[], float] = real_clock.now,
    ) -> None:
        self._channel = channel
        self._client = Client(token, base_url, timeout_s)
        self._directory = Directory(self._client, clock)
        self._clock = clock

    def send_notice(self, posting: Posting) -> Receipt:
        """Post what *posting* says; raises a DeliveryError."""
        answer = self._client.post(
            "chat.postMessage",
            {
                "channel": self._channel,
                "text": render_notice(posting),
                "parse": "none",
                "metadata": _mark(posting),
                "unfurl_links": False,
                "unfurl_media": False,
            },
        )
        reference = parse_reference(f"{answer.get('channel')}:{answer.get('ts')}")
        if reference is None:
            raise TemporaryDeliveryError("odd_answer", "no channel or ts", maybe_sent=True)
        self._directory.learn(self._channel, reference.channel)
        return Receipt(self._clock(), str(reference))

    def find_notice(self, posting: Posting) -> Receipt | None:
        """Return the receipt of an earlier attempt that did arrive; None also where Slack won't tell."""
        try:
            channel = self._directory.find_channel(self._channel)
            if channel is None:
                return None
            where = {"channel": channel, "oldest": f"{posting.began_at - _CLOCK_SLACK_S:.6f}"}
            expected = _mark(posting)
            ts = find_ts(
                self._client,
                "conversations.history",
                where,
                lambda message: message.get("metadata") == expected,
            )
        except DeliveryError as error:
            fields: dict[str, object] = {"notice": posting.id, "error": one_line(str(error), 500)}
            _LOG.warning("slack could not be searched", extra={"fields": fields})
            return None
        return Receipt(self._clock(), f"{channel}:{ts}") if ts else None


class SimulatedNotices:
    """Stands in for SlackNotices without a token: what would have been sent is handed to a recorder."""

    def __init__(self, channel: str, record: Record, clock: Callable[[], float] = real_clock.now) -> None:
        self._channel = channel
        self._record = record
        self._clock = clock

    def send_notice(self, posting: Posting) -> Receipt:
        """Record what Slack would have been sent."""
        at, reference = self._clock(), f"simulated:notice:{posting.id}"
        self._record(
            {
                "at": at,
                "incident": "",
                "to": f"slack:{self._channel}",
                "key": "notice",
                "action": "post",
                "channel": self._channel,
                "thread": "",
                "message": reference,
                "text": render_notice(posting),
                "blocks": [],
            }
        )
        return Receipt(at, reference, is_simulated=True)

    def find_notice(self, posting: Posting) -> Receipt | None:  # noqa: ARG002  # the port's
        """Return None: what was recorded twice does no harm."""
        return None


def render_notice(posting: Posting) -> str:
    """Return the message's text; alert names in it come from strangers, and ping nobody."""
    said = [line(each, _ROOM) for each in posting.lines]
    if len(said) == 1:
        return join_lines([f"🛠 {said[0]}"], MAX_TEXT)
    return join_lines([_HEAD, *(f"• {each}" for each in said)], MAX_TEXT)


def _mark(posting: Posting) -> dict[str, Any]:
    return {"event_type": EVENT_TYPE, "event_payload": {"notice": posting.id}}

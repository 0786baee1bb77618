"""Notices in Slack: the receiver's own troubles, posted and found again after a crash."""

from __future__ import annotations

from receiver.channels.slack.message import MAX_TEXT, Message
from receiver.channels.slack.mrkdwn import escape_line, join_lines
from receiver.channels.slack.poster import MessageMetadata, MessagePoster
from receiver.model.delivery import Receipt
from receiver.notices import MAX_LINE, NoticeMessage

_HEAD = "🛠 The receiver says:"
# A line may carry a count behind its words.
_ROOM = MAX_LINE + 60


class SlackNotices:
    """Posts notices in one *channel* by a *poster*, once for each call. Raises DeliveryErrors."""

    def __init__(self, channel: str, poster: MessagePoster) -> None:
        self._channel = channel
        self._poster = poster

    def send_notice(self, message: NoticeMessage) -> Receipt:
        """Post what *message* says."""
        return self._poster.post_message(
            _metadata_for(message), self._channel, lambda _: Message(render_notice(message))
        )

    def find_notice(self, message: NoticeMessage) -> Receipt | None:
        """Return the receipt of an earlier attempt that did arrive; None also where Slack won't tell."""
        return self._poster.find_receipt(_metadata_for(message), self._channel, message.began_at)


def render_notice(message: NoticeMessage) -> str:
    """Return the message's text; alert names in it come from strangers, and ping nobody."""
    lines = [escape_line(each, _ROOM) for each in message.lines]
    if len(lines) == 1:
        return join_lines([f"🛠 {lines[0]}"], MAX_TEXT)
    return join_lines([_HEAD, *(f"• {each}" for each in lines)], MAX_TEXT)


def _metadata_for(message: NoticeMessage) -> MessageMetadata:
    return MessageMetadata("notice", message.id, "notice")

"""Notices in Slack: the receiver's own troubles, posted and found again after a crash."""

from __future__ import annotations

from receiver.channels.slack.message import MAX_TEXT, Message
from receiver.channels.slack.mrkdwn import join_lines, line
from receiver.channels.slack.poster import Mark, Poster
from receiver.domain.delivery import Receipt
from receiver.domain.notice import MAX_LINE, Posting

_HEAD = "🛠 The receiver says:"
# A line may carry a count behind its words.
_ROOM = MAX_LINE + 60


class SlackNotices:
    """Posts notices in one *channel* by a *poster*, once for each call. Raises DeliveryErrors."""

    def __init__(self, channel: str, poster: Poster) -> None:
        self._channel = channel
        self._poster = poster

    def send_notice(self, posting: Posting) -> Receipt:
        """Post what *posting* says."""
        return self._poster.post(_mark(posting), self._channel, lambda _: Message(render_notice(posting)))

    def find_notice(self, posting: Posting) -> Receipt | None:
        """Return the receipt of an earlier attempt that did arrive; None also where Slack won't tell."""
        return self._poster.find(_mark(posting), self._channel, posting.began_at)


def render_notice(posting: Posting) -> str:
    """Return the message's text; alert names in it come from strangers, and ping nobody."""
    said = [line(each, _ROOM) for each in posting.lines]
    if len(said) == 1:
        return join_lines([f"🛠 {said[0]}"], MAX_TEXT)
    return join_lines([_HEAD, *(f"• {each}" for each in said)], MAX_TEXT)


def _mark(posting: Posting) -> Mark:
    return Mark("notice", posting.id, "notice")

"""Messages of reviews, storms and notices: posted, edited, and found again after a crash."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from msgspec.structs import replace
from slack_sdk.errors import SlackObjectFormationError

from receiver import clock as real_clock
from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.integrations.slack.blocks import MAX_TEXT, FormattingLevel, Message
from receiver.integrations.slack.channel import (
    FOUND_OUTSIDE_THREAD,
    format_outside_thread_note,
    is_thread_refusal,
    render_outside_thread,
)
from receiver.integrations.slack.client import Reference, SlackClient, find_ts, parse_reference, permalink
from receiver.integrations.slack.directory import ChannelDirectory, UserDirectory
from receiver.integrations.slack.errors import FORMAT_ERRORS
from receiver.integrations.slack.mrkdwn import escape_line, join_lines
from receiver.integrations.slack.review_message import render_review
from receiver.integrations.slack.storm_message import render_storm
from receiver.model.actions import Reply, Update
from receiver.model.delivery import Receipt
from receiver.notices import MAX_LINE, NoticeMessage
from receiver.reviews.model import ReviewNotification
from receiver.storms.model import StormNotification
from receiver.text import one_line

Record = Callable[[Mapping[str, object]], None]
Render = Callable[[FormattingLevel], Message]
_LOG = logging.getLogger(__name__)
# Allows for the difference between our clock and Slack's; a longer search finds no wrong message, because the
# metadata must be equal.
_CLOCK_SLACK_S = 60.0


@dataclass(frozen=True)
class MessageMetadata:
    """Identifies a message: *kind* and *id* of the review, storm or notice, and *key* within it."""

    kind: str
    id: str
    key: str
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def slack_metadata(self) -> dict[str, Any]:
        return {"event_type": self.kind, "event_payload": {self.kind: self.id, **self.extra}}


class MessagePoster(Protocol):
    """Posts, edits and finds messages; no retries or sleeps. `thread` is the reference to reply to."""

    def post_message(
        self, metadata: MessageMetadata, channel: str, render: Render, thread: str = ""
    ) -> Receipt: ...
    def edit_message(
        self, metadata: MessageMetadata, channel: str, render: Render, message: str
    ) -> Receipt: ...
    def find_receipt(
        self, metadata: MessageMetadata, channel: str, since: float, thread: str = ""
    ) -> Receipt | None: ...


class SlackPoster:
    """Posts to Slack. Threads may share it."""

    def __init__(self, client: SlackClient, clock: Callable[[], float] = real_clock.now) -> None:
        self._client = client
        self._channel_directory = ChannelDirectory(client, clock)
        self._clock = clock

    def post_message(
        self, metadata: MessageMetadata, channel: str, render: Render, thread: str = ""
    ) -> Receipt:
        """Post a message, or a reply in *thread*; return the receipt with the reference `CHANNEL:TS`.

        If Slack refuses the formatting, plain text is sent within this call; if the thread refuses the reply,
        it is posted in the channel. The receipt's note says so. Raises a DeliveryError for any other failure.
        """
        where: dict[str, Any] = {
            "channel": channel,
            "metadata": metadata.slack_metadata,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if not thread:
            receipt, reference = self._send_formatted("chat.postMessage", where, metadata, render)
            self._channel_directory.remember_channel(channel, reference.channel)
            return receipt
        root = _require_reference(thread)
        where["channel"] = root.channel
        try:
            return self._send_formatted(
                "chat.postMessage", {**where, "thread_ts": root.ts}, metadata, render, root.ts
            )[0]
        except PermanentDeliveryError as error:
            if not is_thread_refusal(error):
                raise
            _log_warning("slack's thread takes no reply", metadata, error)
            note = format_outside_thread_note(error)
        url = permalink(self._channel_directory.find_team_url(), root)

        def render_in_channel(level: FormattingLevel) -> Message:
            return render_outside_thread(render(level), url, "this message")

        receipt, _ = self._send_formatted("chat.postMessage", where, metadata, render_in_channel)
        return replace(receipt, note="; ".join(filter(None, (note, receipt.note))))

    def edit_message(self, metadata: MessageMetadata, channel: str, render: Render, message: str) -> Receipt:
        """Replace the content of *message*; repeating it is harmless. Raises a DeliveryError."""
        del channel  # required by MessagePoster
        reference = _require_reference(message)
        where = {"channel": reference.channel, "ts": reference.ts}
        return self._send_formatted("chat.update", where, metadata, render)[0]

    def find_receipt(
        self, metadata: MessageMetadata, channel: str, since: float, thread: str = ""
    ) -> Receipt | None:
        """Return the receipt of a post that was attempted since *since* and did arrive; else None.

        None also if Slack can't be searched: then the message is sent again.
        """
        oldest = f"{since - _CLOCK_SLACK_S:.6f}"
        root = parse_reference(thread)
        try:
            if root is not None and (ts := self._find_reply(metadata, root, oldest)):
                return self._build_receipt({"channel": root.channel, "ts": ts}, thread_ts=root.ts)[0]
            channel_id = root.channel if root is not None else self._channel_directory.find_channel(channel)
            if channel_id is None:
                return None
            ts = self._search_messages(
                "conversations.history", metadata, {"channel": channel_id, "oldest": oldest}
            )
        except DeliveryError as error:
            _log_warning("slack could not be searched", metadata, error)
            return None
        note = FOUND_OUTSIDE_THREAD if thread else ""
        return self._build_receipt({"channel": channel_id, "ts": ts}, note)[0] if ts else None

    def _find_reply(self, metadata: MessageMetadata, root: Reference, oldest: str) -> str | None:
        where = {"channel": root.channel, "ts": root.ts, "oldest": oldest}
        try:
            return self._search_messages("conversations.replies", metadata, where)
        except PermanentDeliveryError as error:
            if not is_thread_refusal(error):
                raise
            return None

    def _search_messages(
        self, method: str, metadata: MessageMetadata, where: Mapping[str, Any]
    ) -> str | None:
        return find_ts(
            self._client, method, where, lambda found: found.get("metadata") == metadata.slack_metadata
        )

    def _send_formatted(
        self,
        method: str,
        where: Mapping[str, Any],
        metadata: MessageMetadata,
        render: Render,
        thread_ts: str = "",
    ) -> tuple[Receipt, Reference]:
        for level in (FormattingLevel.FULL, FormattingLevel.PLAIN):
            try:
                content = _render_content(render(level), is_edit=method == "chat.update")
                response = self._client.post(method, {**where, **content})
            except (PermanentDeliveryError, SlackObjectFormationError) as error:
                if isinstance(error, DeliveryError) and error.reason not in FORMAT_ERRORS:
                    raise
                _log_warning("slack refused the formatting", metadata, error)
            else:
                note = "" if level is FormattingLevel.FULL else "Slack refused the formatting: sent as plain"
                return self._build_receipt(response, note, thread_ts)
        raise PermanentDeliveryError("invalid_blocks")

    def _build_receipt(
        self, response: Mapping[str, Any], note: str = "", thread_ts: str = ""
    ) -> tuple[Receipt, Reference]:
        at = self._clock()
        reference = parse_reference(f"{response.get('channel')}:{response.get('ts')}")
        if reference is None:
            raise TemporaryDeliveryError("odd_answer", "no channel or ts", maybe_sent=True)
        link = permalink(self._channel_directory.find_team_url(), reference, thread_ts)
        return Receipt(at, str(reference), link=link, note=note), reference


class SimulatedPoster:
    """Replaces SlackPoster if there is no token: records the messages and sends nothing."""

    def __init__(self, record: Record, clock: Callable[[], float] = real_clock.now) -> None:
        self._record = record
        self._clock = clock

    def post_message(
        self, metadata: MessageMetadata, channel: str, render: Render, thread: str = ""
    ) -> Receipt:
        """Record the message that would have been sent."""
        name = f"{metadata.kind}:{metadata.id}:{metadata.key}"
        action = "reply" if thread else "post"
        return self._record_message(
            metadata, channel, render, action=action, message=f"simulated:{name}", thread=thread
        )

    def edit_message(self, metadata: MessageMetadata, channel: str, render: Render, message: str) -> Receipt:
        """Record the edit; the message keeps its reference."""
        return self._record_message(metadata, channel, render, action="update", message=message)

    def find_receipt(
        self, metadata: MessageMetadata, channel: str, since: float, thread: str = ""
    ) -> Receipt | None:
        """Return None: recording a message twice is harmless."""
        del metadata, channel, since, thread  # required by MessagePoster
        return None

    def _record_message(
        self,
        metadata: MessageMetadata,
        channel: str,
        render: Render,
        *,
        action: str,
        message: str,
        thread: str = "",
    ) -> Receipt:
        at, rendered = self._clock(), render(FormattingLevel.FULL)
        self._record(
            {
                "at": at,
                "incident": "",
                metadata.kind: metadata.id,
                "to": f"slack:{channel}",
                "key": metadata.key,
                "action": action,
                "channel": channel,
                "thread": thread,
                "message": message,
                "text": rendered.text,
                "blocks": list(rendered.blocks),
            }
        )
        return Receipt(at, message, is_simulated=True)


def _require_reference(text: str) -> Reference:
    """Return the message to edit or reply to; raises a PermanentDeliveryError for a simulated one."""
    reference = parse_reference(text)
    if reference is None:
        raise PermanentDeliveryError(
            "message_not_found", "the reference is none of Slack's", kind=RefusalKind.MESSAGE_GONE
        )
    return reference


def _render_content(message: Message, *, is_edit: bool) -> dict[str, Any]:
    """Return Slack's arguments; `parse` keeps plain URLs and names from becoming links and mentions.

    In an edit, an empty list of blocks removes the previous blocks.
    """
    content: dict[str, Any] = {"text": message.text, "parse": "none"}
    if message.links_names:
        content["link_names"] = True
    return {**content, "blocks": list(message.blocks)} if message.blocks or is_edit else content


def _log_warning(event: str, metadata: MessageMetadata, error: Exception) -> None:
    fields: dict[str, object] = {metadata.kind: metadata.id, "error": one_line(str(error), 500)}
    _LOG.warning(event, extra={"fields": fields})


class SlackReviews:
    """Sends reviews through *poster*, without retries. Threads may share it. Raises DeliveryErrors."""

    def __init__(self, poster: MessagePoster) -> None:
        self._poster = poster

    def send_review(self, notification: ReviewNotification) -> Receipt:
        """Post the review; return the receipt with its reference."""
        channel = notification.record.review.channel
        return self._poster.post_message(
            review_metadata_for(notification), channel, partial(render_review, notification)
        )

    def update_review(self, notification: ReviewNotification, message: str) -> Receipt:
        """Replace the content of the review's *message*; repeating it is harmless."""
        channel, render = notification.record.review.channel, partial(render_review, notification)
        return self._poster.edit_message(review_metadata_for(notification), channel, render, message)

    def find_review(self, notification: ReviewNotification, since: float) -> Receipt | None:
        """Return the receipt of a post that was attempted since *since* and did arrive; None if not found."""
        return self._poster.find_receipt(
            review_metadata_for(notification), notification.record.review.channel, since
        )


def review_metadata_for(notification: ReviewNotification) -> MessageMetadata:
    """Return the metadata that identifies the review's message."""
    return MessageMetadata("review", notification.record.id, "review")


class SlackStorms:
    """Sends the messages of storms through *poster*, without retries. Threads may share it.

    *address_book* finds the IDs for mentioning a step's responder. Raises DeliveryErrors.
    """

    def __init__(self, poster: MessagePoster, address_book: UserDirectory | None = None) -> None:
        self._poster = poster
        self._address_book = address_book

    def send_storm(self, notification: StormNotification) -> Receipt:
        """Post, edit or reply; return the receipt with its reference."""
        notification = self._resolve_mentions(notification)
        action, render = notification.action, partial(render_storm, notification)
        channel, metadata = action.target.address, storm_metadata_for(notification)
        if isinstance(action, Update):
            return self._poster.edit_message(metadata, channel, render, action.message)
        return self._poster.post_message(metadata, channel, render, _thread(notification))

    def find_storm(self, notification: StormNotification, since: float) -> Receipt | None:
        """Return the receipt of a post or reply that was attempted since *since* and did arrive; None if not
        found, and for an edit, which may be repeated.
        """
        action = notification.action
        if isinstance(action, Update):
            return None
        return self._poster.find_receipt(
            storm_metadata_for(notification), action.target.address, since, _thread(notification)
        )

    def _resolve_mentions(self, notification: StormNotification) -> StormNotification:
        """Return *notification* with Slack IDs for the responder of a step's reply, as far as found."""
        action = notification.action
        if self._address_book is None or not isinstance(action, Reply) or action.step is None:
            return notification
        responder = self._address_book.resolve_responder(action.step.responder)
        return dataclasses.replace(
            notification,
            action=dataclasses.replace(action, step=dataclasses.replace(action.step, responder=responder)),
        )


def storm_metadata_for(notification: StormNotification) -> MessageMetadata:
    """Return the metadata that identifies a storm's message or reply."""
    action = notification.action
    more = {"key": action.key, "about": action.instance}
    return MessageMetadata("storm", notification.storm.id, action.key, more)


def _thread(notification: StormNotification) -> str:
    action = notification.action
    return action.message if isinstance(action, Reply) else ""


_HEAD = "🛠 The receiver says:"
# A line may end with a count.
_ROOM = MAX_LINE + 60


class SlackNotices:
    """Posts notices in *channel* through *poster*, without retries. Raises DeliveryErrors."""

    def __init__(self, channel: str, poster: MessagePoster) -> None:
        self._channel = channel
        self._poster = poster

    def send_notice(self, message: NoticeMessage) -> Receipt:
        """Post *message*; return the receipt with its reference."""
        return self._poster.post_message(
            _metadata_for(message), self._channel, lambda _: Message(render_notice(message))
        )

    def find_notice(self, message: NoticeMessage) -> Receipt | None:
        """Return the receipt of an earlier attempt that did arrive; None if not found."""
        return self._poster.find_receipt(_metadata_for(message), self._channel, message.began_at)


def render_notice(message: NoticeMessage) -> str:
    """Return the text of *message*; alert names in it are untrusted and are escaped."""
    lines = [escape_line(each, _ROOM) for each in message.lines]
    if len(lines) == 1:
        return join_lines([f"🛠 {lines[0]}"], MAX_TEXT)
    return join_lines([_HEAD, *(f"• {each}" for each in lines)], MAX_TEXT)


def _metadata_for(message: NoticeMessage) -> MessageMetadata:
    return MessageMetadata("notice", message.id, "notice")

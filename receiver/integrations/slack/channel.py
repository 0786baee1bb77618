"""The Slack channel: posts, edits and replies, and finds a sent message again after a crash."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from receiver import clock as real_clock
from receiver.engine.notification import IncidentNotification, Notification
from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.integrations.slack.blocks import MAX_TEXT, FormattingLevel, Message, section
from receiver.integrations.slack.client import (
    MessageReference,
    SlackClient,
    find_ts,
    parse_reference,
    permalink,
)
from receiver.integrations.slack.directory import ChannelDirectory, UserDirectory
from receiver.integrations.slack.errors import FORMAT_ERRORS
from receiver.integrations.slack.incident_message import render_message
from receiver.integrations.slack.mrkdwn import cut_escaped, disable_mentions, escape_line, join_lines, link
from receiver.integrations.slack.overview_messages import render_review, render_storm
from receiver.model.actions import DeliveryAction, Post, Reply, Update
from receiver.model.delivery import Receipt, format_version
from receiver.notices import MAX_LINE, NoticeMessage, NoticeNotification
from receiver.reviews.model import ReviewNotification
from receiver.storms.model import StormNotification
from receiver.text import Secret

_NOTICE_HEAD = "🛠 The receiver says:"
# A line may end with a count.
_NOTICE_LINE = MAX_LINE + 60


def render_notification(notification: Notification, level: FormattingLevel = FormattingLevel.FULL) -> Message:
    """Return the message, edit or reply that *notification* asks for, within Slack's limits."""
    match notification:
        case IncidentNotification():
            return render_message(notification, level)
        case StormNotification():
            return render_storm(notification, level)
        case ReviewNotification():
            return render_review(notification, level)
        case NoticeNotification():
            return Message(render_notice(notification.message))
    raise TypeError(f"no message for a {type(notification).__name__}")


def render_notice(message: NoticeMessage) -> str:
    """Return the text of *message*; alert names in it are untrusted and are escaped."""
    lines = [escape_line(each, _NOTICE_LINE) for each in message.lines]
    if len(lines) == 1:
        return join_lines([f"🛠 {lines[0]}"], MAX_TEXT)
    return join_lines([_NOTICE_HEAD, *(f"• {each}" for each in lines)], MAX_TEXT)


def metadata_for(notification: Notification) -> dict[str, Any]:
    """Return the message metadata by which the notification's message is found again after a crash.

    For a reply it includes the content version, because later replies with the same key are other messages.
    A message is edited later, so its first content version does not identify it.
    """
    action, subject = notification.action, notification.subject
    payload = {subject.kind: subject.id, "key": action.key, "about": action.instance}
    if isinstance(action, Reply):
        payload["shown"] = format_version(action.content_version)
    return {"event_type": subject.kind, "event_payload": payload}


def matches_metadata(message: Any, notification: Notification) -> bool:
    """Return whether *message*, as Slack returns it, carries the metadata of *notification*."""
    return isinstance(message, dict) and message.get("metadata") == metadata_for(notification)


# The note of a receipt that was found after a crash: the error code is not known any more.
FOUND_OUTSIDE_THREAD = "The thread takes no reply: said in the channel"
_MAX_NAME = 100
# A reply to a deleted message has no thread either.
_NO_THREAD = (RefusalKind.THREAD, RefusalKind.MESSAGE_GONE)


def is_thread_refusal(error: Exception) -> bool:
    """Return whether Slack refused a reply because of its thread; the channel may accept it."""
    return isinstance(error, PermanentDeliveryError) and error.kind in _NO_THREAD


def render_outside_thread(reply: Message, url: str, name: str) -> Message:
    """Return *reply* as a message for the channel, with a link to the message that it belongs to.

    *url* is the permalink of that message, empty if not known; *name* is untrusted and gets escaped.
    """
    tail = (
        f"↪️ In place of a reply to {link(url, disable_mentions(escape_line(name, _MAX_NAME))) or 'a message'}"
    )
    text = f"{cut_escaped(reply.text, MAX_TEXT - len(tail) - 1)}\n{tail}"
    blocks = (*reply.blocks, section(tail)) if reply.blocks else ()
    return Message(text, blocks, reply.links_names)


def format_outside_thread_note(error: Exception) -> str:
    """Return the receipt's note for a reply that was posted in the channel because of *error*."""
    reason = error.reason if isinstance(error, PermanentDeliveryError) else type(error).__name__
    return f"The thread takes no reply ({reason}): said in the channel"


LogEvent = Callable[[str, Mapping[str, object]], None]
_LOG = logging.getLogger(__name__)
# Allows for the difference between our clock and Slack's; a longer search finds no wrong message, because the
# metadata must be equal.
_CLOCK_SLACK_S = 60.0


def _log(event: str, fields: Mapping[str, object]) -> None:
    _LOG.warning(event, extra={"fields": dict(fields)})


class SlackChannel:
    """Sends notifications to Slack. Threads may share it; it never sleeps and never retries."""

    def __init__(
        self,
        token: Secret,
        base_url: str = "https://slack.com/api/",
        timeout_s: float = 10.0,
        log_event: LogEvent = _log,
        clock: Callable[[], float] = real_clock.now,
    ) -> None:
        self._client = SlackClient(token, base_url, timeout_s)
        self._channel_directory = ChannelDirectory(self._client, clock)
        self._user_directory = UserDirectory(self._client, clock)
        self._log_event = log_event
        self._clock = clock

    def send(self, notification: Notification) -> Receipt:
        """Post, edit or reply; return the receipt with the reference `CHANNEL:TS`.

        If Slack refuses the formatting, the next FormattingLevel is tried within this call; if the thread
        refuses a reply, it is posted in the channel. The receipt's note says so. Raises a DeliveryError
        for any other failure.
        """
        notification = self._user_directory.resolve_mentions(notification)
        try:
            return self._send_formatted(notification)
        except PermanentDeliveryError as error:
            if _find_root(notification.action) is None or not is_thread_refusal(error):
                raise
            self._log_event("slack's thread takes no reply", _log_fields(notification, error))
            return self._send_formatted(notification, outside_thread_note=format_outside_thread_note(error))

    def _send_formatted(self, notification: Notification, *, outside_thread_note: str = "") -> Receipt:
        """Send at the highest level that Slack accepts; with *outside_thread_note*, post in the channel."""
        refused: Message | None = None
        for level in FormattingLevel:
            rendered = render_notification(notification, level)
            if rendered == refused:
                continue
            message = self._render_outside_thread(notification, rendered) if outside_thread_note else rendered
            try:
                response = self._post_or_update(
                    notification, message, is_outside_thread=bool(outside_thread_note)
                )
            except PermanentDeliveryError as error:
                if not self._can_degrade(notification, level, error):
                    raise
                refused = rendered
            else:
                return self._build_receipt(notification, response, level, note=outside_thread_note)
        raise PermanentDeliveryError("invalid_blocks")

    def _render_outside_thread(self, notification: Notification, message: Message) -> Message:
        root = _find_root(notification.action)
        url = permalink(self._channel_directory.find_team_url(), root) if root is not None else ""
        return render_outside_thread(message, url, notification.title)

    def find_receipt(self, notification: Notification) -> Receipt | None:
        """Return the receipt of a post or reply that was attempted before and did arrive; else None.

        None for an edit, which may be repeated, and if Slack can't be searched (unavailable, or a scope is
        missing): then the message is sent again.
        """
        try:
            found, is_outside_thread = self._find_sent_message(notification)
            if found is None:
                return None
            return self._build_receipt(
                notification,
                found,
                FormattingLevel.FULL,
                note=FOUND_OUTSIDE_THREAD if is_outside_thread else "",
            )
        except DeliveryError as error:
            self._log_event("slack could not be searched", _log_fields(notification, error))
            return None

    def _post_or_update(
        self, notification: Notification, message: Message, *, is_outside_thread: bool
    ) -> dict[str, Any]:
        action = notification.action
        if isinstance(action, Update):
            reference = _require_reference(action.message)
            # An empty list of blocks removes the previous ones.
            content = {"text": message.text, "blocks": list(message.blocks)}
            target = {"channel": reference.channel, "ts": reference.ts}
            # Only chat.update turns plain URLs and names into links and mentions by default.
            return self._client.post("chat.update", {**target, **content, "parse": "none"})
        return self._client.post(
            "chat.postMessage", _post_arguments(notification, message, is_outside_thread=is_outside_thread)
        )

    def _can_degrade(
        self,
        notification: Notification,
        level: FormattingLevel,
        error: PermanentDeliveryError,
    ) -> bool:
        """Return whether to try the next level; log a refused formatting with Slack's detail."""
        refused = error.reason in FORMAT_ERRORS
        if refused:
            fields = {**_log_fields(notification, error), "formatting": level.name.lower()}
            self._log_event("slack refused the formatting", fields)
        return refused and level is not FormattingLevel.PLAIN

    def _build_receipt(
        self,
        notification: Notification,
        response: Mapping[str, Any],
        level: FormattingLevel,
        *,
        note: str = "",
    ) -> Receipt:
        at = self._clock()
        reference = parse_reference(f"{response.get('channel')}:{response.get('ts')}")
        if reference is None:
            raise TemporaryDeliveryError("odd_answer", "no channel or ts", maybe_sent=True)
        action, thread_ts = notification.action, ""
        if isinstance(action, Reply):
            thread_ts = "" if note else _require_reference(action.message).ts
        else:
            self._channel_directory.remember_channel(action.target.address, reference.channel)
        link = permalink(self._channel_directory.find_team_url(), reference, thread_ts)
        refused = (
            ""
            if level is FormattingLevel.FULL
            else f"Slack refused the formatting: sent as {level.name.lower()}"
        )
        return Receipt(at, str(reference), link=link, note="; ".join(filter(None, (note, refused))))

    def _find_sent_message(self, notification: Notification) -> tuple[dict[str, Any] | None, bool]:
        """Return channel and ts of the notification's message (None if not found), and whether it is a reply
        that was posted outside its thread.
        """
        action = notification.action
        root = _find_root(action)
        if root is not None and (found := self._find_reply(notification, root)):
            return found, False
        if root is None and not isinstance(action, Post):
            return None, False
        channel = self._channel_directory.find_channel(_get_channel(action))
        if channel is None:
            return None, False
        found = self._search_messages("conversations.history", {"channel": channel}, notification)
        return found, root is not None

    def _find_reply(self, notification: Notification, root: MessageReference) -> dict[str, Any] | None:
        query = {"channel": root.channel, "ts": root.ts}
        try:
            return self._search_messages("conversations.replies", query, notification)
        except PermanentDeliveryError as error:
            if not is_thread_refusal(error):
                raise
            return None

    def _search_messages(
        self, method: str, query: Mapping[str, Any], notification: Notification
    ) -> dict[str, Any] | None:
        """Return channel and ts of the notification's message in the latest pages; None if not found."""
        oldest = f"{notification.first_attempt_at - _CLOCK_SLACK_S:.6f}"
        ts = find_ts(
            self._client,
            method,
            {**query, "oldest": oldest},
            lambda message: matches_metadata(message, notification),
        )
        return {"channel": query["channel"], "ts": ts} if ts is not None else None


def _find_root(action: DeliveryAction) -> MessageReference | None:
    """Return the message that a reply belongs to; None for other actions and for a simulated message."""
    return parse_reference(action.message) if isinstance(action, Reply) else None


def _get_channel(action: DeliveryAction) -> str:
    """Return the channel for *action*; for a reply, the channel ID of its message."""
    root = _find_root(action)
    return root.channel if root is not None else action.target.address


def _post_arguments(
    notification: Notification, message: Message, *, is_outside_thread: bool
) -> dict[str, Any]:
    action = notification.action
    arguments: dict[str, Any] = {
        "channel": _get_channel(action),
        "text": message.text,
        "parse": "none",
        "metadata": metadata_for(notification),
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if message.blocks:
        arguments["blocks"] = list(message.blocks)
    if message.links_names:
        arguments["link_names"] = True
    if isinstance(action, Reply) and not is_outside_thread:
        arguments["thread_ts"] = _require_reference(action.message).ts
    return arguments


def _require_reference(text: str) -> MessageReference:
    """Return the message to edit or reply to; raises a PermanentDeliveryError for a simulated one."""
    reference = parse_reference(text)
    if reference is None:
        raise PermanentDeliveryError(
            "message_not_found", "the reference is none of Slack's", kind=RefusalKind.MESSAGE_GONE
        )
    return reference


def _log_fields(notification: Notification, error: DeliveryError) -> dict[str, object]:
    subject = notification.subject
    fields: dict[str, object] = {subject.kind: subject.id, "key": notification.action.key}
    return {**fields, "reason": error.reason, "detail": error.detail}


Record = Callable[[Mapping[str, object]], None]


class SimulatedSlack:
    """Replaces SlackChannel if there is no token: records messages and returns simulated receipts."""

    def __init__(self, record: Record, clock: Callable[[], float] = real_clock.now) -> None:
        self._record = record
        self._clock = clock

    def send(self, notification: Notification) -> Receipt:
        """Record the message that would have been sent; an edit keeps the message's reference."""
        action, subject, message = (
            notification.action,
            notification.subject,
            render_notification(notification),
        )
        reference = f"simulated:{subject.id}:{action.key}"
        if isinstance(action, Update):
            reference = action.message
        at = self._clock()
        self._record(
            {
                "at": at,
                "incident": "",
                subject.kind: subject.id,
                "to": f"{action.target.kind}:{action.target.address}",
                "key": action.key,
                "action": type(action).__name__.lower(),
                "channel": action.target.address,
                "thread": action.message if isinstance(action, Reply) else "",
                "message": reference,
                "text": message.text,
                "blocks": list(message.blocks),
            }
        )
        return Receipt(at, reference, is_simulated=True)

    def find_receipt(self, notification: Notification) -> Receipt | None:  # noqa: ARG002  # protocol
        """Return None: recording a message twice is harmless."""
        return None

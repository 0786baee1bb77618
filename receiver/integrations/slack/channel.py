"""The Slack channel: posts, edits and replies, and finds a sent message again after a crash."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from receiver import clock as real_clock
from receiver.engine.notification import IncidentNotification, Notification
from receiver.engine.rate_limit import RATE_LIMITED
from receiver.errors import DeliveryError, PermanentDeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.http_client import as_objects
from receiver.integrations.slack.blocks import MAX_TEXT, FormattingLevel, Message, section
from receiver.integrations.slack.client import MessageReference, SlackClient, parse_reference, permalink
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
_FOUND_OUTSIDE_THREAD = "The thread takes no reply: said in the channel"
_MAX_NAME = 100
# A reply to a deleted message has no thread either.
_NO_THREAD = (RefusalKind.THREAD, RefusalKind.MESSAGE_GONE)
logger = logging.getLogger(__name__)
# Allows for the difference between our clock and Slack's; a longer search finds no wrong message, because the
# metadata must be equal.
_CLOCK_SLACK_S = 60.0
# Without an answer to the search, it is tried again for this long; then the message is posted again.
SEARCH_FOR_S = 15.0
# Few messages are posted between an attempt and the search for it.
_PAGES = 3
_PAGE_SIZE = 200


def _render_outside_thread(reply: Message, url: str, name: str) -> Message:
    """Return *reply* as a message for the channel, with a link to the message that it belongs to.

    *url* is the permalink of that message, empty if not known; *name* is untrusted and gets escaped.
    """
    label = link(url, disable_mentions(escape_line(name, _MAX_NAME))) or "a message"
    tail = f"↪️ In place of a reply to {label}"
    text = f"{cut_escaped(reply.text, MAX_TEXT - len(tail) - 1)}\n{tail}"
    blocks = (*reply.blocks, section(tail)) if reply.blocks else ()
    return Message(text, blocks, reply.links_names)


class SlackChannel:
    """Sends notifications to Slack. Threads may share it; it never sleeps and never retries."""

    def __init__(
        self,
        token: Secret,
        base_url: str = "https://slack.com/api/",
        timeout_s: float = 10.0,
        *,
        clock: Callable[[], float] = real_clock.now,
    ) -> None:
        self._client = SlackClient(token, base_url, timeout_s)
        self._channel_directory = ChannelDirectory(self._client, clock)
        self._user_directory = UserDirectory(self._client, clock)
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
            if _find_parent(notification.action) is None or error.kind not in _NO_THREAD:
                raise
            _log_failure("slack's thread takes no reply", notification, error)
            note = f"The thread takes no reply ({error.reason}): said in the channel"
            return self._send_formatted(notification, outside_thread_note=note)

    def _send_formatted(self, notification: Notification, *, outside_thread_note: str = "") -> Receipt:
        """Send at the highest level that Slack accepts; with *outside_thread_note*, post in the channel."""
        refused: Message | None = None
        for level in FormattingLevel:
            rendered = message = render_notification(notification, level)
            if rendered == refused:
                continue
            if outside_thread_note:
                parent = _find_parent(notification.action)
                url = permalink(self._channel_directory.find_team_url(), parent) if parent is not None else ""
                message = _render_outside_thread(rendered, url, notification.title)
            method, arguments = _build_call(notification, message, is_in_thread=not outside_thread_note)
            try:
                response = self._client.post_json(method, arguments)
            except PermanentDeliveryError as error:
                if error.reason not in FORMAT_ERRORS:
                    raise
                formatting = level.name.lower()
                _log_failure("slack refused the formatting", notification, error, formatting=formatting)
                if level is FormattingLevel.PLAIN:
                    raise
                refused = rendered
            else:
                return self._build_receipt(notification, response, level, note=outside_thread_note)
        raise PermanentDeliveryError("invalid_blocks")

    def find_receipt(self, notification: Notification) -> Receipt | None:
        """Return the receipt of a post or reply that was attempted before and did arrive; else None.

        None for an edit, which may be repeated, and if Slack refuses the search (a scope is missing): then
        the message is sent again. While Slack gives no answer, or is limited, raises TemporaryDeliveryError
        for 15 s since the first search, then returns None: better twice than never.
        """
        action, parent = notification.action, _find_parent(notification.action)
        if parent is None and not isinstance(action, Post):
            return None
        try:
            found, note = self._find_reply(notification, parent) if parent is not None else None, ""
            if found is None and (channel := self._channel_directory.find_channel(_get_channel(action))):
                found = self._search_messages("conversations.history", {"channel": channel}, notification)
                note = _FOUND_OUTSIDE_THREAD if parent is not None else ""
            if found is None:
                return None
            return self._build_receipt(notification, found, FormattingLevel.FULL, note=note)
        except DeliveryError as error:
            _log_failure("slack could not be searched", notification, error)
            # A clock that was set back must not stretch the search.
            searched_for_s = abs(self._clock() - notification.searched_since)
            if not isinstance(error, TemporaryDeliveryError) or searched_for_s >= SEARCH_FOR_S:
                return None
            # The limit of the search is not that of messages, which `rate_limited` would pause.
            reason = "search_limited" if error.reason == RATE_LIMITED else error.reason
            retry_after = min(error.retry_after, SEARCH_FOR_S - searched_for_s)
            raise TemporaryDeliveryError(reason, error.detail, retry_after=retry_after) from error

    def _build_receipt(
        self, notification: Notification, response: Mapping[str, Any], level: FormattingLevel, *, note: str
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
        url = permalink(self._channel_directory.find_team_url(), reference, thread_ts)
        refused = f"Slack refused the formatting: sent as {level.name.lower()}"
        notes = (note, "" if level is FormattingLevel.FULL else refused)
        return Receipt(at, str(reference), link=url, note="; ".join(filter(None, notes)))

    def _find_reply(self, notification: Notification, parent: MessageReference) -> dict[str, Any] | None:
        query = {"channel": parent.channel, "ts": parent.ts}
        try:
            return self._search_messages("conversations.replies", query, notification)
        except PermanentDeliveryError as error:
            if error.kind not in _NO_THREAD:
                raise
            return None

    def _search_messages(
        self, method: str, query: Mapping[str, Any], notification: Notification
    ) -> dict[str, Any] | None:
        """Return channel and ts of the notification's message in the latest pages; None if not found."""
        oldest = f"{notification.first_attempt_at - _CLOCK_SLACK_S:.6f}"
        query = {**query, "oldest": oldest, "include_all_metadata": True}
        for page in self._client.get_pages(method, query, at_most=_PAGES, size=_PAGE_SIZE):
            for message in as_objects(page.get("messages")):
                if matches_metadata(message, notification):
                    return {"channel": query["channel"], "ts": str(message.get("ts"))}
        return None


def _find_parent(action: DeliveryAction) -> MessageReference | None:
    """Return the message that a reply belongs to; None for other actions and for a simulated message."""
    return parse_reference(action.message) if isinstance(action, Reply) else None


def _get_channel(action: DeliveryAction) -> str:
    """Return the channel for *action*; for a reply, the channel ID of its message."""
    parent = _find_parent(action)
    return parent.channel if parent is not None else action.target.address


def _build_call(
    notification: Notification, message: Message, *, is_in_thread: bool
) -> tuple[str, dict[str, Any]]:
    """Return the method of the Web API that sends *message*, and its arguments."""
    action = notification.action
    arguments: dict[str, Any]
    if isinstance(action, Update):
        reference = _require_reference(action.message)
        arguments = {"channel": reference.channel, "ts": reference.ts, "text": message.text}
        # An empty list of blocks removes the previous ones. Only chat.update turns plain URLs and names into
        # links and mentions by default.
        return "chat.update", {**arguments, "blocks": list(message.blocks), "parse": "none"}
    arguments = {
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
    if isinstance(action, Reply) and is_in_thread:
        arguments["thread_ts"] = _require_reference(action.message).ts
    return "chat.postMessage", arguments


def _require_reference(text: str) -> MessageReference:
    """Return the message to edit or reply to; raises a PermanentDeliveryError for a simulated one."""
    reference = parse_reference(text)
    if reference is None:
        raise PermanentDeliveryError(
            "message_not_found", "the reference is none of Slack's", kind=RefusalKind.MESSAGE_GONE
        )
    return reference


def _log_failure(event: str, notification: Notification, error: DeliveryError, **more: str) -> None:
    subject = notification.subject
    fields = {subject.kind: subject.id, "key": notification.action.key}
    fields |= {"reason": error.reason, "detail": error.detail}
    logger.warning(event, extra={"fields": {**fields, **more}})


@dataclass(frozen=True)
class SimulatedSlack:
    """Replaces SlackChannel if there is no token: records messages and returns simulated receipts."""

    record_message: Callable[[Mapping[str, object]], None]
    clock: Callable[[], float] = real_clock.now

    def send(self, notification: Notification) -> Receipt:
        """Record the message that would have been sent; an edit keeps the message's reference."""
        action, subject = notification.action, notification.subject
        message = render_notification(notification)
        simulated = f"simulated:{subject.id}:{action.key}"
        reference = action.message if isinstance(action, Update) else simulated
        at = self.clock()
        entry = {
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
        self.record_message(entry)
        return Receipt(at, reference, is_simulated=True)

    def find_receipt(self, notification: Notification) -> Receipt | None:  # noqa: ARG002  # protocol
        """Return None: recording a message twice is harmless."""
        return None

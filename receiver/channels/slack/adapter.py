"""The Slack channel: sends what is rendered, once for each call, and finds what was sent before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from slack_sdk.errors import SlackObjectFormationError

from receiver import clock as real_clock
from receiver.channels.slack.address_book import AddressBook
from receiver.channels.slack.client import Client, items, next_cursor
from receiver.channels.slack.directory import Directory
from receiver.channels.slack.errors import REFUSED_FORMATS
from receiver.channels.slack.message import Message, Rung
from receiver.channels.slack.metadata import has_mark, mark
from receiver.channels.slack.references import Reference, parse_reference, permalink
from receiver.channels.slack.render import render
from receiver.domain.action import Post, Reply, Update
from receiver.domain.delivery import Receipt
from receiver.domain.notification import Notification
from receiver.errors import DeliveryError, PermanentDeliveryError, TemporaryDeliveryError
from receiver.text import Secret, one_line

LogEvent = Callable[[str, Mapping[str, object]], None]

_LOG = logging.getLogger(__name__)
# Clocks of ours and Slack's differ; looking back too far finds nothing wrong, as marks are exact.
_CLOCK_SLACK_S = 60.0
# Few messages come between an attempt and the look for it.
_HISTORY_PAGES = 3
_HISTORY_SIZE = 200


def _log(event: str, fields: Mapping[str, object]) -> None:
    _LOG.warning(event, extra={"fields": dict(fields)})


class SlackChannel:
    """Reaches Slack's channels. Threads may share one; it never sleeps and never tries twice."""

    def __init__(
        self,
        token: Secret,
        base_url: str = "https://slack.com/api/",
        timeout_s: float = 10.0,
        log_event: LogEvent = _log,
        clock: Callable[[], float] = real_clock.now,
    ) -> None:
        self._client = Client(token, base_url, timeout_s)
        self._directory = Directory(self._client, clock)
        self._address_book = AddressBook(self._client, clock)
        self._log_event = log_event
        self._clock = clock

    def send(self, notification: Notification) -> Receipt:
        """Post, edit or reply; return the receipt with the reference `CHANNEL:TS`.

        Formatting that Slack refuses is given up rung by rung within this one call, and the
        receipt's note says so. Raises a DeliveryError for anything else.
        """
        notification = self._address_book.introduce(notification)
        for rung in Rung:
            try:
                answer = self._deliver(notification, render(notification, rung))
            except (PermanentDeliveryError, SlackObjectFormationError) as error:
                if not self._may_go_down(notification, rung, error):
                    raise
            else:
                return self._receipt(notification, answer, rung)
        raise PermanentDeliveryError("invalid_blocks")

    def find(self, notification: Notification, since: float) -> Receipt | None:
        """Return the receipt of a post or reply tried since *since* that did arrive.

        An edit is never looked for: repeating it is harmless. None also where Slack won't
        tell (a scope is missing, it is away): then it is sent again.
        """
        try:
            found = self._find(notification, since - _CLOCK_SLACK_S)
            return self._receipt(notification, found, Rung.FULL) if found is not None else None
        except DeliveryError as error:
            self._log_event("slack could not be searched", _about(notification, error))
            return None

    def _deliver(self, notification: Notification, message: Message) -> dict[str, Any]:
        action = notification.action
        if isinstance(action, Update):
            reference = _reference(action.message)
            words = {"text": message.text, "blocks": list(message.blocks)}
            where = {"channel": reference.channel, "ts": reference.ts}
            # The default of chat.update alone is to make links and mentions of plain names.
            return self._client.post("chat.update", {**where, **words, "parse": "none"})
        return self._client.post("chat.postMessage", _post_arguments(notification, message))

    def _may_go_down(
        self,
        notification: Notification,
        rung: Rung,
        error: PermanentDeliveryError | SlackObjectFormationError,
    ) -> bool:
        """Tell whether a lower rung may pass, and log what was refused and where in it."""
        refused = not isinstance(error, DeliveryError) or error.reason in REFUSED_FORMATS
        if refused:
            fields = {**_about(notification, error), "rung": rung.name.lower()}
            self._log_event("slack refused the formatting", fields)
        return refused and rung is not Rung.PLAIN

    def _receipt(self, notification: Notification, answer: Mapping[str, Any], rung: Rung) -> Receipt:
        at = self._clock()
        reference = parse_reference(f"{answer.get('channel')}:{answer.get('ts')}")
        if reference is None:
            raise TemporaryDeliveryError("odd_answer", "no channel or ts", maybe_sent=True)
        action, thread_ts = notification.action, ""
        if isinstance(action, Reply):
            thread_ts = _reference(action.message).ts
        else:
            self._directory.learn(action.target.address, reference.channel)
        link = permalink(self._directory.find_team_url(), reference, thread_ts)
        note = "" if rung is Rung.FULL else f"Slack refused the formatting: sent as {rung.name.lower()}"
        return Receipt(at, str(reference), link=link, note=note)

    def _find(self, notification: Notification, oldest: float) -> dict[str, Any] | None:
        action = notification.action
        arguments: dict[str, Any] = {"oldest": f"{oldest:.6f}", "limit": _HISTORY_SIZE}
        if isinstance(action, Reply):
            thread = _reference(action.message)
            arguments |= {"channel": thread.channel, "ts": thread.ts}
            return self._search("conversations.replies", arguments, notification)
        if not isinstance(action, Post):
            return None
        channel = self._directory.find_channel(action.target.address)
        if channel is None:
            return None
        return self._search("conversations.history", {**arguments, "channel": channel}, notification)

    def _search(
        self, method: str, arguments: dict[str, Any], notification: Notification
    ) -> dict[str, Any] | None:
        """Return channel and ts of the notification's own message among the latest; None if absent."""
        arguments = {**arguments, "include_all_metadata": True}
        for _ in range(_HISTORY_PAGES):
            page = self._client.get(method, arguments)
            for message in items(page, "messages"):
                if has_mark(message, notification):
                    return {"channel": arguments["channel"], "ts": message.get("ts")}
            arguments["cursor"] = next_cursor(page)
            if not arguments["cursor"]:
                return None
        return None


def _post_arguments(notification: Notification, message: Message) -> dict[str, Any]:
    action = notification.action
    arguments: dict[str, Any] = {
        "channel": action.target.address,
        "text": message.text,
        "parse": "none",
        "metadata": mark(notification),
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if message.blocks:
        arguments["blocks"] = list(message.blocks)
    if message.links_names:
        arguments["link_names"] = True
    if isinstance(action, Reply):
        thread = _reference(action.message)
        arguments |= {"channel": thread.channel, "thread_ts": thread.ts}
    return arguments


def _reference(text: str) -> Reference:
    """Return the message to edit or reply to; one that was only simulated is none in Slack."""
    reference = parse_reference(text)
    if reference is None:
        raise PermanentDeliveryError("message_not_found", "the reference is none of Slack's")
    return reference


def _about(notification: Notification, error: Exception) -> dict[str, object]:
    about: dict[str, object] = {"incident": notification.incident.id, "key": notification.action.key}
    if isinstance(error, DeliveryError):
        return {**about, "reason": error.reason, "detail": error.detail}
    return {**about, "reason": "render_failed", "detail": one_line(str(error), 500)}

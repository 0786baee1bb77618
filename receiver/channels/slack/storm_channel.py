"""Storms in Slack: posted, found again after a crash, edited, and replied to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from slack_sdk.errors import SlackObjectFormationError

from receiver import clock as real_clock
from receiver.channels.slack.address_book import AddressBook
from receiver.channels.slack.client import Client
from receiver.channels.slack.directory import Directory
from receiver.channels.slack.errors import REFUSED_FORMATS
from receiver.channels.slack.history import find_ts
from receiver.channels.slack.message import Message, Rung
from receiver.channels.slack.references import Reference, parse_reference, permalink
from receiver.channels.slack.storm import render_storm
from receiver.domain.action import Reply, Update
from receiver.domain.delivery import Receipt
from receiver.domain.storm_ports import StormNotification
from receiver.errors import DeliveryError, PermanentDeliveryError, TemporaryDeliveryError
from receiver.text import Secret, one_line

Record = Callable[[Mapping[str, object]], None]

EVENT_TYPE = "storm"
_LOG = logging.getLogger(__name__)
# Clocks of ours and Slack's differ; looking back too far finds nothing wrong, as marks are exact.
_CLOCK_SLACK_S = 60.0


class SlackStorms:
    """Says in Slack what a storm has to say, once for each call; never sleeps. Threads may share one."""

    def __init__(
        self,
        token: Secret,
        base_url: str = "https://slack.com/api/",
        timeout_s: float = 10.0,
        clock: Callable[[], float] = real_clock.now,
    ) -> None:
        self._client = Client(token, base_url, timeout_s)
        self._directory = Directory(self._client, clock)
        self._address_book = AddressBook(self._client, clock)
        self._clock = clock

    def send_storm(self, notification: StormNotification) -> Receipt:
        """Post, edit or reply; return the receipt with the reference `CHANNEL:TS`.

        Formatting that Slack refuses is given up within this one call, and the receipt's note says so.
        Raises a DeliveryError for anything else.
        """
        notification = self._introduce(notification)
        method, where = _where(notification)
        for rung in (Rung.FULL, Rung.PLAIN):
            try:
                content = _content(render_storm(notification, rung), is_edit=method == "chat.update")
                answer = self._client.post(method, {**where, **content})
            except (PermanentDeliveryError, SlackObjectFormationError) as error:
                if isinstance(error, DeliveryError) and error.reason not in REFUSED_FORMATS:
                    raise
                _warn("slack refused the formatting", notification, error)
            else:
                note = "" if rung is Rung.FULL else "Slack refused the formatting: sent as plain"
                return self._receipt(notification, answer, note)
        raise PermanentDeliveryError("invalid_blocks")

    def find_storm(self, notification: StormNotification, since: float) -> Receipt | None:
        """Return the receipt of a post or reply tried since *since* that did arrive.

        None for an edit, which may be repeated, and where Slack won't tell: then it is sent again.
        """
        action = notification.action
        if isinstance(action, Update):
            return None
        where: dict[str, Any] = {"oldest": f"{since - _CLOCK_SLACK_S:.6f}"}
        try:
            if isinstance(action, Reply):
                thread = _reference(action.message)
                method, where = "conversations.replies", {**where, "channel": thread.channel, "ts": thread.ts}
            else:
                channel = self._directory.find_channel(action.target.address)
                if channel is None:
                    return None
                method, where = "conversations.history", {**where, "channel": channel}
            expected = mark(notification)
            ts = find_ts(self._client, method, where, lambda found: found.get("metadata") == expected)
            return self._receipt(notification, {"channel": where["channel"], "ts": ts}) if ts else None
        except DeliveryError as error:
            _warn("slack could not be searched", notification, error)
            return None

    def _introduce(self, notification: StormNotification) -> StormNotification:
        """Return a step's reply with the ID of whom it names, as far as Slack tells it."""
        action = notification.action
        if not isinstance(action, Reply) or action.step is None:
            return notification
        responder = self._address_book.introduce_responder(action.step.responder)
        return replace(notification, action=replace(action, step=replace(action.step, responder=responder)))

    def _receipt(self, notification: StormNotification, answer: Mapping[str, Any], note: str = "") -> Receipt:
        at, action = self._clock(), notification.action
        reference = parse_reference(f"{answer.get('channel')}:{answer.get('ts')}")
        if reference is None:
            raise TemporaryDeliveryError("odd_answer", "no channel or ts", maybe_sent=True)
        thread_ts = _reference(action.message).ts if isinstance(action, Reply) else ""
        if not thread_ts:
            self._directory.learn(action.target.address, reference.channel)
        link = permalink(self._directory.find_team_url(), reference, thread_ts)
        return Receipt(at, str(reference), link=link, note=note)


class SimulatedStorms:
    """Stands in for SlackStorms without a token: what would have been sent is handed to a recorder."""

    def __init__(self, record: Record, clock: Callable[[], float] = real_clock.now) -> None:
        self._record = record
        self._clock = clock

    def send_storm(self, notification: StormNotification) -> Receipt:
        """Record what Slack would have been sent; an edit keeps the message's reference."""
        action, message = notification.action, render_storm(notification)
        reference = f"simulated:{notification.storm.id}:{action.key}"
        if isinstance(action, Update):
            reference = action.message
        at = self._clock()
        self._record(
            {
                "at": at,
                "incident": "",
                "storm": notification.storm.id,
                "to": f"slack:{action.target.address}",
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

    def find_storm(self, notification: StormNotification, since: float) -> Receipt | None:  # noqa: ARG002  # the port's
        """Return None: what was recorded twice does no harm."""
        return None


def mark(notification: StormNotification) -> dict[str, Any]:
    """Return the metadata by which a storm's message or reply is found again after a crash."""
    action = notification.action
    payload = {"storm": notification.storm.id, "key": action.key, "about": action.about}
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def _where(notification: StormNotification) -> tuple[str, dict[str, Any]]:
    """Return the method of Slack's, and where it is to act."""
    action = notification.action
    if isinstance(action, Update):
        reference = _reference(action.message)
        return "chat.update", {"channel": reference.channel, "ts": reference.ts}
    where: dict[str, Any] = {
        "channel": action.target.address,
        "metadata": mark(notification),
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if isinstance(action, Reply):
        thread = _reference(action.message)
        where |= {"channel": thread.channel, "thread_ts": thread.ts}
    return "chat.postMessage", where


def _reference(text: str) -> Reference:
    reference = parse_reference(text)
    if reference is None:
        raise PermanentDeliveryError("message_not_found", "the reference is none of Slack's")
    return reference


def _content(message: Message, *, is_edit: bool) -> dict[str, Any]:
    """Return the words as Slack takes them; in an edit an empty list takes away the blocks of before."""
    content: dict[str, Any] = {"text": message.text, "parse": "none"}
    if message.links_names:
        content["link_names"] = True
    return {**content, "blocks": list(message.blocks)} if message.blocks or is_edit else content


def _warn(event: str, notification: StormNotification, error: Exception) -> None:
    fields: dict[str, object] = {"storm": notification.storm.id, "error": one_line(str(error), 500)}
    _LOG.warning(event, extra={"fields": fields})

"""Storms in Slack: posted, found again after a crash, edited, and replied to."""

from __future__ import annotations

import dataclasses
from functools import partial

from receiver.channels.slack.address_book import UserDirectory
from receiver.channels.slack.poster import MessageMetadata, MessagePoster
from receiver.channels.slack.storm import render_storm
from receiver.model.actions import Reply, Update
from receiver.model.delivery import Receipt
from receiver.storms.model import StormNotification


class SlackStorms:
    """Says by a *poster* what a storm has to say, once for each call. Threads may share one.

    With an *address_book* whom a step names is mentioned. Raises DeliveryErrors.
    """

    def __init__(self, poster: MessagePoster, address_book: UserDirectory | None = None) -> None:
        self._poster = poster
        self._address_book = address_book

    def send_storm(self, notification: StormNotification) -> Receipt:
        """Post, edit or reply; return the receipt with its reference."""
        notification = self._resolve_mentions(notification)
        action, render = notification.action, partial(render_storm, notification)
        channel, metadata = action.target.address, metadata_for(notification)
        if isinstance(action, Update):
            return self._poster.edit_message(metadata, channel, render, action.message)
        return self._poster.post_message(metadata, channel, render, _thread(notification))

    def find_storm(self, notification: StormNotification, since: float) -> Receipt | None:
        """Return the receipt of a post or reply tried since *since* that did arrive, as far as that can be
        told; None for an edit, which may be repeated.
        """
        action = notification.action
        if isinstance(action, Update):
            return None
        return self._poster.find_receipt(
            metadata_for(notification), action.target.address, since, _thread(notification)
        )

    def _resolve_mentions(self, notification: StormNotification) -> StormNotification:
        """Return a step's reply with the ID of whom it names, as far as Slack tells it."""
        action = notification.action
        if self._address_book is None or not isinstance(action, Reply) or action.step is None:
            return notification
        responder = self._address_book.resolve_responder(action.step.responder)
        return dataclasses.replace(
            notification,
            action=dataclasses.replace(action, step=dataclasses.replace(action.step, responder=responder)),
        )


def metadata_for(notification: StormNotification) -> MessageMetadata:
    """Return what a storm's message or reply is known by."""
    action = notification.action
    more = {"key": action.key, "about": action.instance}
    return MessageMetadata("storm", notification.storm.id, action.key, more)


def _thread(notification: StormNotification) -> str:
    action = notification.action
    return action.message if isinstance(action, Reply) else ""

"""Slack without a token: what would have been sent is handed to a recorder, and marked so."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from receiver import clock as real_clock
from receiver.channels.slack.render import render_message
from receiver.engine.notification import Notification
from receiver.model.actions import Reply, Update
from receiver.model.delivery import Receipt

Record = Callable[[Mapping[str, object]], None]


class SimulatedSlack:
    """Stands in for SlackChannel; nothing leaves the house, and every receipt says so."""

    def __init__(self, record: Record, clock: Callable[[], float] = real_clock.now) -> None:
        self._record = record
        self._clock = clock

    def send(self, notification: Notification) -> Receipt:
        """Record what Slack would have been sent; an edit keeps the message's reference."""
        action, message = notification.action, render_message(notification)
        reference = f"simulated:{notification.incident.id}:{action.key}"
        if isinstance(action, Update):
            reference = action.message
        at = self._clock()
        self._record(
            {
                "at": at,
                "incident": notification.incident.id,
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

    def find_receipt(self, notification: Notification, since: float) -> Receipt | None:  # noqa: ARG002  # the port's
        """Return None: what was recorded twice does no harm."""
        return None

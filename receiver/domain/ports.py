"""What the engine needs from the rooms around it."""

from __future__ import annotations

from typing import Protocol

from receiver.domain.alert import Alert
from receiver.domain.delivery import Receipt
from receiver.domain.notification import Notification
from receiver.domain.runbook import Excerpt


class Channel(Protocol):
    """Reaches targets of one kind."""

    def send(self, notification: Notification) -> Receipt:
        """Deliver and return the receipt; raises a DeliveryError. Never sleeps to retry."""
        ...

    def find(self, notification: Notification, since: float) -> Receipt | None:
        """Return the receipt of an earlier attempt (begun at *since*) that did arrive, if any.

        None when it did not, or when that can't be told; then it is sent (again).
        """
        ...


class Runbooks(Protocol):
    """Finds the runbook's words for an alert."""

    def find_excerpt(self, alert: Alert) -> Excerpt | None: ...

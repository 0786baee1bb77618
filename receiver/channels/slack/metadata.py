"""The mark every message of ours carries, by which it is found again after a crash."""

from __future__ import annotations

from typing import Any

from receiver.engine.notification import Notification
from receiver.model.actions import Reply

EVENT_TYPE = "incident"


def metadata_for(notification: Notification) -> dict[str, Any]:
    """Return the metadata for the notification's message.

    A reply is also told by what it shows: later ones of its key tell of later alerts. A message
    that is edited anyhow is the same whatever it showed first.
    """
    action = notification.action
    payload = {"incident": notification.incident.id, "key": action.key, "about": action.instance}
    if isinstance(action, Reply):
        payload["shown"] = action.content_version
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def matches_metadata(message: Any, notification: Notification) -> bool:
    """Tell whether *message*, as Slack gives it back, is the notification's."""
    return isinstance(message, dict) and message.get("metadata") == metadata_for(notification)

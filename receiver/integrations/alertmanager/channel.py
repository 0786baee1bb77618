"""Creating and expiring silences in Alertmanager; a mark at the end of the comment identifies ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from receiver.engine.notification import Notification
from receiver.errors import DeliveryError, PermanentDeliveryError
from receiver.integrations.alertmanager.client import AlertmanagerClient
from receiver.integrations.alertmanager.status import RemoteSilence
from receiver.model.actions import CreateSilence, ExpireSilence
from receiver.model.delivery import Receipt
from receiver.model.delivery_keys import parse_silence_number
from receiver.text import clean_text, one_line, truncate_text

# Alertmanager starts a silence whose start is in the past at once. Without this margin the silence would
# start late when our clock is ahead.
_CLOCK_SLACK_S = 600.0
# Alertmanager may store the end in whole milliseconds.
_SAME_END_S = 1.0
_MAX_NAME = 200
_MAX_COMMENT = 2_000


@dataclass(frozen=True)
class AlertmanagerChannel:
    """Creates and expires silences. *clients* are the clients by source, "" for any other source."""

    clients: Mapping[str, AlertmanagerClient]
    clock: Callable[[], float]

    def send(self, notification: Notification) -> Receipt:
        """Create, extend or expire the silence once; the receipt's reference is its ID.

        Raises a DeliveryError: the permanent `no_alertmanager` if the incident's source has no client.
        """
        action = notification.action
        if not isinstance(action, CreateSilence | ExpireSilence):
            raise PermanentDeliveryError("not_for_alertmanager", type(action).__name__)
        client = self._get_client(notification)
        if isinstance(action, CreateSilence):
            return Receipt(self.clock(), _make_silence(client, action, notification, self.clock()))
        return Receipt(self.clock(), _expire_silence(client, action, notification))

    def find_receipt(self, notification: Notification) -> Receipt | None:
        """Return the receipt if the silence was created or extended although the response was lost.

        Expiring needs no lookup: it is harmless the second time. Raises a DeliveryError when no replica
        answers: a second silence could outlive the first.
        """
        action = notification.action
        if not isinstance(action, CreateSilence):
            return None
        active = _list_own_silences(self._get_client(notification), notification)
        found = [silence for silence in active if silence.ends_at >= action.ends_at - _SAME_END_S]
        return Receipt(self.clock(), found[-1].id) if found else None

    def _get_client(self, notification: Notification) -> AlertmanagerClient:
        client = self.clients.get(notification.action.target.address) or self.clients.get("")
        if client is None:
            raise PermanentDeliveryError("no_alertmanager", "set alertmanager.url in routing.yaml")
        return client


def _make_silence(
    client: AlertmanagerClient, action: CreateSilence, notification: Notification, now: float
) -> str:
    silence_id = action.silence_id
    if silence_id:
        active = [silence.id for silence in _list_own_silences(client, notification)]
        # Alertmanager assigns a new ID to a silence that it had lost or cannot change in place.
        silence_id = silence_id if silence_id in active or not active else active[-1]
    mark = _build_mark(notification)
    comment = truncate_text(clean_text(action.comment).replace(mark, "").strip(), _MAX_COMMENT)
    return client.make_silence(
        dict(action.matchers),
        now - _CLOCK_SLACK_S,
        action.ends_at,
        by=one_line(action.by, _MAX_NAME) or "receiver",
        comment=f"{comment} {mark}".strip(),
        silence_id=silence_id,
    )


def _expire_silence(client: AlertmanagerClient, action: ExpireSilence, notification: Notification) -> str:
    """Expire the silence, and others with the same mark: created twice, or given a new ID when extended."""
    if action.silence_id:
        client.expire_silence(action.silence_id)
    try:
        others = _list_own_silences(client, notification)
    except DeliveryError:
        if not action.silence_id:
            raise
        others = []  # the requested silence is expired
    for other in others:
        if other.id != action.silence_id:
            client.expire_silence(other.id)
    return action.silence_id


def _list_own_silences(client: AlertmanagerClient, notification: Notification) -> list[RemoteSilence]:
    """Return the silences created for this action; the mark counts only at the end of a comment."""
    mark = _build_mark(notification)
    return [one for one in client.list_silences(mark) if one.comment.rstrip().endswith(mark)]


def _build_mark(notification: Notification) -> str:
    return f"[receiver {notification.subject.id}#{parse_silence_number(notification.action.key)}]"

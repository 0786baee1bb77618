"""Silences in Alertmanager: one wish for each call, known again by the mark at its comment's end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from receiver import clock as wall
from receiver.engine.notification import Notification
from receiver.errors import DeliveryError, PermanentDeliveryError
from receiver.integrations.alertmanager.status import RemoteSilence
from receiver.model.actions import CreateSilence, ExpireSilence
from receiver.model.delivery import Receipt
from receiver.text import clean_text, one_line, truncate_text

# Alertmanager takes a start in the past for now; by a clock of ours that is ahead, the silence would
# begin late.
_CLOCK_SLACK_S = 600.0
# Alertmanager may keep an end in whole milliseconds.
_SAME_END_S = 1.0
_MAX_NAME = 200
_MAX_COMMENT = 2_000


class SilenceApi(Protocol):
    """One cluster's silences. Each raises a DeliveryError when it can't be done or told."""

    def make_silence(
        self,
        matchers: Mapping[str, str],
        starts_at: float,
        ends_at: float,
        *,
        by: str,
        comment: str,
        silence_id: str = "",
    ) -> str:
        """Make it, or give *silence_id* another end; return its id."""
        ...

    def expire_silence(self, silence_id: str) -> None:
        """End it; harmless the second time."""
        ...

    def list_silences(self, mark: str) -> Sequence[RemoteSilence]:
        """Return those, pending or active, with *mark* in their comment."""
        ...


class AlertmanagerChannel:
    """Makes and ends silences. *clients* are the Alertmanagers by source, "" for any other source."""

    def __init__(self, clients: Mapping[str, SilenceApi], clock: Callable[[], float] = wall.now) -> None:
        self._clients = clients
        self._clock = clock

    def send(self, notification: Notification) -> Receipt:
        """Make, prolong or end the silence once; the receipt's reference is its id.

        Raises a DeliveryError: `no_alertmanager` for good where the incident's source has none.
        """
        action, client = notification.action, self._get_client(notification)
        match action:
            case CreateSilence():
                reference = _make_silence(client, action, notification)
            case ExpireSilence():
                reference = _expire_silence(client, action, notification)
            case _:
                raise PermanentDeliveryError("not_for_alertmanager", type(action).__name__)
        return Receipt(self._clock(), reference)

    def find_receipt(self, notification: Notification, since: float) -> Receipt | None:  # noqa: ARG002
        """Return the receipt of a silence that was made, or prolonged so far, though nobody said so.

        Ending one is never looked for: it is harmless the second time. Raises a DeliveryError when
        nobody can be asked: a silence made twice would outlive its end.
        """
        action = notification.action
        if not isinstance(action, CreateSilence):
            return None
        active = _list_own_silences(self._get_client(notification), notification)
        found = [silence for silence in active if silence.ends_at >= action.ends_at - _SAME_END_S]
        return Receipt(self._clock(), found[-1].id) if found else None

    def _get_client(self, notification: Notification) -> SilenceApi:
        client = self._clients.get(notification.incident.source) or self._clients.get("")
        if client is None:
            raise PermanentDeliveryError("no_alertmanager", "set alertmanager.url in routing.yaml")
        return client


def _make_silence(client: SilenceApi, action: CreateSilence, notification: Notification) -> str:
    silence_id = action.silence_id
    if silence_id:
        active = [silence.id for silence in _list_own_silences(client, notification)]
        # Alertmanager gives a new id to what it had lost, and when it can't just change a silence.
        silence_id = silence_id if silence_id in active or not active else active[-1]
    return client.make_silence(
        dict(action.matchers),
        notification.now - _CLOCK_SLACK_S,
        action.ends_at,
        by=one_line(action.by, _MAX_NAME) or "receiver",
        comment=_render_comment(action.comment, _build_mark(notification)),
        silence_id=silence_id,
    )


def _expire_silence(client: SilenceApi, action: ExpireSilence, notification: Notification) -> str:
    """End the silence, and any other of the same mark: made twice, or with a new id on prolonging.

    Without an id, of a silence that may have been made, it is the mark alone that tells.
    """
    if action.silence_id:
        client.expire_silence(action.silence_id)
    try:
        others = _list_own_silences(client, notification)
    except DeliveryError:
        if not action.silence_id:
            raise
        others = []  # what was asked for is done
    for other in others:
        if other.id != action.silence_id:
            client.expire_silence(other.id)
    return action.silence_id


def _list_own_silences(client: SilenceApi, notification: Notification) -> list[RemoteSilence]:
    """Return the silences made for this wish; a mark inside of a comment is only somebody's words."""
    mark = _build_mark(notification)
    return [one for one in client.list_silences(mark) if one.comment.rstrip().endswith(mark)]


def _build_mark(notification: Notification) -> str:
    """Return what tells our silence from all others; the number is the last part of the action's key."""
    number = notification.action.key.rpartition(":")[2]
    return f"[receiver {notification.incident.id}#{number}]"


def _render_comment(comment: str, mark: str) -> str:
    """Return *comment* within bounds, the mark at its end, once."""
    text = clean_text(comment).replace(mark, "").strip()
    return f"{truncate_text(text, _MAX_COMMENT)} {mark}".strip()

"""PagerDuty's routing keys by their digest: those of the configuration, and those that it had before.

An incident keeps the digest of the key under which a page was sent, never the key. PagerDuty joins and ends
events of one routing key only, so what follows on a page must go under its key, also after a reload that
changed the key or removed the responder.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.model.actions import AcknowledgePage, Page, ResolvePage
from receiver.model.delivery import Delivery
from receiver.model.routing import PAGERDUTY, Responder
from receiver.text import Secret

PagerAction = TypeVar("PagerAction", bound=Page | AcknowledgePage | ResolvePage)
KEY_UNKNOWN = "key_unknown"
KEY_GONE = "key_gone"
# A worker that lacks a key leaves the event to others for so long: one that ran before the reload has it.
_KEY_WAIT_S = 30.0
_ASK_AGAIN_S = 1.0
# More former keys than any reload leaves behind; the oldest go first.
_MAX_KEYS = 1000


class RoutingKeys:
    """The keys a process knows; it lives as long as the process, and threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, Secret] = {}

    def remember_keys(self, responders: Iterable[Responder]) -> None:
        """Add the keys of *responders* to those known."""
        with self._lock:
            for responder in responders:
                target = responder.find_target(PAGERDUTY)
                if target is not None and target.secret:
                    self._keys.pop(target.secret.digest, None)
                    self._keys[target.secret.digest] = target.secret
            for digest in list(self._keys)[:-_MAX_KEYS]:
                del self._keys[digest]

    def add_routing_key(self, action: PagerAction, attempt: Delivery, now: float) -> PagerAction:
        """Return *action* with the key it must go out under; without a digest it is simulated.

        Raises TemporaryDeliveryError while another worker may have the key, PermanentDeliveryError once
        *attempt* has waited for one for 30 s.
        """
        if not action.key_digest:
            return action
        with self._lock:
            secret = self._keys.get(action.key_digest)
        if secret is not None:
            return replace(action, target=replace(action.target, secret=secret))
        if now - attempt.first_attempt_at < _KEY_WAIT_S:
            detail = "this worker lacks the routing key under which the page was sent"
            raise TemporaryDeliveryError(KEY_UNKNOWN, detail, retry_after=_ASK_AGAIN_S)
        detail = "no worker has the routing key under which the page was sent; it left the configuration"
        raise PermanentDeliveryError(KEY_GONE, detail)

"""PagerDuty's routing keys by digest: those of the configuration, and those of former configurations.

An incident stores the digest of the key with which a page was sent, never the key. PagerDuty deduplicates and
resolves events within one routing key only. So the acknowledge and resolve of a page must be sent with its
key, also after a reload that changed the key or removed the responder.
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
# A worker without the key retries for this long: a worker that ran before the reload may send the event.
_KEY_WAIT_S = 30.0
_ASK_AGAIN_S = 1.0
# More former keys than any number of reloads leaves behind; the oldest are dropped first.
_MAX_KEYS = 1000


class RoutingKeys:
    """The routing keys that a process knows, in memory for the life of the process. Thread-safe."""

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
        """Return *action* with the routing key of its digest; an action without a digest is simulated.

        If this process does not have the key, raises TemporaryDeliveryError for the first 30 s of *attempt*,
        since another worker may have it, then PermanentDeliveryError.
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

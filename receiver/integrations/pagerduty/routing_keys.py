"""PagerDuty's routing keys by digest: those of the configuration, and those of former configurations.

An incident stores the digest of a page's key, never the key. PagerDuty finds a page within its routing key
only: it is acknowledged and resolved with the key it was sent with, also after a reload that removed the key.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from receiver.engine.notification import Notification
from receiver.errors import PermanentDeliveryError, TemporaryDeliveryError
from receiver.model.actions import PageEvent
from receiver.model.routing import PAGERDUTY, Responder
from receiver.text import Secret

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

    def find_routing_key(self, notification: Notification, now: float) -> Secret:
        """Return the key whose digest the action of *notification* names; empty for an action without one.

        If this process does not have the key, raises TemporaryDeliveryError for 30 s from the first attempt,
        since another worker may have it, then PermanentDeliveryError.
        """
        action = notification.action
        if not isinstance(action, PageEvent) or not action.key_digest:
            return action.target.secret
        with self._lock:
            secret = self._keys.get(action.key_digest)
        if secret is not None:
            return secret
        # A clock that was set back must not stretch the wait.
        if abs(now - notification.first_attempt_at) < _KEY_WAIT_S:
            detail = "this worker lacks the routing key under which the page was sent"
            raise TemporaryDeliveryError("key_unknown", detail, retry_after=_ASK_AGAIN_S)
        detail = "no worker has the routing key under which the page was sent; it left the configuration"
        raise PermanentDeliveryError("key_gone", detail)

"""Putting a notice of webhooks that were refused, since Alertmanager drops them: seldom, and never while it
waits.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from receiver.engine.ports import Notices
from receiver.errors import StoreError
from receiver.text import one_line

logger = logging.getLogger(__name__)

NOTICE_EVERY_S = 3600.0
# Between two times that this process tells the store what it has refused since.
_SAVE_EVERY_S = 10.0


class RejectedWebhooks:
    """Counts webhooks that are lost in one way, *topic*, and puts a notice of the first in each hour."""

    def __init__(self, notices: Notices, clock: Callable[[], float], topic: str = "webhooks refused") -> None:
        self._notices = notices
        self._clock = clock
        self._topic = topic
        self._lock = threading.Lock()
        self._is_saving = False
        self._saved_at = 0.0
        self._count = 0

    def record_rejection(self, reason: str, sender: str) -> None:
        """Count a webhook that was refused; returns at once, and never fails.

        The store is told by a thread, one at a time: it may be away, and the answer must not wait.
        """
        now = self._clock()
        with self._lock:
            self._count += 1
            if self._is_saving or abs(now - self._saved_at) < _SAVE_EVERY_S:
                return
            self._is_saving, count, self._count = True, self._count, 0
        who, why = one_line(sender, 60), one_line(reason, 200)
        text = f"A webhook from {who} was refused, and its alerts are lost: {why}"
        thread = threading.Thread(
            target=self._save_notice, args=(text, now, count), name="lost-alerts", daemon=True
        )
        thread.start()

    def _save_notice(self, text: str, now: float, count: int) -> None:
        try:
            self._notices.save_notice(
                self._topic, text, now, about=self._topic, every=NOTICE_EVERY_S, count=count
            )
        except StoreError as error:
            fields = {"error": str(error)}
            logger.warning("redis unavailable", extra={"fields": fields, "state": "lost alerts"})
            with self._lock:
                self._count += count
        else:
            self._saved_at = now
        finally:
            with self._lock:
                self._is_saving = False

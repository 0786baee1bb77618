"""Sending again by itself what was refused for credentials that have changed since."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from receiver.domain.failure import Failure, has_new_credentials, retry_with_new_credentials
from receiver.model.delivery import Delivery
from receiver.model.incident import TimelineEvent

logger = logging.getLogger(__name__)

TASK_NAME = "refused"
# A reload begins the duty at once. Another host may not have reloaded yet when it runs it, so it is repeated.
_EVERY_S = 30.0
_PAGE = 200
_PAGES = 50


class FailureList(Protocol):
    @property
    def failures(self) -> tuple[Failure, ...]: ...
    @property
    def next_cursor(self) -> str | None: ...


class Failures(Protocol):
    """Where deliveries given up are listed; both raise StoreError."""

    def list_failures(self, limit: int, cursor: str = "") -> FailureList: ...
    def retry_delivery(self, failure: Failure, again: Delivery, event: TimelineEvent, now: float) -> bool: ...


class RefusedDeliveries:
    """Compares each delivery that was refused for its credentials with those of now.

    *digests* are those of the configuration's secrets by target. What a worker sends again and is
    refused again keeps the new digest, so each secret is tried once.
    """

    def __init__(self, failures: Failures, digests: Mapping[str, str]) -> None:
        self._failures = failures
        self._digests = digests

    def run(self, now: float) -> float:
        """Have what another secret may deliver sent again; return when to do so next. Raises StoreError."""
        cursor, count = "", 0
        for _ in range(_PAGES):
            page = self._failures.list_failures(_PAGE, cursor)
            for failure in page.failures:
                if has_new_credentials(failure, self._digests):
                    count += self._failures.retry_delivery(
                        failure, *retry_with_new_credentials(failure, now), now
                    )
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
        if count:
            logger.info("credentials changed: sent again", extra={"fields": {"deliveries": count}})
        return now + _EVERY_S

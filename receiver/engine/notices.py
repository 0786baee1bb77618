"""Posting notices: what is pending in one message, tried until it is said or is no news any more."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Protocol

from msgspec.structs import replace

from receiver import metrics
from receiver.domain.budget import LOW_PRIORITY_OFFSET_S
from receiver.domain.notice import (
    GATHER_S,
    KEPT_FOR_S,
    PAUSE_S,
    Notice,
    NoticeChannel,
    NoticeMessage,
    next_wait_s,
    render_lines,
)
from receiver.engine.turns import RateLimiter
from receiver.errors import DeliveryError, TemporaryDeliveryError
from receiver.model.actions import Post
from receiver.model.routing import Target

logger = logging.getLogger(__name__)

# Whatever is put wakes the duty; this is for a wake-up that got lost.
_IDLE_S = 3600.0
# All that is pending is one message, so it waits as one.
_WAITER = "notices"


class NoticeRepository(Protocol):
    """Where notices are kept."""

    def list_pending(self) -> tuple[dict[str, Notice], int]: ...
    def load_message(self) -> NoticeMessage: ...
    def save_message(self, message: NoticeMessage) -> None: ...
    def complete_message(self, message: NoticeMessage, *, left_out: int = 0) -> None: ...


class NoticeService:
    """Posts what is pending to *target*, by *channel*, when it is its turn there.

    The attempt is noted before it is made, so a crash makes the next one look.
    """

    def __init__(
        self,
        notices: NoticeRepository,
        channel: NoticeChannel,
        clock: Callable[[], float],
        rate_limiter: RateLimiter,
        target: Target,
    ) -> None:
        self._notices = notices
        self._channel = channel
        self._clock = clock
        self._rate_limiter = rate_limiter
        self._action = Post(_WAITER, "", target.kind, target, 0.0, "")

    def run(self, now: float) -> float:
        """Post what is pending, if it is time; return the next moment to call this. Raises StoreError."""
        message = self._notices.load_message()
        if message.next_attempt_at > now:
            return message.next_attempt_at
        pending, left_out = self._drop_old(now)
        if not pending:
            if message.attempts:
                self._notices.complete_message(replace(message, posted_at=0.0))
            return now + _IDLE_S
        wanted_at = next(iter(pending.values())).at
        # One noted by a clock ahead of ours has waited for nobody knows how long: it waits no longer.
        if 0 <= now - wanted_at < GATHER_S and not message.attempts:
            return wanted_at + GATHER_S
        permit = self._rate_limiter.acquire_by_priority(
            self._action, _WAITER, min(wanted_at, now) + LOW_PRIORITY_OFFSET_S, now
        )
        if permit.retry_after_s > 0:
            return now + permit.retry_after_s
        if not message.maybe_sent:  # it can hold what came since
            message = _build_message(message, pending, left_out, now)
        return self._post_message(message, left_out, now)

    def _drop_old(self, now: float) -> tuple[dict[str, Notice], int]:
        """Return what is pending, without what could not be said for a day."""
        pending, left_out = self._notices.list_pending()
        old = tuple(name for name, notice in pending.items() if notice.at < now - KEPT_FOR_S)
        if old:
            metrics.NOTICES.labels("dropped").inc(len(old))
            logger.error("notices dropped", extra={"fields": {"count": len(old)}})
            before = self._notices.load_message()
            self._notices.complete_message(NoticeMessage(names=old, posted_at=before.posted_at))
        return {name: notice for name, notice in pending.items() if name not in old}, left_out

    def _post_message(self, message: NoticeMessage, left_out: int, now: float) -> float:
        was_maybe_sent = message.maybe_sent
        attempt = replace(message, attempts=message.attempts + 1, tried_at=now, retry_at=0.0, maybe_sent=True)
        self._notices.save_message(attempt)
        try:
            found = self._channel.find_notice(attempt) if was_maybe_sent else None
            receipt = found or self._channel.send_notice(attempt)
        except DeliveryError as error:
            return self._postpone(attempt, error, was_maybe_sent=was_maybe_sent)
        outcome = "simulated" if receipt.is_simulated else "delivered"
        metrics.NOTICES.labels(outcome).inc(len(message.names))
        self._notices.complete_message(replace(attempt, posted_at=receipt.at), left_out=left_out)
        return receipt.at + PAUSE_S

    def _postpone(self, attempt: NoticeMessage, error: DeliveryError, *, was_maybe_sent: bool) -> float:
        """Note when to try again: whatever it was, somebody may put it in order within a day."""
        wait, maybe_sent = next_wait_s(attempt.attempts), was_maybe_sent
        if isinstance(error, TemporaryDeliveryError):
            wait, maybe_sent = max(wait, error.retry_after), maybe_sent or error.maybe_sent
        self._rate_limiter.apply_retry_after(self._action, error)
        retry_at = self._clock() + wait
        self._notices.save_message(replace(attempt, retry_at=retry_at, maybe_sent=maybe_sent))
        fields = {"reason": error.reason, "attempts": attempt.attempts, "retry_at": retry_at}
        logger.warning("notices not posted", extra={"fields": fields, "state": error.reason})
        return retry_at


def _build_message(
    message: NoticeMessage, pending: dict[str, Notice], left_out: int, now: float
) -> NoticeMessage:
    """Return the message for all that is pending; attempts to post an earlier form of it count."""
    names = tuple(pending)
    return NoticeMessage(
        id=hashlib.sha256("/".join((*names, str(left_out))).encode()).hexdigest()[:16],
        names=names,
        lines=render_lines(list(pending.values()), left_out),
        attempts=message.attempts,
        began_at=now,
        posted_at=message.posted_at,
    )

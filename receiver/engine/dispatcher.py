"""The dispatcher: saves the attempt, sends through the channel, and saves the receipt or the failure.

What is delivered belongs to a subject, which loads and saves its deliveries: an incident, a storm, a review,
or the pending notices. Whatever follows from an outcome (logs, metrics, notices, channel health, Retry-After)
is the same for all of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from typing import Protocol

from msgspec.structs import replace

from receiver import metrics
from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.notification import Notification
from receiver.engine.ports import Channel, Notices
from receiver.engine.rate_limit import RateLimiter
from receiver.errors import DeliveryError, LeaseLost, TemporaryDeliveryError
from receiver.model.actions import (
    AcknowledgePage,
    CreateSilence,
    DeliveryAction,
    ExpireSilence,
    Page,
    Post,
    Reply,
    ResolvePage,
    Update,
)
from receiver.model.delivery import Delivery, Receipt
from receiver.model.delivery_keys import DeliveryKey
from receiver.model.page_confirmation import is_resolved_too_often, is_unconfirmed
from receiver.model.routing import find_digest

logger = logging.getLogger(__name__)
# A process that was paused for longer may have lost its lease, and its action may be obsolete: it must not
# send. A request to Redis times out earlier, and leases last longer.
_MAX_PAUSE_S = 2.2
_NOUNS: dict[type[DeliveryAction], str] = {
    Page: "Page",
    AcknowledgePage: "Acknowledgement",
    ResolvePage: "Resolve",
    Update: "Edit",
    Reply: "Reply",
    CreateSilence: "Silence",
    ExpireSilence: "Silence",
}


class Subject(Protocol):
    """What deliveries belong to. Every method may raise StoreError."""

    def find_delivery(self, key: DeliveryKey) -> Delivery:
        """Return the delivery as loaded; an empty one where nothing was attempted."""
        ...

    def save_attempt(self, action: DeliveryAction, attempt: Delivery, worker: str) -> bool:
        """Save *attempt* before it is made; False where another worker changed the subject since it was
        loaded. Raises LeaseLost if *worker* no longer holds the lease.
        """
        ...

    def save_outcome(self, action: DeliveryAction, after: Delivery) -> None:
        """Save the delivery with its receipt or its failure."""
        ...


@dataclass(frozen=True, repr=False)
class Dispatcher:
    """Performs actions through the channels. Threads may share it.

    *digests* are those of the configured secrets, by target: a refusal of credentials stores the digest of
    the refused one.
    """

    channels: Mapping[str, Channel]
    rate_limiter: RateLimiter
    health: DeliveryHealthRecorder
    notices: Notices
    digests: Mapping[str, str]
    clock: Callable[[], float]

    def dispatch(self, subject: Subject, notification: Notification, worker: str) -> Delivery | None:
        """Perform the notification's action once; return the delivery as handed to `save_outcome`, or None if
        another worker changed the subject meanwhile. A DeliveryError is saved in the delivery, not raised.

        Raises StoreError if the attempt or its outcome cannot be saved, LeaseLost if *worker* no longer holds
        the lease or was paused for so long that it may have lost it.
        """
        action, began_at = notification.action, self.clock()
        before = subject.find_delivery(action.key)
        attempt = start_attempt(before, action, began_at)
        was_maybe_sent = attempt.attempts > 1 and before.maybe_sent
        if was_maybe_sent and isinstance(action, Post):  # the search may find any attempt
            attempt = replace(attempt, content_version=before.content_version)
        if was_maybe_sent:
            attempt = replace(attempt, searched_since=before.searched_since or began_at)
        if not subject.save_attempt(action, attempt, worker):
            return None
        if self.clock() - began_at > _MAX_PAUSE_S:
            raise LeaseLost(
                f"paused before sending for {notification.subject.kind} {notification.subject.id}"
            )
        if attempt.attempts == 1 and notification.due_at is not None:
            metrics.ESCALATION_LATENESS.observe(max(0.0, began_at - notification.due_at))
        notification = replace_fields(
            notification,
            first_attempt_at=attempt.first_attempt_at,
            searched_since=attempt.searched_since,
        )
        after = self._attempt_once(notification, attempt, was_maybe_sent=was_maybe_sent)
        subject.save_outcome(action, after)
        # An accepted event says nothing about an earlier page of which PagerDuty created no incident.
        is_in_doubt = after.receipt is not None and (is_unconfirmed(after) or is_resolved_too_often(after))
        if not is_in_doubt:
            self.health.record_delivery(action.queue, action.target.address, after, self.clock())
        return after

    def _attempt_once(
        self, notification: Notification, attempt: Delivery, *, was_maybe_sent: bool
    ) -> Delivery:
        """Send once unless an earlier attempt arrived; return *attempt* with its result: delivered, to be
        retried, or failed.
        """
        action, queue = notification.action, notification.action.queue
        channel, started = self.channels[queue], time.monotonic()
        try:
            found = channel.find_receipt(notification) if was_maybe_sent else None
            if found is None:
                attempt = replace(attempt, searched_since=0.0)
            receipt = found or channel.send(notification)
        except DeliveryError as error:
            after = attempt.with_failure(
                error,
                self.clock(),
                was_maybe_sent=was_maybe_sent,
                salt=f"{notification.subject.id}/{action.key}",
                secret_digest=find_digest(self.digests, attempt.target),
            )
            _log_failure(notification, after, error)
            self.rate_limiter.apply_retry_after(action, error)
            if after.failed_at:
                self._save_notice(notification, after)
            return after
        finally:
            metrics.DELIVERY_SECONDS.labels(queue).observe(time.monotonic() - started)
        _log_arrival(notification, receipt)
        # A message that arrived earlier shows an older content version, so that the plan wants an edit.
        is_older = found is not None and isinstance(action, Post)
        return replace(
            attempt.with_receipt(receipt),
            content_version=attempt.content_version if is_older else action.content_version,
        )

    def _save_notice(self, notification: Notification, after: Delivery) -> None:
        """Save a notice about a delivery that failed permanently. This happens before the failure is saved,
        so that a crash can't lose the notice.
        """
        action = notification.action
        if title := notification.find_notice_title(after):
            about = describe_failure(action, after, notification.noun)
            notice_id = f"{notification.subject.id}/{action.key}/{after.instance}/{after.target}"
            self.notices.save_notice(notice_id, f"{about} ({title})", self.clock(), about=about)


def start_attempt(before: Delivery, action: DeliveryAction, now: float) -> Delivery:
    """Return *before* with one more attempt of *action*; a PagerDuty event records the digest of its key."""
    match action:
        case Page():
            keys = {"key_digest": action.key_digest, "former_key_digest": action.former_key_digest}
        case AcknowledgePage() | ResolvePage():
            keys = {"key_digest": action.key_digest}
        case _:
            keys = {}
    return before.with_attempt(action.instance, action.content_version, format_target(action), now, **keys)


def format_target(action: DeliveryAction) -> str:
    """Return the target of an action as `KIND:ADDRESS`; the address of a page is its responder."""
    return f"{action.target.kind}:{action.target.address}"


def describe_failure(action: DeliveryAction, after: Delivery, noun: str = "Message") -> str:
    """Return the text of a permanent failure for timelines and notices; *noun* is what a `Post` is called."""
    return f"{describe_kind(action, noun)} to {after.target} failed permanently: {after.reason}"


def describe_kind(action: DeliveryAction, noun: str = "Message") -> str:
    """Return the name of an action's kind for timelines and notices; *noun* is that of a `Post`."""
    return _NOUNS.get(type(action), noun)


def _log_arrival(notification: Notification, receipt: Receipt) -> None:
    outcome = "simulated" if receipt.is_simulated else "delivered"
    metrics.DELIVERIES.labels(notification.action.queue, outcome).inc()
    if not receipt.is_simulated:  # the simulated channel logs it
        logger.info(outcome, extra={"fields": _log_fields(notification)})


def _log_failure(notification: Notification, after: Delivery, error: DeliveryError) -> None:
    queue = notification.action.queue
    outcome = "temporary" if isinstance(error, TemporaryDeliveryError) else "permanent"
    metrics.DELIVERIES.labels(queue, outcome).inc()
    fields = {
        **_log_fields(notification),
        "reason": error.reason,
        "detail": after.detail,
        "attempts": after.attempts,
        "retry_at": after.retry_at or None,
    }
    # A temporary failure is a state of the queue, so it is logged once; each permanent failure is logged.
    state = f"{queue} {error.reason}" if after.retry_at else None
    logger.warning("not delivered", extra={"fields": fields, "state": state})


def _log_fields(notification: Notification) -> dict[str, object]:
    subject, action = notification.subject, notification.action
    return {subject.kind: subject.id, "key": action.key, "target": format_target(action)}

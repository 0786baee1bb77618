"""The dispatcher: stores the attempt, sends through the channel, and stores the receipt.

Also holds the list of messages that simulated channels did not send.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace as replace_action
from typing import Any

import msgspec
from msgspec.structs import replace

from receiver import metrics
from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.notification import IncidentNotification
from receiver.engine.ports import (
    Channel,
    Notices,
    PageAcknowledgementCheck,
    PageEventCheck,
    StatusCheck,
)
from receiver.engine.rate_limit import RateLimiter
from receiver.errors import ClaimLost, DeliveryError, RefusalKind, TemporaryDeliveryError
from receiver.incidents.routing_keys import RoutingKeys
from receiver.incidents.service import IncidentService
from receiver.incidents.store import RedisIncidents
from receiver.model.actions import (
    AcknowledgePage,
    AddTimelineEntry,
    CheckAlertmanager,
    CheckPage,
    CheckPagerDuty,
    CompactAlerts,
    CreateSilence,
    DeliveryAction,
    EndFlapping,
    ExpireAcknowledgement,
    ExpireSilence,
    FallbackMention,
    Page,
    Post,
    Reply,
    ResolvePage,
    Transition,
    Update,
    UpdateHeading,
)
from receiver.model.delivery import Delivery, Receipt
from receiver.model.heading import find_heading, update_heading
from receiver.model.incident import Incident, TimelineEvent
from receiver.model.page_check import is_resolved_too_often, is_unconfirmed
from receiver.model.plan import queues_for
from receiver.model.routing import Step, find_digest
from receiver.model.transitions import compact_alerts, end_flapping, expire_acknowledgement
from receiver.storage.connection import Client, store_errors
from receiver.storage.keys import SIMULATED, SIMULATED_FOR_S, SIMULATED_LIMIT
from receiver.text import one_line


class RedisSimulatedMessages:
    """The latest messages that were not sent, since their channel has no credentials."""

    def __init__(self, client: Client) -> None:
        self._redis = client

    def save_message(self, message: Mapping[str, Any]) -> None:
        """Store *message* as the newest one."""
        with store_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.lpush(SIMULATED, msgspec.json.encode(message))
            pipe.ltrim(SIMULATED, 0, SIMULATED_LIMIT - 1)
            pipe.expire(SIMULATED, SIMULATED_FOR_S)
            pipe.execute()

    def list_newest(self, count: int) -> list[dict[str, Any]]:
        """Return the newest messages, newest first."""
        with store_errors():
            return [msgspec.json.decode(packed) for packed in self._redis.lrange(SIMULATED, 0, count - 1)]


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


class Dispatcher:
    """Performs actions through the channels and stores the deliveries."""

    def __init__(
        self,
        incidents: RedisIncidents,
        channels: Mapping[str, Channel],
        status_check: StatusCheck | None,
        clock: Callable[[], float],
        *,
        rate_limiter: RateLimiter | None = None,
        health: DeliveryHealthRecorder | None = None,
        acknowledgement_check: PageAcknowledgementCheck | None = None,
        notices: Notices | None = None,
        checker: PageEventCheck | None = None,
        keys: RoutingKeys,
        digests: Mapping[str, str],
    ) -> None:
        self._keys = keys
        self._checker = checker
        self._digests = digests
        self._health = health
        self._incidents = incidents
        self._rate_limiter = rate_limiter
        self._acknowledgement_check = acknowledgement_check
        self._notices = notices
        self._incident_service = IncidentService(incidents)
        self._status_check = status_check
        self._channels = channels
        self._clock = clock

    def dispatch(self, notification: IncidentNotification, worker: str) -> Delivery:
        """Perform the notification's action once; return the stored delivery. A DeliveryError is stored in
        it, not raised.

        The attempt is stored before anything is sent. Raises StoreError if the attempt or its result cannot
        be stored, ClaimLost if *worker* no longer holds the lease.
        """
        action, incident = notification.action, notification.incident
        before = incident.deliveries.get(action.key, Delivery())
        attempt = _start_attempt(before, action, notification.now)
        if isinstance(action, AddTimelineEntry):
            recorded = attempt.with_receipt(Receipt(notification.now))
            self._record_outcome(action, incident, recorded)
            return recorded
        was_maybe_sent = attempt.attempts > 1 and before.maybe_sent
        if was_maybe_sent and isinstance(action, Post):  # the search may find any attempt
            attempt = replace(attempt, content_version=before.content_version)
        began_at = self._clock()
        self._incidents.record_delivery(incident.id, action.key, attempt, worker=worker, queue=action.queue)
        if self._clock() - began_at > _MAX_PAUSE_S:
            raise ClaimLost(f"slept over incident {incident.id}")
        if attempt.attempts == 1:
            _observe_lateness(notification)
        after = self._attempt_once(notification, attempt, was_maybe_sent=was_maybe_sent)
        self._record_outcome(action, incident, after)
        # An accepted event says nothing about an earlier page of which PagerDuty created no incident.
        is_in_doubt = after.receipt is not None and (is_unconfirmed(after) or is_resolved_too_often(after))
        if self._health is not None and not is_in_doubt:
            self._health.record_delivery(action.queue, action.target.address, after, self._clock())
        return after

    def _attempt_once(
        self, notification: IncidentNotification, attempt: Delivery, *, was_maybe_sent: bool
    ) -> Delivery:
        """Send once, and return *attempt* with its result: delivered, to be retried, or failed."""
        action, incident = notification.action, notification.incident
        try:
            if isinstance(action, Page | AcknowledgePage | ResolvePage):
                with_key = self._keys.add_routing_key(action, attempt, notification.now)
                notification = replace_action(notification, action=with_key)
            receipt, is_found = self._send_or_find(notification, attempt, was_maybe_sent=was_maybe_sent)
        except DeliveryError as error:
            after = attempt.with_failure(
                error,
                self._clock(),
                was_maybe_sent=was_maybe_sent,
                salt=f"{incident.id}/{action.key}",
                secret_digest=find_digest(self._digests, attempt.target),
            )
            _log_failure(notification, after, error)
            if self._rate_limiter is not None:
                self._rate_limiter.apply_retry_after(action, error)
            self._send_notice(action, incident, after)
            return after
        # A message that arrived earlier shows an older content version, so that the plan wants an edit.
        is_older = is_found and isinstance(action, Post)
        _log_arrival(notification, receipt)
        return replace(
            attempt.with_receipt(receipt),
            content_version=attempt.content_version if is_older else action.content_version,
        )

    def apply_transition(self, action: Transition, incident: Incident, now: float, worker: str) -> None:
        """Perform an action that changes the incident itself. Raises StoreError, ClaimLost."""
        update = self._incident_service.update
        match action:
            case ExpireAcknowledgement(acknowledged_at=given_at):
                update(incident.id, lambda latest: expire_acknowledgement(latest, given_at, now), now)
            case EndFlapping(flapping_until=until):
                update(incident.id, lambda latest: end_flapping(latest, until, now), now)
            case UpdateHeading(heading=heading, revision=revision):
                update(incident.id, lambda latest: update_heading(latest, heading, revision), now)
            case CompactAlerts():
                update(incident.id, lambda latest: compact_alerts(latest, now), now)
                self._incidents.drop_compacted(incident.id)
            case CheckPagerDuty() if self._acknowledgement_check is not None:
                self._acknowledgement_check.check_pages(incident, action.responders)
            case CheckAlertmanager() if self._status_check is not None:
                self._status_check.check_for_step(incident.id, incident.source, action.since)
            case CheckPage() if self._checker is not None:
                self._checker.check_page(action, incident, worker)

    def _send_or_find(
        self, notification: IncidentNotification, attempt: Delivery, *, was_maybe_sent: bool
    ) -> tuple[Receipt, bool]:
        """Return the receipt, and whether it belongs to an earlier attempt that the channel found."""
        queue = notification.action.queue
        channel = self._channels[queue]
        started = time.monotonic()
        try:
            found = channel.find_receipt(notification, attempt.first_attempt_at) if was_maybe_sent else None
            return (found, True) if found else (channel.send(notification), False)
        finally:
            metrics.DELIVERY_SECONDS.labels(queue).observe(time.monotonic() - started)

    def _send_notice(self, action: DeliveryAction, incident: Incident, after: Delivery) -> None:
        """Save a notice about a delivery that failed permanently, before the failure is stored.

        There is no notice for the edit of a deleted message, since the message is posted again.
        """
        is_reposted = after.kind == RefusalKind.MESSAGE_GONE and "root2" not in incident.deliveries
        if self._notices is None or not after.failed_at or (isinstance(action, Update) and is_reposted):
            return
        heading = find_heading(incident)
        name = one_line(heading.counted_name or heading.summary, 80)
        self._notices.save_notice(
            f"{incident.id}/{action.key}/{after.instance}",
            f"{describe_kind(action)} to {after.target} given up: {after.reason} "
            f"({incident.severity.upper()} {name}, {incident.id})",
            self._clock(),
            about=f"{describe_kind(action)} to {after.target} given up: {after.reason}",
        )

    def _record_outcome(self, action: DeliveryAction, incident: Incident, after: Delivery) -> None:
        """Store the delivery, and wake the other queues that depend on it. A result is stored even if another
        worker has claimed the incident in between: the message was sent.
        """
        others = [queue for queue in queues_for(incident) if queue != action.queue]
        wakes_others = isinstance(action, Page | Post | CreateSilence | ExpireSilence) or (
            isinstance(action, Reply) and action.step is not None
        )
        # If PagerDuty refuses an acknowledge or resolve, Slack's queue posts that in the thread.
        wakes_others = wakes_others or (
            isinstance(action, AcknowledgePage | ResolvePage) and after.failed_at > 0
        )
        self._incidents.record_delivery(
            incident.id,
            action.key,
            after,
            queue=action.queue,
            events=_timeline_events(action, after, self._clock()),
            wake=others if wakes_others else (),
            due=self._clock(),
        )


def _start_attempt(before: Delivery, action: DeliveryAction, now: float) -> Delivery:
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


def _timeline_events(action: DeliveryAction, after: Delivery, now: float) -> list[TimelineEvent]:
    if after.receipt is not None:
        text = _describe_arrival(action, after.receipt.note)
        if not text:
            return []
        simulated = " (simulated)" if after.receipt.is_simulated else ""
        return [
            TimelineEvent(
                after.receipt.at,
                "noted" if isinstance(action, AddTimelineEntry) else "delivered",
                text + simulated,
            )
        ]
    if after.failed_at:
        return [
            TimelineEvent(
                now, "failed", f"{describe_kind(action)} to {after.target} given up: {after.reason}"
            )
        ]
    if after.attempts == 1:
        return [
            TimelineEvent(
                now,
                "delayed",
                f"{describe_kind(action)} to {after.target} did not arrive yet: {after.reason}",
            )
        ]
    return []


def _describe_arrival(action: DeliveryAction, note: str) -> str:
    """Return the timeline's text for a delivered *action*; empty for actions that the timeline omits.

    *note* is the receipt's note: what the channel left out so that the vendor accepted the message.
    """
    text = ""
    match action:
        case AddTimelineEntry():
            text = action.text
        case Page():
            text = f"Paged {action.step.responder.title}"
        case AcknowledgePage():
            text = f"Page to {action.target.address} acknowledged"
        case ResolvePage():
            text = f"Page to {action.target.address} resolved"
        case FallbackMention(step=Step() as step) | Reply(step=Step() as step):
            text = _describe_notified_step(action, step, note)
        case Post():
            text = f"Posted to {action.target.address}"
        case CreateSilence() if not action.silence_id:
            text = "Silenced in Alertmanager"
        case ExpireSilence():
            text = "Silence ended in Alertmanager"
    return text


def _describe_notified_step(action: FallbackMention | Reply, step: Step, note: str) -> str:
    where = "the thread" if isinstance(action, Reply) and not note else action.target.address
    is_page_delayed = isinstance(action, Reply) and action.reply_kind == "page_delayed"
    suffix = " that PagerDuty can't be reached" if is_page_delayed else ""
    return f"Told {step.responder.title} in {where}{suffix}" + (f" ({note})" if note else "")


def describe_kind(action: DeliveryAction) -> str:
    """Return the name of an action's kind for the timeline and notices."""
    return _NOUNS.get(type(action), "Message")


def _observe_lateness(notification: IncidentNotification) -> None:
    action = notification.action
    if not isinstance(action, Page):
        return
    due = next((s.due_at for s in notification.escalation.steps if s.step == action.step), None)
    if due is not None:
        metrics.ESCALATION_LATENESS.observe(max(0.0, notification.now - due))


def _log_arrival(notification: IncidentNotification, receipt: Receipt) -> None:
    action, incident = notification.action, notification.incident
    outcome = "simulated" if receipt.is_simulated else "delivered"
    metrics.DELIVERIES.labels(action.queue, outcome).inc()
    if isinstance(action, Page):
        metrics.ESCALATIONS.labels(incident.policy, action.step.responder.name).inc()
    if receipt.is_simulated:  # the simulated channel logs it
        return
    logger.info(
        outcome,
        extra={"fields": {"incident": incident.id, "key": action.key, "target": format_target(action)}},
    )


def _log_failure(notification: IncidentNotification, after: Delivery, error: DeliveryError) -> None:
    action = notification.action
    outcome = "temporary" if isinstance(error, TemporaryDeliveryError) else "permanent"
    metrics.DELIVERIES.labels(action.queue, outcome).inc()
    fields = {
        "incident": notification.incident.id,
        "key": action.key,
        "target": format_target(action),
        "reason": error.reason,
        "detail": after.detail,
        "attempts": after.attempts,
        "retry_at": after.retry_at or None,
    }
    # A temporary failure is a state of the queue, so it is logged once; each permanent failure is logged.
    state = f"{action.queue} {error.reason}" if after.retry_at else None
    logger.warning("not delivered", extra={"fields": fields, "state": state})

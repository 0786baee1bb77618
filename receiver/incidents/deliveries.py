"""The deliveries of an incident: what the dispatcher loads and saves, with timeline events and wake-ups."""

from __future__ import annotations

from collections.abc import Callable

from receiver import metrics
from receiver.engine.dispatcher import Dispatcher, describe_failure, describe_kind, start_attempt
from receiver.incidents.notification_builder import NotificationBuilder
from receiver.incidents.store import RedisIncidents
from receiver.model.actions import (
    AcknowledgePage,
    AddTimelineEntry,
    CreateSilence,
    DeliveryAction,
    ExpireSilence,
    FallbackMention,
    Page,
    Post,
    Reply,
    ResolvePage,
)
from receiver.model.delivery import Delivery, Receipt
from receiver.model.delivery_keys import DeliveryKey
from receiver.model.escalation import IncidentView
from receiver.model.incident import Incident, TimelineEvent
from receiver.model.plan import queues_for
from receiver.model.routing import Step


class IncidentDeliveries:
    """Dispatches the actions of incidents."""

    def __init__(
        self,
        incidents: RedisIncidents,
        notification_builder: NotificationBuilder,
        dispatcher: Dispatcher,
        clock: Callable[[], float],
    ) -> None:
        self._incidents = incidents
        self._notification_builder = notification_builder
        self._dispatcher = dispatcher
        self._clock = clock

    def dispatch(self, action: DeliveryAction, view: IncidentView, worker: str) -> Delivery | None:
        """Perform *action* once; return the saved delivery. Raises StoreError, LeaseLost."""
        subject = IncidentSubject(self._incidents, view.incident, self._clock)
        if isinstance(action, AddTimelineEntry):
            attempt = start_attempt(subject.find_delivery(action.key), action, view.now)
            recorded = attempt.with_receipt(Receipt(view.now))
            subject.save_outcome(action, recorded)
            return recorded
        notification = self._notification_builder.build(action, view)
        return self._dispatcher.dispatch(subject, notification, worker)


class IncidentSubject:
    """An incident as the subject of one delivery."""

    def __init__(self, incidents: RedisIncidents, incident: Incident, clock: Callable[[], float]) -> None:
        self._incidents = incidents
        self._incident = incident
        self._clock = clock

    def find_delivery(self, key: DeliveryKey) -> Delivery:
        return self._incident.deliveries.get(key, Delivery())

    def save_attempt(self, action: DeliveryAction, attempt: Delivery, worker: str) -> bool:
        """Save the attempt; the lease of *worker* excludes every other worker."""
        self._incidents.record_delivery(
            self._incident.id, action.key, attempt, worker=worker, queue=action.queue
        )
        return True

    def save_outcome(self, action: DeliveryAction, after: Delivery) -> None:
        """Save the delivery, and wake the other queues that depend on it. A result is saved even if another
        worker has claimed the incident in between: the message was sent.
        """
        incident, now = self._incident, self._clock()
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
            events=_timeline_events(action, after, now),
            wake=others if wakes_others else (),
            due=now,
        )
        if isinstance(action, Page) and after.receipt is not None:
            metrics.ESCALATIONS.labels(incident.policy, action.step.responder.name).inc()


def _timeline_events(action: DeliveryAction, after: Delivery, now: float) -> list[TimelineEvent]:
    if after.receipt is not None:
        text = _describe_arrival(action, after.receipt.note)
        if not text:
            return []
        simulated = " (simulated)" if after.receipt.is_simulated else ""
        kind = "noted" if isinstance(action, AddTimelineEntry) else "delivered"
        return [TimelineEvent(after.receipt.at, kind, text + simulated)]
    if after.failed_at:
        return [TimelineEvent(now, "failed", describe_failure(action, after))]
    if after.attempts == 1:
        text = f"{describe_kind(action)} to {after.target} did not arrive yet: {after.reason}"
        return [TimelineEvent(now, "delayed", text)]
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
    return f"Notified {step.responder.title} in {where}{suffix}" + (f" ({note})" if note else "")

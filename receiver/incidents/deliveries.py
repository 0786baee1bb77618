"""The deliveries of an incident: what the dispatcher loads and saves, with timeline events and wake-ups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
    Plan,
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
from receiver.storage.connection import ScriptCall


@dataclass(frozen=True)
class DeliveryOutcome:
    """A delivery with its receipt or failure, to be saved, and its timeline events.

    *others* are the other queues of the incident, if their actions depend on the outcome.
    """

    incident: Incident
    action: DeliveryAction
    delivery: Delivery
    events: tuple[TimelineEvent, ...]
    others: tuple[str, ...]
    at: float


@dataclass(frozen=True, repr=False)
class IncidentDeliveries:
    """Dispatches the actions of incidents."""

    incidents: RedisIncidents
    notification_builder: NotificationBuilder
    dispatcher: Dispatcher
    clock: Callable[[], float]

    def dispatch(self, action: DeliveryAction, view: IncidentView, worker: str) -> DeliveryOutcome:
        """Perform *action* once; return the outcome, which the caller saves. Raises StoreError, LeaseLost."""
        outcomes: list[DeliveryOutcome] = []
        subject = IncidentSubject(self.incidents, view.incident, self.clock, outcomes.append)
        if isinstance(action, AddTimelineEntry):
            attempt = start_attempt(subject.find_delivery(action.key), action, view.now)
            subject.save_outcome(action, attempt.with_receipt(Receipt(view.now)))
        else:
            notification = self.notification_builder.build_notification(action, view)
            self.dispatcher.dispatch(subject, notification, worker)
        return outcomes[0]

    def build_outcome_call(
        self, outcome: DeliveryOutcome, after: Plan, expected_writes: int, *, is_last: bool = False
    ) -> ScriptCall:
        """Return the call that saves an outcome, and wakes the other queues that depend on it when *after*,
        the plan with the outcome, has actions for them.

        If the incident was not written *expected_writes* times then, the plan is outdated: these queues are
        woken now; after the last outcome, the caller plans again before it wakes them.
        """
        action, now = outcome.action, outcome.at
        dues: dict[str, float | None] = {}
        for queue in outcome.others:
            ready_at = min((one.ready_at for one in after.actions if one.queue == queue), default=None)
            dues[queue] = None if ready_at is None else max(now, ready_at)
        return self.incidents.build_record_call(
            outcome.incident.id,
            action.key,
            outcome.delivery,
            queue=action.queue,
            events=outcome.events,
            dues=dues,
            expected_writes=expected_writes,
            now=None if is_last else now,
        )


@dataclass(frozen=True, repr=False)
class IncidentSubject:
    """An incident as the subject of one delivery. *handle_outcome* gets the outcome, to save it."""

    incidents: RedisIncidents
    incident: Incident
    clock: Callable[[], float]
    handle_outcome: Callable[[DeliveryOutcome], None]

    def find_delivery(self, key: DeliveryKey) -> Delivery:
        return self.incident.deliveries.get(key, Delivery())

    def save_attempt(self, action: DeliveryAction, attempt: Delivery, worker: str) -> bool:
        """Save the attempt; the lease of *worker* excludes every other worker."""
        self.incidents.record_delivery(
            self.incident.id, action.key, attempt, worker=worker, queue=action.queue
        )
        return True

    def save_outcome(self, action: DeliveryAction, after: Delivery) -> None:
        """Hand over the outcome. It is saved even if another worker has claimed the incident in between: the
        message was sent.
        """
        incident, now = self.incident, self.clock()
        is_depended_on = isinstance(action, Page | Post | CreateSilence | ExpireSilence) or (
            isinstance(action, Reply) and action.step is not None
        )
        # If PagerDuty refuses an acknowledge or resolve, Slack's queue posts that in the thread.
        is_depended_on = is_depended_on or (
            isinstance(action, AcknowledgePage | ResolvePage) and after.failed_at > 0
        )
        others = tuple(queue for queue in queues_for(incident) if is_depended_on and queue != action.queue)
        events = tuple(_timeline_events(action, after, now))
        self.handle_outcome(DeliveryOutcome(incident, action, after, events, others, now))
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

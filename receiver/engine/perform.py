"""Doing one action: note the attempt, do it, note the receipt or the failure."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace as replace_action

from msgspec.structs import replace

from receiver import telemetry
from receiver.domain.action import (
    AcknowledgePage,
    Action,
    Call,
    Calm,
    CheckPage,
    CompactAlerts,
    Entitle,
    ExpireSilence,
    Inquire,
    Lapse,
    LookUp,
    MakeSilence,
    Note,
    Page,
    Post,
    Reply,
    ResolvePage,
    Update,
)
from receiver.domain.answers import end_flapping, expire_acknowledgement
from receiver.domain.delivery import Delivery, Receipt
from receiver.domain.forgetting import compact_alerts
from receiver.domain.heading import find_heading, update_heading
from receiver.domain.incident import Incident, TimelineEvent
from receiver.domain.notice import Notices
from receiver.domain.notification import Notification
from receiver.domain.page_check import is_resolved_too_often, is_unconfirmed
from receiver.domain.policy import Step, find_digest
from receiver.domain.ports import Channel, Incidents
from receiver.engine.hands import IncidentService
from receiver.engine.health import HealthNotes
from receiver.engine.inquiry import Inquiry
from receiver.engine.intake import queues_for
from receiver.engine.page_checks import PageChecker
from receiver.engine.routing_keys import RoutingKeys
from receiver.engine.turns import Turns
from receiver.engine.witness import Witness
from receiver.errors import ClaimLost, DeliveryError, Refusal, TemporaryDeliveryError
from receiver.text import one_line

logger = logging.getLogger(__name__)

# A process that was stopped for this long may have lost its loan meanwhile, and what it was about to send may
# be over: whoever has the incident now looks anew. No answer of the store takes as long; loans last longer.
_AWAKE_FOR_S = 2.2

_NOUNS: dict[type[Action], str] = {
    Page: "Page",
    AcknowledgePage: "Acknowledgement",
    ResolvePage: "Resolve",
    Update: "Edit",
    Reply: "Reply",
    MakeSilence: "Silence",
    ExpireSilence: "Silence",
}


class Performer:
    """Performs actions through the channels and keeps what became of them."""

    def __init__(
        self,
        incidents: Incidents,
        channels: Mapping[str, Channel],
        witness: Witness | None,
        clock: Callable[[], float],
        *,
        turns: Turns | None = None,
        health: HealthNotes | None = None,
        inquiry: Inquiry | None = None,
        notices: Notices | None = None,
        checker: PageChecker | None = None,
        keys: RoutingKeys,
        digests: Mapping[str, str],
    ) -> None:
        self._keys = keys
        self._checker = checker
        self._digests = digests
        self._health = health
        self._incidents = incidents
        self._turns = turns
        self._inquiry = inquiry
        self._notices = notices
        self._incident_service = IncidentService(incidents)
        self._witness = witness
        self._channels = channels
        self._clock = clock

    def perform(self, notification: Notification, worker: str) -> Delivery | None:
        """Do the notification's action once; return the delivery as it is kept now, None where the action
        changed the incident itself. A failure is kept, not raised.

        Raises StoreError when the attempt or its end can't be noted, ClaimLost when another
        worker has the incident; nothing is sent without its attempt noted.
        """
        action, incident = notification.action, notification.incident
        if isinstance(action, CheckPage):
            if self._checker is not None:
                self._checker.check(action, incident, worker)
            return None
        if isinstance(action, Lapse | Calm | Entitle | CompactAlerts | LookUp | Inquire):
            self._change(action, incident, notification.now)
            return None
        before = incident.deliveries.get(action.key, Delivery())
        attempt = _begin(before, action, notification.now)
        if isinstance(action, Note):
            noted = attempt.with_receipt(Receipt(notification.now))
            self._keep(action, incident, noted)
            return noted
        was_maybe_sent = attempt.attempts > 1 and before.maybe_sent
        if was_maybe_sent and isinstance(action, Post):  # which of the tries will be found is not known
            attempt = replace(attempt, shown=before.shown)
        began_at = self._clock()
        self._incidents.record_delivery(incident.id, action.key, attempt, worker=worker, lane=action.lane)
        if self._clock() - began_at > _AWAKE_FOR_S:
            raise ClaimLost(f"slept over incident {incident.id}")
        if attempt.attempts == 1:
            _observe_lateness(notification)
        after = self._try(notification, attempt, was_maybe_sent=was_maybe_sent)
        self._keep(action, incident, after)
        # That PagerDuty took an event says nothing of a page that it took before and had no incident of.
        is_in_doubt = after.receipt is not None and (is_unconfirmed(after) or is_resolved_too_often(after))
        if self._health is not None and not is_in_doubt:
            self._health.note(action.lane, action.target.address, after, self._clock())
        return after

    def _try(self, notification: Notification, attempt: Delivery, *, was_maybe_sent: bool) -> Delivery:
        """Send once, and return *attempt* with its end: arrived, to be tried again, or given up."""
        action, incident = notification.action, notification.incident
        try:
            if isinstance(action, Page | AcknowledgePage | ResolvePage):
                unlocked = self._keys.unlock(action, attempt, notification.now)
                notification = replace_action(notification, action=unlocked)
            receipt, is_found = self._send(notification, attempt, was_maybe_sent=was_maybe_sent)
        except DeliveryError as error:
            after = attempt.with_failure(
                error,
                self._clock(),
                was_maybe_sent=was_maybe_sent,
                salt=f"{incident.id}/{action.key}",
                secret_digest=find_digest(self._digests, attempt.target),
            )
            _log_failure(notification, after, error)
            if self._turns is not None:
                self._turns.heed(action, error)
            self._notice(action, incident, after)
            return after
        # What arrived earlier shows how things stood then, so an edit will be wanted.
        is_older = is_found and isinstance(action, Post)
        _log_arrival(notification, receipt)
        return replace(attempt.with_receipt(receipt), shown=attempt.shown if is_older else action.shown)

    def _change(
        self,
        action: Lapse | Calm | Entitle | CompactAlerts | LookUp | Inquire,
        incident: Incident,
        now: float,
    ) -> None:
        """Do what changes the incident itself and leaves no delivery: the change is its receipt."""
        if isinstance(action, Lapse):
            self._incident_service.update(
                incident.id, lambda latest: expire_acknowledgement(latest, action.acknowledged_at, now), now
            )
        elif isinstance(action, Calm):
            self._incident_service.update(
                incident.id, lambda latest: end_flapping(latest, action.flapping_until, now), now
            )
        elif isinstance(action, Entitle):
            self._incident_service.update(
                incident.id, lambda latest: update_heading(latest, action.heading, action.revision), now
            )
        elif isinstance(action, CompactAlerts):
            self._incident_service.update(incident.id, lambda latest: compact_alerts(latest, now), now)
            self._incidents.drop_compacted(incident.id)
        elif isinstance(action, Inquire):
            if self._inquiry is not None:
                self._inquiry.inquire(incident, action.responders)
        elif self._witness is not None:
            self._witness.look_for_step(incident.id, incident.source, action.since)

    def _send(
        self, notification: Notification, attempt: Delivery, *, was_maybe_sent: bool
    ) -> tuple[Receipt, bool]:
        """Return the receipt, and whether it is an earlier attempt's that was found to have arrived."""
        lane = notification.action.lane
        channel = self._channels[lane]
        started = time.monotonic()
        try:
            found = channel.find_receipt(notification, attempt.first_attempt_at) if was_maybe_sent else None
            return (found, True) if found else (channel.send(notification), False)
        finally:
            telemetry.DELIVERY_SECONDS.labels(lane).observe(time.monotonic() - started)

    def _notice(self, action: Action, incident: Incident, after: Delivery) -> None:
        """Have it said where people look after us that a delivery was given up, before that is kept.

        A message that somebody deleted is posted anew, so that its edit is refused is no trouble.
        """
        is_mended = after.kind == Refusal.MESSAGE_GONE and "root2" not in incident.deliveries
        if self._notices is None or not after.failed_at or (isinstance(action, Update) and is_mended):
            return
        heading = find_heading(incident)
        name = one_line(heading.counted_name or heading.summary, 80)
        self._notices.put(
            f"{incident.id}/{action.key}/{after.about}",
            f"{name_kind(action)} to {after.target} given up: {after.reason} "
            f"({incident.severity.upper()} {name}, {incident.id})",
            self._clock(),
            about=f"{name_kind(action)} to {after.target} given up: {after.reason}",
        )

    def _keep(self, action: Action, incident: Incident, after: Delivery) -> None:
        """Keep how the delivery stands. The receipt of something sent is kept even when the
        incident was lent to somebody else meanwhile: it is the truth.
        """
        others = [lane for lane in queues_for(incident) if lane != action.lane]
        is_news = isinstance(action, Page | Post | MakeSilence | ExpireSilence) or (
            isinstance(action, Reply) and action.step is not None
        )
        # That PagerDuty can't be told of an end is said in the thread.
        is_news = is_news or (isinstance(action, AcknowledgePage | ResolvePage) and after.failed_at > 0)
        self._incidents.record_delivery(
            incident.id,
            action.key,
            after,
            lane=action.lane,
            events=_events(action, after, self._clock()),
            wake=others if is_news else (),
            due=self._clock(),
        )


def _begin(before: Delivery, action: Action, now: float) -> Delivery:
    """Return *before* with one more attempt of *action*; an event to PagerDuty goes under a key."""
    match action:
        case Page():
            keys = {"key_digest": action.key_digest, "former_key_digest": action.former_key_digest}
        case AcknowledgePage() | ResolvePage():
            keys = {"key_digest": action.key_digest}
        case _:
            keys = {}
    return before.with_attempt(action.about, action.shown, name_target(action), now, **keys)


def name_target(action: Action) -> str:
    """Return where an action goes, as people read it; a page goes to its responder."""
    return f"{action.target.kind}:{action.target.address}"


def _events(action: Action, after: Delivery, now: float) -> list[TimelineEvent]:
    if after.receipt is not None:
        text = _arrival(action, after.receipt.note)
        if not text:
            return []
        simulated = " (simulated)" if after.receipt.is_simulated else ""
        return [
            TimelineEvent(
                after.receipt.at, "noted" if isinstance(action, Note) else "delivered", text + simulated
            )
        ]
    if after.failed_at:
        return [
            TimelineEvent(now, "failed", f"{name_kind(action)} to {after.target} given up: {after.reason}")
        ]
    if after.attempts == 1:
        return [
            TimelineEvent(
                now, "delayed", f"{name_kind(action)} to {after.target} did not arrive yet: {after.reason}"
            )
        ]
    return []


def _arrival(action: Action, note: str) -> str:
    """Return how the timeline tells that *action* is done; empty for what nobody looks for there.

    *note* is the receipt's: what was given up to get it through.
    """
    text = ""
    match action:
        case Note():
            text = action.text
        case Page():
            text = f"Paged {action.step.responder.title}"
        case AcknowledgePage():
            text = f"Page to {action.target.address} acknowledged"
        case ResolvePage():
            text = f"Page to {action.target.address} resolved"
        case Call(step=Step() as step) | Reply(step=Step() as step):
            text = _telling(action, step, note)
        case Post():
            text = f"Posted to {action.target.address}"
        case MakeSilence() if not action.silence_id:
            text = "Silenced in Alertmanager"
        case ExpireSilence():
            text = "Silence ended in Alertmanager"
    return text


def _telling(action: Call | Reply, step: Step, note: str) -> str:
    where = "the thread" if isinstance(action, Reply) and not note else action.target.address
    is_unreached = isinstance(action, Reply) and action.says == "unreached"
    said = " that PagerDuty can't be reached" if is_unreached else ""
    return f"Told {step.responder.title} in {where}{said}" + (f" ({note})" if note else "")


def name_kind(action: Action) -> str:
    """Return what kind of message or event an action sends, as the timeline and notices name it."""
    return _NOUNS.get(type(action), "Message")


def _observe_lateness(notification: Notification) -> None:
    action = notification.action
    if not isinstance(action, Page):
        return
    due = next((s.due_at for s in notification.progress.steps if s.step == action.step), None)
    if due is not None:
        telemetry.TIMER_LATENESS.observe(max(0.0, notification.now - due))


def _log_arrival(notification: Notification, receipt: Receipt) -> None:
    action, incident = notification.action, notification.incident
    outcome = "simulated" if receipt.is_simulated else "delivered"
    telemetry.DELIVERIES.labels(action.lane, outcome).inc()
    if isinstance(action, Page):
        telemetry.ESCALATIONS.labels(incident.policy, action.step.responder.name).inc()
    if receipt.is_simulated:  # what would have been sent is logged where it is recorded
        return
    logger.info(
        outcome,
        extra={"fields": {"incident": incident.id, "key": action.key, "target": name_target(action)}},
    )


def _log_failure(notification: Notification, after: Delivery, error: DeliveryError) -> None:
    action = notification.action
    outcome = "temporary" if isinstance(error, TemporaryDeliveryError) else "permanent"
    telemetry.DELIVERIES.labels(action.lane, outcome).inc()
    fields = {
        "incident": notification.incident.id,
        "key": action.key,
        "target": name_target(action),
        "reason": error.reason,
        "detail": after.detail,
        "attempts": after.attempts,
        "retry_at": after.retry_at or None,
    }
    # A channel that is away is a state of its lane, whichever incidents wait for it; what is given up is not.
    state = f"{action.lane} {error.reason}" if after.retry_at else None
    logger.warning("not delivered", extra={"fields": fields, "state": state})

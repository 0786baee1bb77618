"""The reconciler of storms: load a storm and its members, plan, do one action, and repeat."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from receiver import metrics
from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.ports import Notices, PageStatuses
from receiver.engine.rate_limit import RateLimiter
from receiver.errors import DeliveryError, NotFound, PermanentDeliveryError
from receiver.incidents.dispatcher import describe_kind
from receiver.incidents.failures import is_refused_under_former
from receiver.incidents.routing_keys import RoutingKeys
from receiver.incidents.service import IncidentService
from receiver.incidents.store import RedisIncidents
from receiver.model import transitions
from receiver.model.actions import (
    AcknowledgePage,
    Action,
    CheckPage,
    DeliveryAction,
    Page,
    Post,
    Reply,
    ResolvePage,
    Transition,
)
from receiver.model.delivery import Delivery, Receipt
from receiver.model.delivery_status import find_announcing_storm
from receiver.model.incident import Incident, IncidentChange, Person, TimelineEvent
from receiver.model.messages import RELEASED_BY_STORM
from receiver.model.page_check import (
    Finding,
    PagerDutyStatus,
    evaluate_page,
    find_left_open,
    is_left_open,
    is_resolved_too_often,
    is_unconfirmed,
    postpone_check,
    record_check,
    record_hint,
    record_resolve_check,
)
from receiver.model.routing import PAGERDUTY, SLACK, RoutingTable, find_digest
from receiver.storms.model import (
    IncidentHeads,
    Storm,
    StormChannel,
    StormNotification,
    StormRepository,
    StormResponse,
    StormSummary,
    VersionedStorm,
    is_page_delayed,
    list_incident_ids,
    load_member_states,
    split_members,
    storm_dedup_key,
    summarize_storm,
)
from receiver.storms.plan import (
    RELEASE_INCIDENTS,
    CloseBatch,
    CloseStorm,
    EndStorm,
    PropagateResponse,
    ReleaseIncidents,
    StormView,
    plan_storm,
)
from receiver.storms.service import StormService

logger = logging.getLogger(__name__)
_ACTIONS_AT_MOST = 40
# A storm's actions get the priority of incidents that are this much older, so they precede its members'.
_AHEAD_S = 60.0


@dataclass(frozen=True)
class StormRates:
    """How many new messages a channel, or pages a responder, can be sent a second."""

    channel: float
    responder: float

    def find_rate(self, storm: Storm) -> float:
        return self.channel if storm.is_of_channel else self.responder


class StormReconciler:
    """Does the missing actions of one storm."""

    def __init__(
        self,
        store: StormRepository,
        storms: StormService,
        incidents: RedisIncidents,
        *,
        heads: IncidentHeads,
        channels: Mapping[str, StormChannel],
        routing: RoutingTable,
        rates: StormRates,
        clock: Callable[[], float],
        keys: RoutingKeys,
        rate_limiter: RateLimiter | None = None,
        paused_until: Callable[[float], float] = lambda _now: 0.0,
        public_url: str = "",
        status_client: PageStatuses | None = None,
        notices: Notices | None = None,
        health: DeliveryHealthRecorder | None = None,
    ) -> None:
        self._status_client = status_client
        self._keys = keys
        self._notices = notices
        self._health = health
        self._store = store
        self._storms = storms
        self._incidents = incidents
        self._heads = heads
        self._incident_service = IncidentService(incidents)
        self._channels = channels
        self._routing = routing
        self._rates = rates
        self._clock = clock
        self._rate_limiter = rate_limiter
        self._paused_until = paused_until
        self._public_url = public_url

    def reconcile(self, storm_id: str, queue: str, worker: str) -> dict[str, float | None]:
        """Do the missing actions; return when *queue* is due again. Raises StoreError."""
        del worker  # compare-and-set decides between two workers, not a lease
        for _ in range(_ACTIONS_AT_MOST):
            try:
                loaded = _revive(self._store.load_storm(storm_id), self._routing.secret_digests)
            except NotFound:
                return {}
            view = self._load_view(loaded)
            wanted = plan_storm(view)
            ready = [action for action in wanted.actions if action.ready_at <= view.now]
            later = [action.ready_at for action in wanted.actions if action.ready_at > view.now]
            for action in ready:
                wait_s = self._find_wait_s(view, action)
                if wait_s <= 0:
                    self._apply_action(action, loaded, view)
                    break
                later.append(view.now + wait_s)
            else:
                return {
                    queue: min([at for at in (wanted.next_check_at, *later) if at is not None], default=None)
                }
        return {queue: self._clock()}

    def _load_view(self, loaded: VersionedStorm) -> StormView:
        states = load_member_states(loaded, self._heads.load_heads(list_incident_ids(loaded)))
        members, mentioned = split_members(states)
        return StormView(
            loaded.storm,
            members,
            mentioned,
            self._rates.find_rate(loaded.storm),
            dict(self._routing.responders),
            self._clock(),
            checks_pagerduty=self._status_client is not None,
        )

    def _find_wait_s(self, view: StormView, action: Action) -> float:
        """Return the seconds the action must wait, for its permit or for the end of maintenance."""
        wakes = isinstance(action, Page) or (isinstance(action, Reply) and action.step is not None)
        if wakes and (until := self._paused_until(view.now)) > view.now:
            return until - view.now
        if isinstance(action, Transition) or self._rate_limiter is None:
            return 0.0
        storm = view.storm
        priority = storm.began_at - _AHEAD_S
        return self._rate_limiter.acquire_by_priority(
            action, f"{storm.id} {action.key}", priority, view.now
        ).retry_after_s

    # --- changes of the storm itself ---

    def _apply_action(self, action: Action, loaded: VersionedStorm, view: StormView) -> None:
        storm, now = loaded.storm, view.now
        match action:
            case CloseBatch():
                closed = replace(storm, closed_batch=max(storm.closed_batch, action.batch))
                self._store.save_if_unchanged(loaded, closed, if_none_joined=True)
            case EndStorm():
                self._store.save_if_unchanged(
                    loaded, replace(storm, ended_at=now, released=action.released), if_none_joined=True
                )
            case CloseStorm():
                self._store.save_if_unchanged(loaded, replace(storm, resolved_at=now))
                logger.info(
                    "storm closed", extra={"fields": {"storm": storm.id, "target_key": storm.target_key}}
                )
            case PropagateResponse():
                self._propagate_response(action.response, view)
                self._mark_done(storm.id, action.response.key, action.response.instance, now)
            case ReleaseIncidents():
                for incident_id in storm.released:
                    self._release_incident(incident_id, storm, now)
                self._mark_done(storm.id, RELEASE_INCIDENTS, "", now)
            case CheckPage():
                self._check_page(action, loaded, now)
            case DeliveryAction():
                self._dispatch(action, loaded, view)

    def _mark_done(self, storm_id: str, key: str, instance: str, now: float) -> None:
        """Save a receipt for a transition that is applied once."""
        done = Delivery(instance, attempts=1, receipt=Receipt(now))
        self._storms.update_storm(storm_id, lambda loaded: _with_delivery(loaded.storm, key, done))

    def _propagate_response(self, response: StormResponse, view: StormView) -> None:
        """Apply *response* to the members, except those of later batches or with a later escalation run."""
        for one in view.counted_members:
            if one.incident is None or one.is_resolved or one.member.batch > response.batch:
                continue
            change = partial(_respond_if_included, response=response, now=view.now)
            try:
                self._incident_service.update(one.incident.id, change, view.now)
            except NotFound:
                continue

    def _release_incident(self, incident_id: str, storm: Storm, now: float) -> None:
        """Release an incident from the storm: from now on its plan contains its own message."""
        try:
            incident = self._incidents.load(incident_id)
        except NotFound:
            return
        if incident.is_resolved or find_announcing_storm(incident) != storm.id:
            return
        released = Delivery(storm.id, target=storm.id, attempts=1, receipt=Receipt(now))
        event = TimelineEvent(
            now, "noted", f"The storm of {storm.name} is over: it gets a message of its own"
        )
        self._incidents.record_delivery(
            incident_id, RELEASED_BY_STORM, released, queue=SLACK, events=(event,), wake=(SLACK,), due=now
        )

    # --- deliveries ---

    def _dispatch(self, action: DeliveryAction, loaded: VersionedStorm, view: StormView) -> None:
        """Save the attempt, send, save the result. Return early where another worker changed the storm."""
        storm, now = loaded.storm, view.now
        before = storm.deliveries.get(action.key, Delivery())
        digest = action.key_digest if isinstance(action, Page | AcknowledgePage | ResolvePage) else ""
        target = f"{action.queue}:{action.target.address}"
        attempt = before.with_attempt(action.instance, action.content_version, target, now, key_digest=digest)
        was_maybe_sent = attempt.attempts > 1 and before.maybe_sent
        if was_maybe_sent and isinstance(action, Post):  # find_storm may find any of the attempts
            attempt = replace(attempt, content_version=before.content_version)
        if not self._store.save_if_unchanged(loaded, _with_delivery(storm, action.key, attempt)):
            return
        notification = StormNotification(
            action, storm, _summarize_for(action, view), now, self._public_url, _count_without_message(view)
        )
        try:
            if isinstance(action, Page | AcknowledgePage | ResolvePage):
                unlocked = self._keys.add_routing_key(action, attempt, now)
                notification = dataclasses.replace(notification, action=unlocked)
            receipt, is_found = self._send_notification(notification, attempt, was_maybe_sent=was_maybe_sent)
        except DeliveryError as error:
            after = attempt.with_failure(
                error,
                self._clock(),
                was_maybe_sent=was_maybe_sent,
                salt=f"{storm.id}/{action.key}",
                secret_digest=find_digest(self._routing.secret_digests, attempt.target),
            )
            _log_delivery(storm, action, after, error.reason)
            if self._rate_limiter is not None:
                self._rate_limiter.apply_retry_after(action, error)
            self._save_failure_notice(notification, after)
        else:
            is_older = is_found and isinstance(action, Post)
            after = replace(
                attempt.with_receipt(receipt),
                content_version=attempt.content_version if is_older else action.content_version,
            )
            _log_delivery(storm, action, after)
        self._storms.update_storm(storm.id, lambda latest: _with_delivery(latest.storm, action.key, after))
        is_in_doubt = after.receipt is not None and (is_unconfirmed(after) or is_resolved_too_often(after))
        if self._health is not None and not is_in_doubt:
            self._health.record_delivery(action.queue, action.target.address, after, self._clock())

    def _save_failure_notice(self, notification: StormNotification, after: Delivery) -> None:
        """Save one notice that a delivery failed for good, for all members. This happens before the failure
        is saved, so that a crash can't lose the notice.
        """
        if self._notices is None or not after.failed_at:
            return
        action, storm = notification.action, notification.storm
        about = f"{describe_kind(action)} to {after.target} given up: {after.reason}"
        self._notices.save_notice(
            f"{storm.id}/{action.key}/{after.instance}",
            f"{about} (a storm of {notification.summary.total} incidents, {storm.id})",
            self._clock(),
            about=about,
        )

    def _check_page(self, action: CheckPage, loaded: VersionedStorm, now: float) -> None:
        """Read a page's state from PagerDuty, once for all members of the batch, and save the finding.

        Where the storm changed meanwhile, nothing is saved and the next pass evaluates it again.
        """
        storm, before = loaded.storm, loaded.storm.deliveries[action.event_key]
        batch, is_page = int(action.event_key.partition(":")[2]), action.event_key.startswith("page:")
        try:
            finding = self._evaluate_page(action, storm, before, is_page=is_page)
        except DeliveryError:
            self._store.save_if_unchanged(
                loaded, _with_delivery(storm, action.event_key, postpone_check(before, now))
            )
            return
        if is_page and finding.is_answer and finding.status is not None:
            transition = "acknowledge" if finding.what == "acknowledged" else "resolve"
            by = Person(finding.status.by or "PagerDuty", via=PAGERDUTY)
            self._storms.respond(storm.id, transition, by, now, batch=batch, done_in_pagerduty=True)
            return
        after = record_check(before, finding, now) if is_page else record_resolve_check(before, finding, now)
        after = record_hint(after, action.hint)
        if text := _format_check(before, after, action.responder.title):
            self._save_notice(f"{storm.id}/{action.event_key}/{text}", f"{text} ({storm.id})", now)
        if self._store.save_if_unchanged(loaded, _with_delivery(storm, action.event_key, after)):
            if self._health is not None and is_page:
                self._health.record_delivery(PAGERDUTY, action.responder.name, after, now)
            fields = {"storm": storm.id, "key": action.event_key, "outcome": finding.what}
            logger.info("page checked", extra={"fields": fields})

    def _evaluate_page(self, action: CheckPage, storm: Storm, event: Delivery, *, is_page: bool) -> Finding:
        if self._status_client is None:
            return Finding("resolved", PagerDutyStatus("resolved"))
        key = storm_dedup_key(storm.id, int(action.event_key.partition(":")[2]))
        try:
            statuses = self._status_client.find_statuses([key]).get(key, ())
        except PermanentDeliveryError:
            if action.hint:  # trust the webhook, as without an API key
                return Finding("resolved", PagerDutyStatus("resolved"))
            raise
        return evaluate_page(statuses, event.first_attempt_at) if is_page else find_left_open(statuses, event)

    def _save_notice(self, notice_id: str, text: str, now: float) -> None:
        if self._notices is not None:
            self._notices.save_notice(notice_id, text, now)

    def _send_notification(
        self, notification: StormNotification, attempt: Delivery, *, was_maybe_sent: bool
    ) -> tuple[Receipt, bool]:
        queue = notification.action.queue
        channel = self._channels[queue]
        started = time.monotonic()
        try:
            found = channel.find_storm(notification, attempt.first_attempt_at) if was_maybe_sent else None
            return (found, True) if found else (channel.send_storm(notification), False)
        finally:
            metrics.DELIVERY_SECONDS.labels(queue).observe(time.monotonic() - started)


def _format_check(before: Delivery, after: Delivery, who: str) -> str:
    """Return the text of a notice about a checked event; empty where nothing is new."""
    if is_unconfirmed(after) and not is_unconfirmed(before):
        return (
            f"PagerDuty accepted the storm's page to {who} and has no incident for it, probably due to a "
            "maintenance window, a disabled service or an event rule; it is sent again"
        )
    if is_resolved_too_often(after) and not is_resolved_too_often(before):
        return f"PagerDuty resolves the storm's page to {who} again and again, and no person does"
    if is_left_open(after):
        return f"PagerDuty's incident of the storm's page to {who} is still open after our resolves"
    return ""


def _revive(loaded: VersionedStorm, digests: Mapping[str, str]) -> VersionedStorm:
    """Reset deliveries to pending that were refused for the old credentials, where there are new ones."""
    storm = loaded.storm
    mended = {
        key: delivery.revived()
        for key, delivery in storm.deliveries.items()
        if is_refused_under_former(delivery, digests)
    }
    if not mended:
        return loaded
    return dataclasses.replace(loaded, storm=replace(storm, deliveries={**storm.deliveries, **mended}))


def _with_delivery(storm: Storm, key: str, delivery: Delivery) -> Storm:
    return replace(storm, deliveries={**storm.deliveries, key: delivery})


def _respond_if_included(incident: Incident, *, response: StormResponse, now: float) -> IncidentChange:
    """Apply *response* to *incident*, unless its escalation run started after the response.

    A renewed acknowledgement of the storm renews the acknowledgements by the same or the previous person,
    not those by others.
    """
    if incident.run.started_at > response.at:
        return IncidentChange(incident)
    if response.transition == "resolve":
        return transitions.resolve(incident, response.by, now)
    is_theirs = incident.acknowledged_by in (response.by.name, response.previous_by)
    is_renewing = is_theirs and incident.acknowledged_at < response.at
    return transitions.acknowledge(incident, response.by, now, is_renewing=is_renewing)


def _summarize_for(action: DeliveryAction, view: StormView) -> StormSummary:
    """Return the summary of the members that *action* is about."""
    kind, _, name = action.key.partition(":")
    if kind == "page":
        return summarize_storm(one for one in view.in_batch(int(name)) if one.is_open)
    if kind == "step":
        counted = view.in_step(name) if is_page_delayed(name) else view.counted_members
        return summarize_storm(one for one in counted if one.is_open)
    return summarize_storm(view.counted_members)


def _count_without_message(view: StormView) -> tuple[tuple[str, int], ...]:
    """Return the unresolved members without their own message, counted by alert name."""
    with_message = set(view.storm.released)
    return summarize_storm(
        one for one in view.members if not one.is_resolved and one.id not in with_message
    ).names


def _log_delivery(storm: Storm, action: DeliveryAction, after: Delivery, reason: str = "") -> None:
    if after.receipt is not None:
        outcome = "simulated" if after.receipt.is_simulated else "delivered"
    else:
        outcome = "permanent" if after.failed_at else "temporary"
    metrics.DELIVERIES.labels(action.queue, outcome).inc()
    fields = {"storm": storm.id, "key": action.key, "target": after.target}
    if reason:
        fields |= {"reason": reason, "detail": after.detail}
        state = None if after.failed_at else f"{action.queue} {reason}"
        logger.warning("not delivered", extra={"fields": fields, "state": state})
    else:
        logger.info(outcome, extra={"fields": fields})

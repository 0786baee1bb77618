"""The reconciler of storms: load a storm and its members, plan, do one action, repeat; and its page check."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from receiver.engine.dispatcher import Dispatcher
from receiver.engine.ports import PageStatuses
from receiver.engine.rate_limit import RateLimiter
from receiver.errors import DeliveryError, NotFound
from receiver.incidents.failures import is_refused_under_former
from receiver.incidents.service import IncidentService
from receiver.incidents.store import RedisIncidents
from receiver.model import page_confirmation as confirmation
from receiver.model import transitions
from receiver.model.actions import Action, ConfirmPage, DeliveryAction, Page, Reply, Transition
from receiver.model.delivery import CLOCKS_DIFFER_S, Delivery, Receipt
from receiver.model.delivery_keys import RELEASED_BY_STORM, DeliveryKey, is_page_key
from receiver.model.delivery_status import find_announcing_storm
from receiver.model.incident import Incident, IncidentChange, Person, TimelineEvent
from receiver.model.page_confirmation import ConfirmationResult
from receiver.model.routing import PAGERDUTY, SLACK, RoutingTable
from receiver.storms import model, plan
from receiver.storms.service import StormService

logger = logging.getLogger(__name__)
_ACTIONS_AT_MOST = 40
# A storm's actions get the priority of incidents that are this much older, so they precede its members'.
_AHEAD_S = 60.0


@dataclass(frozen=True)
class StormSettings:
    """What of the configuration applies to storms.

    *rates* are how many new messages, or pages, a second can be sent to one target, by queue.
    *paused_until* returns the end of the maintenance at a time, 0 without one.
    """

    routing: RoutingTable
    rates: Mapping[str, float]
    paused_until: Callable[[float], float]
    public_url: str


@dataclass(frozen=True, kw_only=True)
class StormReconciler:
    """Does the missing actions of one storm. Without *status_client*, it trusts PagerDuty's webhooks."""

    storms: StormService
    incidents: RedisIncidents
    dispatcher: Dispatcher
    status_client: PageStatuses | None
    rate_limiter: RateLimiter
    settings: StormSettings
    clock: Callable[[], float]

    def reconcile(self, storm_id: str, queue: str, worker: str) -> dict[str, float | None]:
        """Do the missing actions; return when *queue* is due again. Raises StoreError, LeaseLost.

        Compare-and-set decides between two workers, not the lease.
        """
        for _ in range(_ACTIONS_AT_MOST):
            try:
                loaded = self.storms.store.load_storm(storm_id)
            except NotFound:
                return {}
            loaded = _reset_refused(loaded, self.settings.routing.secret_digests)
            view = self._load_view(loaded)
            wanted = plan.plan_storm(view)
            due = [] if wanted.next_check_at is None else [wanted.next_check_at]
            for action in wanted.actions:
                wait_s = self._find_wait_s(view, action)
                if wait_s <= 0:
                    self._apply_action(action, loaded, view, worker)
                    break
                due.append(view.now + wait_s)
            else:
                return {queue: min(due, default=None)}
        return {queue: self.clock()}

    def _load_view(self, loaded: model.VersionedStorm) -> plan.StormView:
        return plan.StormView(
            loaded.storm,
            loaded.list_members(self.incidents.load_heads(loaded.incident_ids)),
            self.settings.rates[loaded.storm.queue],
            self.settings.routing.responders,
            self.clock(),
            checks_pagerduty=self.status_client is not None,
        )

    def _find_wait_s(self, view: plan.StormView, action: Action) -> float:
        """Return the seconds until it is ready; then those for its permit or until maintenance ends."""
        if action.ready_at > view.now:
            return action.ready_at - view.now
        wakes = isinstance(action, Page) or (isinstance(action, Reply) and action.step is not None)
        if wakes and (until := self.settings.paused_until(view.now)) > view.now:
            return until - view.now
        if isinstance(action, Transition):
            return 0.0
        waiter, priority = f"{view.storm.id} {action.key}", view.storm.began_at - _AHEAD_S
        return self.rate_limiter.acquire_by_priority(action, waiter, priority, view.now).retry_after_s

    def _apply_action(
        self, action: Action, loaded: model.VersionedStorm, view: plan.StormView, worker: str
    ) -> None:
        storm, now = loaded.storm, view.now
        match action:
            case plan.ChangeStorm():
                self.storms.store.save_if_unchanged(
                    loaded, action.storm, if_none_joined=action.if_none_joined
                )
                if action.storm.resolved_at:
                    fields = {"storm": storm.id, "target_key": storm.target_key}
                    logger.info("storm closed", extra={"fields": fields})
            case plan.PropagateResponse():
                self._propagate_response(action.response, view)
                self._mark_done(storm.id, action.response.key, action.response.instance, now)
            case plan.ReleaseIncidents():
                for incident_id in storm.released:
                    self._release_incident(incident_id, storm, now)
                self._mark_done(storm.id, plan.RELEASE_INCIDENTS, "", now)
            case ConfirmPage():
                self._confirm_page(action, loaded, now)
            case DeliveryAction():
                notification = _build_notification(action, view, self.settings.public_url)
                self.dispatcher.dispatch(StormSubject(self.storms, loaded), notification, worker)

    def _confirm_page(self, action: ConfirmPage, loaded: model.VersionedStorm, now: float) -> None:
        """Read a page's state from PagerDuty, once for all members of the batch, and save the result.

        Where the storm changed meanwhile, nothing is saved and the next pass evaluates it again.
        """
        storm, key, store = loaded.storm, action.event_key, self.storms.store
        before, is_page = storm.deliveries[key], is_page_key(key)
        try:
            result = self._evaluate_page(action, storm, before)
        except DeliveryError:
            postponed = confirmation.postpone_check(before, now)
            store.save_if_unchanged(loaded, storm.with_delivery(key, postponed))
            return
        if is_page and result.is_by_person and result.status is not None:
            transition = "acknowledge" if result.what == "acknowledged" else "resolve"
            by = Person(result.status.by or "PagerDuty", via=PAGERDUTY)
            batch = model.parse_batch(key)
            self.storms.record_response(storm.id, transition, by, now, batch=batch, done_in_pagerduty=True)
            return
        record = confirmation.record_check if is_page else confirmation.record_resolve_check
        after = confirmation.record_hint(record(before, result, now), action.hint)
        if text := _format_check(before, after, action.responder.title):
            self.dispatcher.notices.save_notice(f"{storm.id}/{key}/{text}", f"{text} ({storm.id})", now)
        if store.save_if_unchanged(loaded, storm.with_delivery(key, after)):
            if is_page:
                self.dispatcher.health.record_delivery(PAGERDUTY, action.responder.name, after, now)
            fields = {"storm": storm.id, "key": key, "outcome": result.what}
            logger.info("page confirmation", extra={"fields": fields})

    def _evaluate_page(self, action: ConfirmPage, storm: model.Storm, event: Delivery) -> ConfirmationResult:
        if self.status_client is None:
            return confirmation.TRUSTED_RESOLVE
        evaluate = partial(confirmation.find_left_open, resolve=event)
        if is_page_key(action.event_key):
            evaluate = partial(confirmation.evaluate_page, sent_at=event.first_attempt_at)
        key = model.storm_dedup_key(storm.id, model.parse_batch(action.event_key))
        return self.status_client.evaluate_event(key, action.hint, evaluate)

    def _mark_done(self, storm_id: str, key: DeliveryKey, instance: str, now: float) -> None:
        """Save a receipt for a transition that is applied once."""
        done = Delivery(instance, attempts=1, receipt=Receipt(now))
        self.storms.update_storm(storm_id, lambda loaded: loaded.storm.with_delivery(key, done))

    def _propagate_response(self, response: model.StormResponse, view: plan.StormView) -> None:
        """Apply *response* to the members, except those of later batches or with a later escalation run."""
        for one in view.counted_members:
            if one.incident is None or one.is_resolved or one.member.batch > response.batch:
                continue
            change = partial(_respond_if_included, response=response, now=view.now)
            with suppress(NotFound):
                IncidentService(self.incidents).update(one.incident.id, change, view.now)

    def _release_incident(self, incident_id: str, storm: model.Storm, now: float) -> None:
        """Release an incident from the storm: from now on its plan contains its own message."""
        try:
            incident = self.incidents.load_incident(incident_id)
        except NotFound:
            return
        if incident.is_resolved or find_announcing_storm(incident) != storm.id:
            return
        released = Delivery(storm.id, target=storm.id, attempts=1, receipt=Receipt(now))
        text = f"The storm of {storm.name} is over: it gets a message of its own"
        self.incidents.record_delivery(
            incident_id,
            RELEASED_BY_STORM,
            released,
            queue=SLACK,
            events=(TimelineEvent(now, "noted", text),),
            wake=(SLACK,),
            due=now,
        )


@dataclass(frozen=True)
class StormSubject:
    """A storm as the subject of one delivery."""

    storms: StormService
    loaded: model.VersionedStorm

    def find_delivery(self, key: DeliveryKey) -> Delivery:
        return self.loaded.storm.find_delivery(key)

    def save_attempt(self, action: DeliveryAction, attempt: Delivery, worker: str) -> bool:
        """Save the attempt by compare-and-set, which decides between two workers; not by the lease."""
        del worker
        changed = self.loaded.storm.with_delivery(action.key, attempt)
        return self.storms.store.save_if_unchanged(self.loaded, changed)

    def save_outcome(self, action: DeliveryAction, after: Delivery) -> None:
        self.storms.update_storm(
            self.loaded.storm.id, lambda latest: latest.storm.with_delivery(action.key, after)
        )


def _build_notification(
    action: DeliveryAction, view: plan.StormView, public_url: str
) -> model.StormNotification:
    """Return the notification of *action*, with the summary of the members that it is about."""
    members = view.counted_members
    if isinstance(action, Page):
        members = [one for one in view.list_batch(model.parse_batch(action.key)) if one.is_open]
    elif isinstance(action, Reply) and action.step is not None:
        step = action.step.name
        counted = (
            [one for one in view.mentioned if one.step == step] if model.is_page_delayed(step) else members
        )
        members = [one for one in counted if one.is_open]
    with_message = set(view.storm.released)
    without_message = (
        one for one in view.members if not one.is_resolved and one.incident_id not in with_message
    )
    return model.StormNotification(
        action,
        view.storm,
        model.summarize_storm(members),
        view.now,
        public_url,
        model.summarize_storm(without_message).names,
    )


def _reset_refused(loaded: model.VersionedStorm, digests: Mapping[str, str]) -> model.VersionedStorm:
    """Reset deliveries to pending that were refused for the old credentials, where there are new ones."""
    storm = loaded.storm
    reset = {
        key: delivery.with_retry_allowed()
        for key, delivery in storm.deliveries.items()
        if is_refused_under_former(delivery, digests)
    }
    if not reset:
        return loaded
    return dataclasses.replace(loaded, storm=replace(storm, deliveries={**storm.deliveries, **reset}))


def _respond_if_included(incident: Incident, *, response: model.StormResponse, now: float) -> IncidentChange:
    """Apply *response* to *incident*, unless its escalation run started after the response. A run that starts
    in the future started before the clock was set back, and so before the response.

    A renewed acknowledgement of the storm renews the acknowledgements by the same or the previous person,
    not those by others.
    """
    if response.at < incident.run.started_at <= now + CLOCKS_DIFFER_S:
        return IncidentChange(incident)
    if response.transition == "resolve":
        return transitions.resolve(incident, response.by, now)
    is_theirs = incident.acknowledged_by in (response.by.name, response.previous_by)
    is_renewing = is_theirs and incident.acknowledged_at < response.at
    return transitions.acknowledge(incident, response.by, now, is_renewing=is_renewing)


def _format_check(before: Delivery, after: Delivery, who: str) -> str:
    """Return the text of a notice about a checked event; empty where nothing is new."""
    if confirmation.is_unconfirmed(after) and not confirmation.is_unconfirmed(before):
        return (
            f"PagerDuty accepted the storm's page to {who} and has no incident for it, probably due to a "
            "maintenance window, a disabled service or an event rule; it is sent again"
        )
    is_resolved_too_often = confirmation.is_resolved_too_often
    if is_resolved_too_often(after) and not is_resolved_too_often(before):
        return f"PagerDuty resolves the storm's page to {who} again and again, and no person does"
    if confirmation.is_left_open(after):
        return f"PagerDuty's incident of the storm's page to {who} is still open after our resolves"
    return ""

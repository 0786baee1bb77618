"""The reconciler of storms: load a storm and its members, plan, do one action, and repeat."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from receiver.engine.rate_limit import RateLimiter
from receiver.errors import NotFound
from receiver.incidents.failures import is_refused_under_former
from receiver.incidents.service import IncidentService
from receiver.incidents.store import RedisIncidents
from receiver.model import transitions
from receiver.model.actions import Action, ConfirmPage, DeliveryAction, Page, Reply, Transition
from receiver.model.delivery import Delivery, Receipt
from receiver.model.delivery_keys import RELEASED_BY_STORM, DeliveryKey
from receiver.model.delivery_status import find_announcing_storm
from receiver.model.incident import Incident, IncidentChange, TimelineEvent
from receiver.model.routing import SLACK, RoutingTable
from receiver.storms.deliveries import StormDeliveries
from receiver.storms.model import (
    Storm,
    StormResponse,
    VersionedStorm,
    list_incident_ids,
    load_member_states,
    split_members,
    with_delivery,
)
from receiver.storms.page_confirmation import StormPageConfirmer
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
from receiver.storms.store import RedisStorms

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

    def find_rate(self, storm: Storm) -> float:
        return self.rates[storm.queue]


class StormReconciler:
    """Does the missing actions of one storm."""

    def __init__(
        self,
        store: RedisStorms,
        storms: StormService,
        incidents: RedisIncidents,
        deliveries: StormDeliveries,
        *,
        page_confirmer: StormPageConfirmer,
        rate_limiter: RateLimiter,
        settings: StormSettings,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._storms = storms
        self._incidents = incidents
        self._incident_service = IncidentService(incidents)
        self._deliveries = deliveries
        self._page_confirmer = page_confirmer
        self._rate_limiter = rate_limiter
        self._settings = settings
        self._clock = clock

    def reconcile(self, storm_id: str, queue: str, worker: str) -> dict[str, float | None]:
        """Do the missing actions; return when *queue* is due again. Raises StoreError, LeaseLost.

        Compare-and-set decides between two workers, not the lease.
        """
        for _ in range(_ACTIONS_AT_MOST):
            try:
                loaded = _revive(self._store.load_storm(storm_id), self._settings.routing.secret_digests)
            except NotFound:
                return {}
            view = self._load_view(loaded)
            wanted = plan_storm(view)
            ready = [action for action in wanted.actions if action.ready_at <= view.now]
            later = [action.ready_at for action in wanted.actions if action.ready_at > view.now]
            for action in ready:
                wait_s = self._find_wait_s(view, action)
                if wait_s <= 0:
                    self._apply_action(action, loaded, view, worker)
                    break
                later.append(view.now + wait_s)
            else:
                return {
                    queue: min([at for at in (wanted.next_check_at, *later) if at is not None], default=None)
                }
        return {queue: self._clock()}

    def _load_view(self, loaded: VersionedStorm) -> StormView:
        states = load_member_states(loaded, self._incidents.load_heads(list_incident_ids(loaded)))
        members, mentioned = split_members(states)
        return StormView(
            loaded.storm,
            members,
            mentioned,
            self._settings.find_rate(loaded.storm),
            dict(self._settings.routing.responders),
            self._clock(),
            checks_pagerduty=self._page_confirmer.can_read_pages,
        )

    def _find_wait_s(self, view: StormView, action: Action) -> float:
        """Return the seconds the action must wait, for its permit or for the end of maintenance."""
        wakes = isinstance(action, Page) or (isinstance(action, Reply) and action.step is not None)
        if wakes and (until := self._settings.paused_until(view.now)) > view.now:
            return until - view.now
        if isinstance(action, Transition):
            return 0.0
        storm = view.storm
        priority = storm.began_at - _AHEAD_S
        return self._rate_limiter.acquire_by_priority(
            action, f"{storm.id} {action.key}", priority, view.now
        ).retry_after_s

    def _apply_action(self, action: Action, loaded: VersionedStorm, view: StormView, worker: str) -> None:
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
            case ConfirmPage():
                self._page_confirmer.confirm_page(action, loaded, now)
            case DeliveryAction():
                self._deliveries.dispatch(action, loaded, view, worker)

    def _mark_done(self, storm_id: str, key: DeliveryKey, instance: str, now: float) -> None:
        """Save a receipt for a transition that is applied once."""
        done = Delivery(instance, attempts=1, receipt=Receipt(now))
        self._storms.update_storm(storm_id, lambda loaded: with_delivery(loaded.storm, key, done))

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


def _revive(loaded: VersionedStorm, digests: Mapping[str, str]) -> VersionedStorm:
    """Reset deliveries to pending that were refused for the old credentials, where there are new ones."""
    storm = loaded.storm
    mended = {
        key: delivery.with_retry_allowed()
        for key, delivery in storm.deliveries.items()
        if is_refused_under_former(delivery, digests)
    }
    if not mended:
        return loaded
    return dataclasses.replace(loaded, storm=replace(storm, deliveries={**storm.deliveries, **mended}))


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

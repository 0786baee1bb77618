"""The reconciler of one incident: load it, plan, dispatch one action, repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as change_evaluation
from functools import partial
from typing import Any

from msgspec.structs import replace as change_fields

from receiver.engine.ports import Bundler, PageEventConfirmer, Policies, PreEscalationCheck
from receiver.engine.queue import DueTimes
from receiver.engine.rate_limit import RateLimiter
from receiver.errors import NotFound
from receiver.incidents.deliveries import DeliveryOutcome, IncidentDeliveries
from receiver.incidents.routing_preview import SeverityNotices
from receiver.incidents.service import IncidentService
from receiver.incidents.store import RedisIncidents, StoredIncident
from receiver.model.actions import (
    Action,
    AddTimelineEntry,
    CheckBeforeStep,
    CompactAlerts,
    ConfirmPage,
    DeliveryAction,
    EndFlapping,
    ExpireAcknowledgement,
    ExpireAlerts,
    Page,
    Transition,
    UpdateHeading,
)
from receiver.model.delivery import Delivery
from receiver.model.delivery_status import is_page_ended
from receiver.model.heading import update_heading
from receiver.model.incident import Incident
from receiver.model.plan import IncidentPlan, plan, queues_for
from receiver.model.routing import EscalationPolicy
from receiver.model.transitions import (
    compact_alerts,
    end_flapping,
    expire_acknowledgement,
    expire_alerts,
)
from receiver.storage.client import Command
from receiver.storage.connection import ScriptCall

# More actions than an incident can want at once; beyond it, the incident is released and enqueued again.
_ACTIONS_AT_MOST = 40
# Polling interval until the page of the group's former incident is resolved in PagerDuty.
_PREDECESSOR_WAIT_S = 1.0


@dataclass(frozen=True)
class _Evaluation:
    """The plan of an incident for one queue: all that is *wanted*, the actions of the queue that are *ready*,
    and the times at which *later* ones will be. *writes* is how often the incident has been written,
    *storms* the reply with the active storms.
    """

    incident: Incident
    writes: int
    storms: Any
    queue: str
    wanted: IncidentPlan
    ready: list[Action]
    later: list[float]

    @property
    def now(self) -> float:
        return self.wanted.view.now

    @property
    def policy(self) -> EscalationPolicy:
        return self.wanted.view.policy

    def find_due_times(self, waits: Mapping[str, float], *, wakes_others: bool) -> dict[str, float | None]:
        """Return the next due time for each queue; *waits* holds the end of the wait of each ready action.

        With *wakes_others*, another queue is also due when its actions are, unless a worker sends them now.
        """
        wanted = self.wanted
        queues = queues_for(self.incident, checks_alertmanager=self.policy.checks_alertmanager)
        dues: dict[str, float | None] = dict.fromkeys(queues, wanted.next_check_at)
        for action in wanted.actions:  # a fallback may need a queue that nothing else wakes
            if action.queue not in dues or (wakes_others and not self._is_in_flight(action)):
                due_at = max(self.now, action.ready_at)
                dues[action.queue] = min(due_at, dues.get(action.queue) or due_at)
        ready = (waits[action.key] for action in self.ready if isinstance(action, DeliveryAction))
        times = [wanted.next_check_at, *self.later, *ready]
        dues[self.queue] = min((at for at in times if at is not None), default=None)
        return dues

    def _is_in_flight(self, action: Action) -> bool:
        """Return whether the last attempt of *action* has no result yet: its worker holds a lease."""
        if not isinstance(action, DeliveryAction):
            return False
        delivery = self.incident.find_delivery(action.key, action.instance)
        return delivery.attempts > 0 and not delivery.is_settled and not delivery.retry_at


@dataclass(frozen=True, repr=False)
class TransitionExecutor:
    """Applies the actions of a plan that change the incident itself: the change takes the place of a receipt.

    *checks* are the checks before a step by name.
    """

    incident_service: IncidentService
    checks: Mapping[str, PreEscalationCheck]
    page_confirmer: PageEventConfirmer

    def apply_transition(self, action: Transition, incident: Incident, worker: str, now: float) -> None:
        """Apply *action* to the latest state of the incident. Raises StoreError, LeaseLost."""
        update = self.incident_service.update
        match action:
            case ConfirmPage():
                self.page_confirmer.confirm_page(action, incident, worker)
            case CheckBeforeStep(check=name) if name in self.checks:
                self.checks[name].check_incident(action, incident)
            case ExpireAcknowledgement(acknowledged_at=at):
                update(incident.id, lambda latest: expire_acknowledgement(latest, at, now), now)
            case EndFlapping(flapping_until=until):
                update(incident.id, lambda latest: end_flapping(latest, until, now), now)
            case ExpireAlerts():
                update(incident.id, lambda latest: expire_alerts(latest, now), now)
            case UpdateHeading(heading=heading, revision=revision):
                update(incident.id, lambda latest: update_heading(latest, heading, revision), now)
            case CompactAlerts():
                update(incident.id, lambda latest: compact_alerts(latest, now), now)
                self.incident_service.incidents.drop_compacted(incident.id)


@dataclass(frozen=True, kw_only=True, repr=False)
class IncidentReconciler:
    """Dispatches the missing actions of one incident in one queue."""

    incidents: RedisIncidents
    policies: Policies
    deliveries: IncidentDeliveries
    transitions: TransitionExecutor
    severity_notices: SeverityNotices
    rate_limiter: RateLimiter
    storms: Bundler
    clock: Callable[[], float]

    def reconcile(self, incident_id: str, queue: str, worker: str) -> DueTimes:
        """Dispatch the missing actions of *queue*; return the next due time for each queue.

        An escalation step must know the latest acknowledgement: if another process has written the incident,
        it is read again before the next action. The release saves the outcome of the last action; only if
        another process has written the incident, it is read and planned once more before it is released.
        Raises StoreError, LeaseLost.
        """
        return self._reconcile(incident_id, queue, worker, wakes_others=False)

    def _reconcile(self, incident_id: str, queue: str, worker: str, *, wakes_others: bool) -> DueTimes:
        waits: dict[str, float] = {}
        evaluation = self._load_evaluation(incident_id, queue)
        for _ in range(_ACTIONS_AT_MOST):
            if evaluation is None:
                return DueTimes()
            dispatched = self._dispatch_one(evaluation, waits, worker)
            if dispatched is None:
                # Pages and messages went first.
                self.severity_notices.send_notices(evaluation.incident, evaluation.now)
                return DueTimes(evaluation.find_due_times(waits, wakes_others=wakes_others))
            if not isinstance(dispatched, DeliveryOutcome):
                evaluation = self._load_evaluation(incident_id, queue)
                continue
            after = self._plan_after(evaluation, dispatched)
            is_last = not after.ready and not self.severity_notices.has_new(after.incident)
            call = self.deliveries.build_outcome_call(dispatched, after.wanted, after.writes, is_last=is_last)
            if is_last:
                plan_again = partial(self._reconcile, incident_id, queue, worker, wakes_others=True)
                return DueTimes(after.find_due_times(waits, wakes_others=wakes_others), call, plan_again)
            evaluation = self._save_outcome(call, after)
        return DueTimes({queue: self.clock()})

    def _load_evaluation(self, incident_id: str, queue: str) -> _Evaluation | None:
        """Load the incident and plan for *queue*; None if it does not exist."""
        now = self.clock()
        try:
            stored, (maintenance, storms) = self.incidents.load_with(incident_id, self._reads)
        except NotFound:
            return None
        policy = self.policies.resolve_policy(stored.incident, maintenance, now)
        return self._evaluate_incident(stored, storms, policy, queue, now)

    @property
    def _reads(self) -> tuple[Command, Command]:
        return self.policies.read_maintenance, self.storms.read_active

    def _plan_after(self, evaluation: _Evaluation, outcome: DeliveryOutcome) -> _Evaluation:
        """Return the evaluation with *outcome*; it expects that only the attempt was written since."""
        deliveries = {**evaluation.incident.deliveries, outcome.action.key: outcome.delivery}
        incident = change_fields(evaluation.incident, deliveries=deliveries)
        writes = evaluation.writes + (1 if isinstance(outcome.action, AddTimelineEntry) else 2)
        try:
            stored, storms, queue = StoredIncident(incident, writes), evaluation.storms, evaluation.queue
            return self._evaluate_incident(stored, storms, evaluation.policy, queue, self.clock())
        except BaseException:  # the message was sent
            self.incidents.save_outcome(self.deliveries.build_outcome_call(outcome, evaluation.wanted, 0))
            raise

    def _save_outcome(self, call: ScriptCall, after: _Evaluation) -> _Evaluation | None:
        """Save an outcome; return *after*, or the incident as read again if another process has written it or
        the maintenance.
        """
        writes, (maintenance, storms) = self.incidents.save_outcome(call, self._reads)
        policy = self.policies.resolve_policy(after.incident, maintenance, after.now)
        if writes != after.writes or policy is not after.policy:
            return self._load_evaluation(after.incident.id, after.queue)
        return change_evaluation(after, storms=storms)

    def _evaluate_incident(
        self, stored: StoredIncident, storms: Any, policy: EscalationPolicy, queue: str, now: float
    ) -> _Evaluation:
        incident, writes = stored
        wanted = plan(incident, policy, now)
        actions = [action for action in wanted.actions if action.queue == queue]
        ready, later = self._split_by_readiness(incident, actions, now)
        return _Evaluation(incident, writes, storms, queue, wanted, ready, later)

    def _dispatch_one(
        self, evaluation: _Evaluation, waits: dict[str, float], worker: str
    ) -> DeliveryOutcome | Transition | Delivery | None:
        """Dispatch one of the ready actions; return its outcome, or what changed the incident otherwise; None
        if none may be dispatched now.
        """
        incident, view = evaluation.incident, evaluation.wanted.view
        for action in evaluation.ready:
            if not isinstance(action, DeliveryAction):
                continue
            bundled = self.storms.bundle_action(action, view, evaluation.storms, worker)
            if bundled is not None:
                return bundled
        next_one = self._find_next_action(incident, evaluation.ready, waits, view.now)
        if not isinstance(next_one, DeliveryAction):
            if next_one is not None:
                self.transitions.apply_transition(next_one, incident, worker, view.now)
            return next_one
        return self.deliveries.dispatch(next_one, view, worker)

    def _find_next_action(
        self, incident: Incident, ready: list[Action], waits: dict[str, float], now: float
    ) -> Action | None:
        """Return the first action that gets a permit, None if all have to wait. The time until which an
        action waits is added to *waits* by key, so that the rate limiter is not asked again before.
        """
        for action in ready:
            if isinstance(action, Transition):
                return action
            if waits.get(action.key, now) > now:
                continue
            permit = self.rate_limiter.acquire(action, incident, now)
            if permit.retry_after_s <= 0:
                waits.pop(action.key, None)
                return action
            # If too much waits, a storm starts; the action stops waiting, since the storm announces it.
            waiting_list = partial(self.rate_limiter.list_waiters, action)
            is_announced = self.storms.maybe_start(permit, waiting_list, action, incident, now)
            waits[action.key] = now if is_announced else now + permit.retry_after_s
        return None

    def _split_by_readiness(
        self, incident: Incident, actions: list[Action], now: float
    ) -> tuple[list[Action], list[float]]:
        """Return the actions that are ready now, and the times at which the others will be."""
        ready = [action for action in actions if action.ready_at <= now]
        later = [action.ready_at for action in actions if action.ready_at > now]
        pages = [action for action in ready if isinstance(action, Page)]
        if incident.previous and pages:
            early = self._list_early_pages(incident, pages)
            ready = [action for action in ready if action not in early]
            later += [now + _PREDECESSOR_WAIT_S] if early else []
        return ready, later

    def _list_early_pages(self, incident: Incident, pages: Sequence[Page]) -> list[Page]:
        """Return the pages whose responder has an open page of the group's former incident. Both incidents
        use the same dedup key, so a late resolve would close the new page.
        """
        try:
            former = self.incidents.load_incident(incident.previous)
        except NotFound:
            return []
        return [page for page in pages if not is_page_ended(former, page.step.responder)]

"""The reconciler of one incident: load it, plan, dispatch one action, repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace as change_fields

from receiver.engine.ports import Bundler
from receiver.engine.rate_limit import Permit, RateLimiter
from receiver.errors import NotFound
from receiver.incidents.deliveries import IncidentDeliveries
from receiver.incidents.routing_preview import SeverityNotices
from receiver.incidents.store import RedisIncidents
from receiver.incidents.transition_executor import TransitionExecutor
from receiver.model.actions import Action, DeliveryAction, Page, Transition
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import DeliveryKey
from receiver.model.delivery_status import is_page_ended
from receiver.model.incident import Incident
from receiver.model.plan import IncidentPlan, plan, queues_for
from receiver.model.routing import EscalationPolicy

# More actions than an incident can want at once; beyond it, the incident is released and enqueued again.
_ACTIONS_AT_MOST = 40
# Polling interval until the page of the group's former incident is resolved in PagerDuty.
_PREDECESSOR_WAIT_S = 1.0


@dataclass(frozen=True)
class _Evaluation:
    """The plan of an incident for one queue: all that is *wanted*, the actions of the queue that are *ready*,
    and the times at which *later* ones will be.
    """

    incident: Incident
    policy: EscalationPolicy
    queue: str
    now: float
    wanted: IncidentPlan
    ready: list[Action]
    later: list[float]

    def find_due_times(self, waits: Mapping[str, float]) -> dict[str, float | None]:
        """Return the next due time for each queue; *waits* holds the end of the wait of each ready action."""
        wanted = self.wanted
        queues = queues_for(self.incident, checks_alertmanager=self.policy.checks_alertmanager)
        dues: dict[str, float | None] = dict.fromkeys(queues, wanted.next_check_at)
        for action in wanted.actions:  # a fallback may need a queue that nothing else wakes
            if action.queue not in dues:
                dues[action.queue] = max(self.now, action.ready_at)
        ready = (waits[action.key] for action in self.ready if isinstance(action, DeliveryAction))
        moments = [wanted.next_check_at, *self.later, *ready]
        dues[self.queue] = min((at for at in moments if at is not None), default=None)
        return dues


@dataclass(frozen=True)
class _Dispatched:
    """A dispatched action: its stored delivery by its key, or None if the incident must be read again."""

    delivery: tuple[DeliveryKey, Delivery] | None


class IncidentReconciler:
    """Dispatches the missing actions of one incident in one queue.

    *policies* returns an incident's escalation policy as configured now.
    """

    def __init__(
        self,
        incidents: RedisIncidents,
        policies: Callable[[Incident, float], EscalationPolicy],
        deliveries: IncidentDeliveries,
        *,
        transitions: TransitionExecutor,
        severity_notices: SeverityNotices,
        rate_limiter: RateLimiter,
        storms: Bundler,
        clock: Callable[[], float],
    ) -> None:
        self._incidents = incidents
        self._policies = policies
        self._deliveries = deliveries
        self._transitions = transitions
        self._severity_notices = severity_notices
        self._rate_limiter = rate_limiter
        self._storms = storms
        self._clock = clock

    def reconcile(self, incident_id: str, queue: str, worker: str) -> dict[str, float | None]:
        """Dispatch the missing actions of *queue*; return the next due time for each queue.

        The incident is read again before each action, since an escalation step must know the latest
        acknowledgement. It is not read again after the last action: a process that changed it has enqueued it
        in each queue, and `release` keeps that entry. Raises StoreError, LeaseLost.
        """
        waits: dict[str, float] = {}
        evaluation = self._load(incident_id, queue)
        for _ in range(_ACTIONS_AT_MOST):
            if evaluation is None:
                return {}
            dispatched = self._dispatch_one(evaluation, waits, worker)
            if dispatched is None:
                # Pages and messages went first.
                self._severity_notices.send_notices(evaluation.incident, evaluation.now)
                return evaluation.find_due_times(waits)
            evaluation = self._evaluate_after(evaluation, dispatched, waits) or self._load(incident_id, queue)
        return {queue: self._clock()}

    def _load(self, incident_id: str, queue: str) -> _Evaluation | None:
        """Load the incident and plan for *queue*; None if it does not exist."""
        now = self._clock()
        try:
            incident = self._incidents.load(incident_id)
        except NotFound:
            return None
        return self._evaluate(incident, self._policies(incident, now), queue, now)

    def _evaluate_after(
        self, evaluation: _Evaluation, dispatched: _Dispatched, waits: Mapping[str, float]
    ) -> _Evaluation | None:
        """Return the evaluation after an action was *dispatched*; None if the incident must be read again:
        the action changed more than its delivery, or another action is ready.
        """
        if dispatched.delivery is None:
            return None
        key, delivery = dispatched.delivery
        deliveries = {**evaluation.incident.deliveries, key: delivery}
        incident = change_fields(evaluation.incident, deliveries=deliveries)
        after = self._evaluate(incident, evaluation.policy, evaluation.queue, self._clock())
        return None if any(_find_wait_end(one, waits) <= after.now for one in after.ready) else after

    def _evaluate(self, incident: Incident, policy: EscalationPolicy, queue: str, now: float) -> _Evaluation:
        wanted = plan(incident, policy, now)
        ready, later = self._split_by_readiness(
            incident, [one for one in wanted.actions if one.queue == queue], now
        )
        return _Evaluation(incident, policy, queue, now, wanted, ready, later)

    def _dispatch_one(
        self, evaluation: _Evaluation, waits: dict[str, float], worker: str
    ) -> _Dispatched | None:
        """Dispatch one of the ready actions; return None if none may be dispatched now."""
        incident, policy, now = evaluation.incident, evaluation.policy, evaluation.now
        for action in evaluation.ready:
            if not isinstance(action, DeliveryAction):
                continue
            bundled = self._storms.bundle(action, incident, policy, now, worker)
            if bundled is not None:
                return _Dispatched((action.key, bundled))
        next_one = self._find_next_action(incident, evaluation.ready, waits, now)
        if next_one is None:
            return None
        if isinstance(next_one, Transition):
            self._transitions.apply_transition(next_one, incident, worker, now)
            return _Dispatched(None)
        delivery = self._deliveries.dispatch(next_one, evaluation.wanted.view, worker)
        return _Dispatched((next_one.key, delivery) if delivery is not None else None)

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
            permit = self._rate_limiter.acquire(action, incident, now)
            if permit.retry_after_s <= 0:
                waits.pop(action.key, None)
                return action
            waits[action.key] = now + permit.retry_after_s
            self._maybe_start_storm(permit, action, incident, now, waits)
        return None

    def _maybe_start_storm(
        self, permit: Permit, action: DeliveryAction, incident: Incident, now: float, waits: dict[str, float]
    ) -> None:
        """Start a storm if too much waits; then the action stops waiting, since the storm announces it."""
        waiting_list = partial(self._rate_limiter.list_waiters, action)
        if self._storms.maybe_start(permit, waiting_list, action, incident, now):
            waits[action.key] = now

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
            former = self._incidents.load(incident.previous)
        except NotFound:
            return []
        return [page for page in pages if not is_page_ended(former, page.step.responder)]


def _find_wait_end(action: Action, waits: Mapping[str, float]) -> float:
    """Return until when a ready *action* waits for its permit; 0 where it does not."""
    return waits.get(action.key, 0.0) if isinstance(action, DeliveryAction) else 0.0

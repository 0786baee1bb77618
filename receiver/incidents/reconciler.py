"""Bringing one incident to how it should be: look, plan, do one thing, look again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace as change_fields

from receiver.engine.health import DeliveryHealthRecorder
from receiver.engine.ports import (
    Bundler,
    Channel,
    Incidents,
    Notices,
    PageAcknowledgementCheck,
    PageCheck,
    Reconciles,
    StatusCheck,
)
from receiver.engine.rate_limit import Permit, RateLimiter
from receiver.errors import NotFound
from receiver.incidents.dispatcher import Dispatcher
from receiver.incidents.notifications import NotificationBuilder
from receiver.incidents.routing_keys import RoutingKeys
from receiver.incidents.routing_preview import SeverityNotices
from receiver.model.actions import Action, Page, Plan
from receiver.model.delivery import Delivery, is_storm
from receiver.model.incident import Incident
from receiver.model.plan import plan, queues_for, resolve_policy
from receiver.model.routing import PAGERDUTY, EscalationPolicy, RoutingTable

# More than an incident can want at once; beyond it others get their turn first.
_ACTIONS_AT_MOST = 40
# How often to look whether the group's former incident has told the pager its end.
_PREDECESSOR_WAIT_S = 1.0


@dataclass(frozen=True)
class _Evaluation:
    """An incident as a lane finds it: what is *wanted*, which of that is *ready* to be done in the lane, and
    at which moments more will be.
    """

    incident: Incident
    policy: EscalationPolicy
    queue: str
    now: float
    wanted: Plan
    ready: list[Action]
    later: list[float]

    def find_due_times(self, waits: Mapping[str, float]) -> dict[str, float | None]:
        """Return when each lane is to look again where all that is ready *waits*."""
        wanted = self.wanted
        queues = queues_for(self.incident, checks_alertmanager=self.policy.checks_alertmanager)
        dues: dict[str, float | None] = dict.fromkeys(queues, wanted.next_check_at)
        for action in wanted.actions:  # a fallback may need a lane that nobody else wakes
            if action.queue not in dues:
                dues[action.queue] = max(self.now, action.ready_at)
        moments = [wanted.next_check_at, *self.later, *(waits[action.key] for action in self.ready)]
        dues[self.queue] = min((at for at in moments if at is not None), default=None)
        return dues


@dataclass(frozen=True)
class _Dispatched:
    """What was done: the delivery as it is kept now, None where the incident itself was changed."""

    key: str
    delivery: Delivery | None


class Reconciler:
    """Does for one incident, in one lane, what is missing."""

    def __init__(
        self,
        incidents: Incidents,
        channels: Mapping[str, Channel],
        routing: RoutingTable,
        notification_builder: NotificationBuilder,
        status_check: StatusCheck | None,
        *,
        clock: Callable[[], float],
        keys: RoutingKeys,
        rate_limiter: RateLimiter | None = None,
        paused_until: Callable[[float], float] = lambda _now: 0.0,
        health: DeliveryHealthRecorder | None = None,
        acknowledgement_check: PageAcknowledgementCheck | None = None,
        notices: Notices | None = None,
        storms: Bundler | None = None,
        storm_reconciler: Reconciles | None = None,
        checker: PageCheck | None = None,
    ) -> None:
        self._paused_until = paused_until
        self._storms = storms
        self._storm_reconciler = storm_reconciler
        self._incidents = incidents
        self._routing = routing
        self._notification_builder = notification_builder
        self._clock = clock
        self._dispatcher = Dispatcher(
            incidents,
            channels,
            status_check,
            clock,
            rate_limiter=rate_limiter,
            health=health,
            acknowledgement_check=acknowledgement_check,
            notices=notices,
            checker=checker,
            keys=keys,
            digests=routing.secret_digests,
        )
        self._rate_limiter = rate_limiter
        self._severity_notices = SeverityNotices(notices, routing) if notices is not None else None

    def reconcile(self, incident_id: str, queue: str, worker: str) -> dict[str, float | None]:
        """Do what is missing in *lane*; return when each lane is to look again.

        The incident is read anew before each action, since a timer that fires must know the
        latest acknowledgement. After the last one it is not: whoever changed it meanwhile has had each
        lane look again, and `release` keeps that. Raises StoreError, ClaimLost.
        """
        if is_storm(incident_id):
            return (
                self._storm_reconciler.reconcile(incident_id, queue, worker)
                if self._storm_reconciler is not None
                else {}
            )
        waits: dict[str, float] = {}
        evaluation = self._load(incident_id, queue)
        for _ in range(_ACTIONS_AT_MOST):
            if evaluation is None:
                return {}
            dispatched = self._dispatch_one(evaluation, waits, worker)
            if dispatched is None:
                if self._severity_notices is not None:
                    # Pages and messages went first.
                    self._severity_notices.send_notices(evaluation.incident, evaluation.now)
                return evaluation.find_due_times(waits)
            evaluation = self._evaluate_after(evaluation, dispatched, waits) or self._load(incident_id, queue)
        return {queue: self._clock()}

    def _load(self, incident_id: str, queue: str) -> _Evaluation | None:
        """Read the incident, and see what is to be done in *lane*; None where it is gone."""
        now = self._clock()
        try:
            incident = self._incidents.load(incident_id)
        except NotFound:
            return None
        policy = resolve_policy(self._routing, incident, self._paused_until(now))
        return self._evaluate(incident, policy, queue, now)

    def _evaluate_after(
        self, evaluation: _Evaluation, dispatched: _Dispatched, waits: Mapping[str, float]
    ) -> _Evaluation | None:
        """Return how things stand after what was *done*; None where the incident is to be read for that: more
        than a delivery was changed, or more is to be done, by how it stands then.
        """
        if dispatched.delivery is None:
            return None
        deliveries = {**evaluation.incident.deliveries, dispatched.key: dispatched.delivery}
        incident = change_fields(evaluation.incident, deliveries=deliveries)
        after = self._evaluate(incident, evaluation.policy, evaluation.queue, self._clock())
        return None if any(waits.get(one.key, after.now) <= after.now for one in after.ready) else after

    def _evaluate(self, incident: Incident, policy: EscalationPolicy, queue: str, now: float) -> _Evaluation:
        wanted = plan(incident, policy, now)
        ready, later = self._split_by_readiness(
            incident, [one for one in wanted.actions if one.queue == queue], now
        )
        return _Evaluation(incident, policy, queue, now, wanted, ready, later)

    def _dispatch_one(
        self, evaluation: _Evaluation, waits: dict[str, float], worker: str
    ) -> _Dispatched | None:
        """Do one of the actions that are ready; return what was done, None where none could be."""
        incident, policy, now = evaluation.incident, evaluation.policy, evaluation.now
        if self._storms is not None:
            for action in evaluation.ready:
                bundled = self._storms.bundle(action, incident, policy, now, worker)
                if bundled is not None:
                    return _Dispatched(action.key, bundled)
        next_one = self._find_next_action(incident, evaluation.ready, waits, now)
        if next_one is None:
            return None
        notification = self._notification_builder.build(next_one, incident, policy, now)
        return _Dispatched(next_one.key, self._dispatcher.dispatch(notification, worker))

    def _find_next_action(
        self, incident: Incident, ready: list[Action], waits: dict[str, float], now: float
    ) -> Action | None:
        """Return the first action whose turn it is, None where all have to wait; *waits* learns until when,
        by key, so that nothing is asked twice meanwhile.
        """
        for action in ready:
            if waits.get(action.key, now) > now:
                continue
            permit = (
                self._rate_limiter.acquire(action, incident, now) if self._rate_limiter is not None else None
            )
            if permit is None or permit.retry_after_s <= 0:
                waits.pop(action.key, None)
                return action
            waits[action.key] = now + permit.retry_after_s
            self._maybe_start_storm(permit, action, incident, now, waits)
        return None

    def _maybe_start_storm(
        self, permit: Permit, action: Action, incident: Incident, now: float, waits: dict[str, float]
    ) -> None:
        """Have what waits looked at again at once where a storm says it now."""
        rate_limiter, storms = self._rate_limiter, self._storms
        if rate_limiter is None or storms is None:
            return
        if storms.maybe_start(permit, lambda: rate_limiter.list_waiters(action), action, incident, now):
            waits[action.key] = now

    def _split_by_readiness(
        self, incident: Incident, actions: list[Action], now: float
    ) -> tuple[list[Action], list[float]]:
        """Return the actions that can be done now, and the moments at which others can."""
        ready = [action for action in actions if action.ready_at <= now]
        later = [action.ready_at for action in actions if action.ready_at > now]
        if (
            incident.previous
            and any(isinstance(a, Page) for a in ready)
            and not self._is_former_page_ended(incident, now)
        ):
            ready = [action for action in ready if not isinstance(action, Page)]
            later.append(now + _PREDECESSOR_WAIT_S)
        return ready, later

    def _is_former_page_ended(self, incident: Incident, now: float) -> bool:
        """Tell whether the pager knows the end of the group's former incident: both go by the
        same dedup key, and an end that came late would close the new page.
        """
        try:
            former = self._incidents.load(incident.previous)
        except NotFound:
            return True
        wanted = plan(former, resolve_policy(self._routing, former), now)
        return not any(action.queue == PAGERDUTY for action in wanted.actions)

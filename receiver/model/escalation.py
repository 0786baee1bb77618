"""The state of an incident's escalation: which steps are notified, and when the next one is due."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from msgspec import Struct

from receiver.model import delivery_keys as keys
from receiver.model import delivery_status
from receiver.model.delivery import Delivery
from receiver.model.incident import Incident
from receiver.model.page_confirmation import find_accepted_at, find_notified_at, is_unconfirmed
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, SLACK, EscalationPolicy, Responder, Step

# A step without a receipt times out this long after its first attempt, and the wait for the next step
# starts all the same; its deliveries are still retried.
STEP_TIMEOUT_S = 120.0
# Alertmanager and PagerDuty are checked CHECK_AHEAD_S before a step after the first is due, so that the
# check delays no page. An answer up to CHECK_FRESH_S before the due time is recent enough; without an answer
# from Alertmanager CHECK_GRACE_S after it, the step is sent all the same.
CHECK_AHEAD_S = 3.0
CHECK_FRESH_S = 10.0
CHECK_GRACE_S = 3.0


class StepState(Struct, frozen=True):
    """The state of one step.

    The wait for the next step starts when a channel first accepted the notification, or the step timed out.
    """

    step: Step
    due_at: float | None = None  # None while it is unknown
    notified_at: float | None = None  # its first receipt (of a page: see `find_notified_at`)
    timed_out_at: float | None = None
    times_out_at: float | None = None  # set until the wait has started
    wait_started_at: float | None = None
    is_due: bool = False
    is_unconfirmed: bool = False  # PagerDuty accepted its page and has no incident for it
    is_carried_over: bool = False  # notified in an earlier run, and not again in this one

    @property
    def is_timed_out(self) -> bool:
        """It timed out, and no receipt has come since."""
        return self.timed_out_at is not None and self.notified_at is None


class EscalationState(Struct, frozen=True, dict=True):
    """The state of all steps."""

    steps: tuple[StepState, ...]  # in order
    next_check_at: float | None = None  # when the state next changes without an event
    paused_until: float = 0.0  # the end of a maintenance that stops paging; 0 without one

    @property
    def due_steps(self) -> list[StepState]:
        return [step_state for step_state in self.steps if step_state.is_due]

    @cached_property
    def run_steps(self) -> list[StepState]:
        """The due steps that this run notifies itself."""
        return [step_state for step_state in self.due_steps if not step_state.is_carried_over]

    @property
    def next_step(self) -> StepState | None:
        """The next step that is not due yet; None while its due time is unknown, and after the last step."""
        for step_state in self.steps:
            if not step_state.is_due:
                return step_state if step_state.due_at is not None else None
        return None


class IncidentView(Struct, frozen=True):
    """A loaded incident, evaluated once at *now*, for its plan, its notifications and its page."""

    incident: Incident
    policy: EscalationPolicy
    escalation: EscalationState
    now: float

    @property
    def near_due_at(self) -> float | None:
        """When the next step after the first is due, if its checks are to be made by now; else None."""
        step = self.escalation.next_step
        if step is None or step.due_at is None or step is self.escalation.steps[0] or self.incident.is_paused:
            return None
        return step.due_at if step.due_at - CHECK_AHEAD_S <= self.now else None


def evaluate_incident(incident: Incident, policy: EscalationPolicy, now: float) -> IncidentView:
    """Return *incident* with the state of its escalation at *now*."""
    return IncidentView(incident, policy, evaluate_escalation(incident, policy, now), now)


def evaluate_escalation(incident: Incident, policy: EscalationPolicy, now: float) -> EscalationState:
    """Return the state of the escalation at *now*.

    Steps before the one that the run starts with count as notified in an earlier run. In an acknowledged or
    resolved incident, no step becomes due that had no attempt before.
    """
    first, run = _find_first_step(incident, policy), incident.run
    step_states = [_build_carried_over(incident, step) for step in policy.steps[:first]]
    due_at: float | None = run.started_at
    for number, step in enumerate(policy.steps[first:]):
        if due_at is None:
            step_states.append(StepState(step))
            continue
        if number or run.cause != "unacknowledged":
            due_at += step.after
        step_states.append(_evaluate_step(incident, policy, step, due_at, now, is_first=number == 0))
        due_at = step_states[-1].wait_started_at
    next_check_at = _next_check_at(incident, policy, step_states, now)
    return EscalationState(
        tuple(step_states), next_check_at, policy.paused_until if now < policy.paused_until else 0.0
    )


def _evaluate_step(
    incident: Incident, policy: EscalationPolicy, step: Step, due_at: float, now: float, *, is_first: bool
) -> StepState:
    if is_first and incident.run.cause == "reopened" and _was_kept_open(incident, step):
        return _build_carried_over(incident, step, due_at)
    page = incident.find_run_delivery(keys.page_key(step.name))
    reply = incident.find_run_delivery(keys.reply_key(step.name))
    timeout = incident.find_run_delivery(keys.timeout_key(step.name)).receipt
    timed_out_at = timeout.at if timeout is not None else None
    if timeout is None and not page.attempts and not reply.attempts:
        if incident.is_resolved or incident.is_acknowledged:
            return StepState(step)
        if now < policy.paused_until:
            return StepState(step, max(due_at, policy.paused_until))
        # A first step without a wait is due even where the clock was set back since the run started.
        is_due = due_at <= now or (is_first and due_at <= incident.run.started_at)
        if not is_due or not (is_first or may_notify(incident, policy, due_at, now)):
            return StepState(step, due_at)
    deliveries = _list_notifying_deliveries(incident, policy, step, page, reply)
    deliveries += delivery_status.list_fallback_deliveries(incident, policy, step, due_at)
    # A page without an incident at PagerDuty notifies no person, but its acceptance starts the next wait.
    wait_started_at = _find_earliest([timed_out_at, *map(find_accepted_at, deliveries)])
    times_out_at = None
    if wait_started_at is None:
        times_out_at = _times_out_at(incident, policy, step, deliveries, due_at=due_at, now=now)
    return StepState(
        step,
        due_at,
        _find_earliest(map(find_notified_at, deliveries)),
        timed_out_at,
        times_out_at,
        wait_started_at,
        is_due=True,
        is_unconfirmed=is_unconfirmed(page),
    )


def _build_carried_over(incident: Incident, step: Step, due_at: float | None = None) -> StepState:
    """Return the state of a step that is not sent again in this run; the next wait starts with the run."""
    deliveries = map(incident.find_delivery, keys.list_own_keys(step.name))
    return StepState(
        step,
        due_at,
        _find_earliest(map(find_notified_at, deliveries)),
        wait_started_at=incident.run.started_at,
        is_due=True,
        is_carried_over=True,
    )


def _find_earliest(times: Iterable[float | None]) -> float | None:
    return min([at for at in times if at is not None], default=None)


def may_notify(incident: Incident, policy: EscalationPolicy, due_at: float, now: float) -> bool:
    """Return whether the checks allow a step after the first to be sent at *now*.

    Not while the incident is paused. Otherwise both checks must be recent. Alertmanager is checked by the
    workers of its own queue, so a step waits only CHECK_GRACE_S for it. PagerDuty is checked by the worker
    that is about to send the step, and that worker records the check even without an answer. So neither
    outage blocks a step.
    """
    if incident.is_paused:
        return False
    if list_checked_responders(incident, policy) and not is_fresh(incident.find_check(PAGERDUTY).at, due_at):
        return False
    return (
        not policy.checks_alertmanager
        or is_fresh(incident.find_check(ALERTMANAGER).at, due_at)
        or now >= due_at + CHECK_GRACE_S
    )


def is_fresh(checked_at: float, due_at: float) -> bool:
    """Return whether a check at *checked_at* is recent enough for a step that is due at *due_at*."""
    return checked_at >= due_at - CHECK_FRESH_S


def list_checked_responders(incident: Incident, policy: EscalationPolicy) -> tuple[Responder, ...]:
    """Return the responders for the acknowledgement check: those with a page that we know as open."""
    if not policy.checks_pagerduty:
        return ()
    gone = [name for name in delivery_status.list_paged_names(incident) if name not in policy.responders]
    responders = (*policy.responders.values(), *map(delivery_status.build_gone_responder, gone))
    return tuple(responder for responder in responders if _is_really_paged(incident, responder))


def _is_really_paged(incident: Incident, responder: Responder) -> bool:
    if responder.name not in incident.pages:
        return False
    state, target = delivery_status.page_state(incident, responder), responder.find_target(PAGERDUTY)
    if state.is_active and state.key_digest:
        return True
    if target is None or not target.secret:  # without a routing key a page is simulated
        return False
    return bool(delivery_status.find_storm_paging(incident, responder))


def _times_out_at(
    incident: Incident,
    policy: EscalationPolicy,
    step: Step,
    deliveries: list[Delivery],
    *,
    due_at: float,
    now: float,
) -> float | None:
    """Return when a step without a receipt times out: at once where all its deliveries failed for good,
    else STEP_TIMEOUT_S after its first attempt; None before that attempt.

    The worker that times the step out stores the time, and the next wait starts then: an outage of all
    workers does not shorten a responder's time to answer.
    """
    if incident.is_resolved or incident.is_acknowledged or not deliveries:
        return None
    if all(d.failed_at for d in deliveries):
        return min(now, max(d.failed_at for d in deliveries))
    own = [d for d in map(incident.find_run_delivery, keys.list_own_keys(step.name)) if d.attempts]
    message = incident.message or delivery_status.find_pending_message(incident, policy)
    is_late = message.attempts > 0 and (message.receipt is None or message.receipt.at > due_at)
    if is_late and not step.responder.find_target(PAGERDUTY):
        own.append(message)  # it counts as the step's reply, which had no thread
    first_at = min((max(d.first_attempt_at, due_at) for d in own), default=None)
    return first_at + STEP_TIMEOUT_S if first_at is not None else None


def _list_notifying_deliveries(
    incident: Incident, policy: EscalationPolicy, step: Step, page: Delivery, reply: Delivery
) -> list[Delivery]:
    """Return the deliveries to the step's own targets whose receipt makes it notified: one for each target.

    The reply in the thread counts only where the responder has a Slack target. Until the incident's message
    is posted there is no thread: the message then counts as the reply.
    """
    found = [page] if step.responder.find_target(PAGERDUTY) else []
    if step.responder.find_target(SLACK):
        is_threadless = not reply.attempts and incident.message is None
        thread = delivery_status.find_pending_message(incident, policy) if is_threadless else reply
        found.append(reply if thread.is_bundled else thread)  # a storm has a thread of its own
    return found


def _find_first_step(incident: Incident, policy: EscalationPolicy) -> int:
    """Return the index of the step this run starts with: after an un-acknowledge, the last one attempted."""
    run = incident.run
    if run.cause != "unacknowledged":
        return 0
    tried_before = 0
    for index, step in enumerate(policy.steps):
        deliveries = map(incident.find_delivery, (keys.page_key(step.name), keys.reply_key(step.name)))
        runs = [int(delivery.instance) for delivery in deliveries if delivery.attempts]
        if run.number in runs:
            return index
        if any(run.since <= number < run.number for number in runs):
            tried_before = index
    return tried_before


def _was_kept_open(incident: Incident, step: Step) -> bool:
    """Return whether a reopened incident skips its first step: it is flapping, or its former page is still
    open at PagerDuty, which goes on notifying the responder. An acknowledged page does not.
    """
    if incident.run.is_quiet:
        return True
    if incident.find_run_delivery(keys.page_key(step.name)).attempts:
        return False
    state = delivery_status.page_state(incident, step.responder)
    is_open = state.is_active and state.is_known and state.acknowledged != state.opened
    return step.responder.find_target(PAGERDUTY) is not None and is_open


def _next_check_at(
    incident: Incident, policy: EscalationPolicy, step_states: list[StepState], now: float
) -> float | None:
    if incident.is_acknowledged or incident.is_resolved:
        return None
    times: list[float] = []
    timeouts = []
    for step_state in step_states:
        if not step_state.is_due:
            if step_state.due_at is not None:
                times.append(step_state.due_at)
                if policy.checks_alertmanager or policy.checks_pagerduty:
                    times += (step_state.due_at - CHECK_AHEAD_S, step_state.due_at + CHECK_GRACE_S)
            break
        if step_state.times_out_at is not None:
            timeouts.append(step_state.times_out_at)
    if incident.suppression is not None:
        times = [incident.suppression.until]
    return min([at for at in (*times, *timeouts) if at > now], default=None)

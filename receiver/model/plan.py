"""Compute the plan of an incident: the actions it wants now, minus those delivered or failed for good.

The wanted actions follow from the incident's state each time. None is scheduled ahead, so none has to be
cancelled. The module also resolves the incident's policy from the routing, and its queues.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from receiver.model.actions import (
    Action,
    AddTimelineEntry,
    CheckBeforeStep,
    CompactAlerts,
    ConfirmPage,
    DeliveryAction,
    EndFlapping,
    ExpireAcknowledgement,
    Plan,
    Post,
    Transition,
    UpdateHeading,
)
from receiver.model.delivery_keys import RENAMED, is_silence_change, skipped_key, timeout_key
from receiver.model.escalation import (
    CHECK_AHEAD_S,
    EscalationState,
    IncidentView,
    current_delivery,
    evaluate_incident,
    is_fresh,
    list_checked_responders,
)
from receiver.model.fallbacks import list_fallback_messages, page_delay_times
from receiver.model.heading import find_heading
from receiver.model.incident import Incident
from receiver.model.messages import (
    acknowledgement_expires_at,
    acknowledgement_reminder_at,
    find_posted_state,
    find_reminder_at,
    list_messages,
    list_replies,
)
from receiver.model.page_confirmation import limit_confirmation
from receiver.model.paging import list_checks, list_pages
from receiver.model.renaming import find_changing_label
from receiver.model.routing import (
    ALERTMANAGER,
    PAGERDUTY,
    SLACK,
    EscalationPolicy,
    Responder,
    RoutingTable,
    Target,
)
from receiver.model.silences import list_silence_timestamps, list_silences
from receiver.model.transitions import find_compactable
from receiver.text import one_line

# The clocks of other hosts may be ahead of ours by so much; beyond that, our clock was set back.
_CLOCKS_DIFFER_S = 5.0
# A failed acknowledgement check is repeated after this time, while the step is not due yet.
PAGERDUTY_CHECK_AGAIN_S = 1.0


@dataclass(frozen=True, kw_only=True)
class IncidentPlan(Plan):
    """The plan of an incident, with the evaluation it was made from."""

    view: IncidentView


def plan(incident: Incident, policy: EscalationPolicy, now: float) -> IncidentPlan:
    """Return the missing actions of *incident* at *now*, most urgent first, and when to plan again.

    It depends on the state, not on events, so calling it twice, late or after a crash is harmless.
    The `ready_at` of an action may be later than *now*: the end of a retry's wait.
    """
    view = evaluate_incident(incident, policy, now)
    escalation = view.escalation
    content_version = find_posted_state(incident, escalation, now)
    wanted: list[Action] = [
        *_list_expirations(incident, policy, now),
        *_list_alertmanager_checks(incident, policy, escalation, now),
        *_list_pagerduty_checks(incident, policy, escalation, now),
        *list_pages(incident, policy, escalation),
        *list_checks(incident, policy),
        *list_messages(incident, content_version, now),
        *list_fallback_messages(incident, policy, escalation, content_version, now),
        *list_replies(incident, policy, escalation, now),
        *list_silences(incident, now),
        *_list_step_timeouts(incident, escalation, now),
        *_list_skipped_steps(incident, policy),
        *_list_label_warnings(incident),
        *_list_heading_updates(incident),
        *_list_compactions(incident, now),
    ]
    missing = tuple(
        _without_lost_wait(incident, action, now)
        for action in wanted
        if isinstance(action, Transition) or not _is_done(incident, action)
    )
    next_check_at = min(_next_times(incident, policy, escalation, now), default=None)
    return IncidentPlan(missing, next_check_at, view=view)


def _next_times(
    incident: Incident, policy: EscalationPolicy, escalation: EscalationState, now: float
) -> Iterator[float]:
    """Yield the times after *now* at which an action will be missing."""
    for moment in (
        escalation.next_check_at,
        None if incident.is_resolved else escalation.paused_until or None,
        find_reminder_at(incident, now),
        acknowledgement_expires_at(incident, policy),
        acknowledgement_reminder_at(incident, policy),
        None if incident.is_resolved else incident.stale_at,
        None if incident.is_resolved else incident.flapping_until,
    ):
        if moment is not None and moment > now:
            yield moment
    yield from list_silence_timestamps(incident, now)
    yield from page_delay_times(incident, escalation, now)


def _is_done(incident: Incident, action: DeliveryAction) -> bool:
    done = incident.deliveries.get(action.key)
    if done is None or not done.is_settled or done.instance != action.instance:
        return False
    return isinstance(action, Post) or done.content_version == action.content_version


def _without_lost_wait(incident: Incident, action: Action, now: float) -> Action:
    """Return *action*, due now if its wait was computed by a clock ahead of ours.

    That was another host's clock, or ours before it was set back. How much of such a wait is over is unknown,
    and a page must not wait until our clock reaches its end. An action without an attempt never waits for
    another host's clock.
    """
    if isinstance(action, ConfirmPage):
        return replace(
            action, ready_at=limit_confirmation(incident.deliveries[action.event_key], action.ready_at, now)
        )
    if action.ready_at <= now:
        return action
    is_ahead = incident.opened_at > now
    if isinstance(action, DeliveryAction):
        delivery = current_delivery(incident, action.key, action.instance)
        if delivery.attempts:
            is_ahead = delivery.last_attempt_at > now + _CLOCKS_DIFFER_S
    return replace(action, ready_at=now) if is_ahead else action


def _list_expirations(incident: Incident, policy: EscalationPolicy, now: float) -> Iterator[Action]:
    """Yield the acknowledgement timeout and the end of flapping that are due. Where they may lead to a page
    they go into PagerDuty's queue, so that a Slack outage does not delay it.
    """
    at = acknowledgement_expires_at(incident, policy)
    queue = PAGERDUTY if incident.policy else SLACK
    if at is not None and at <= now:
        yield ExpireAcknowledgement(queue=queue, acknowledged_at=incident.acknowledged_at)
    if incident.is_flapping and not incident.is_resolved and incident.flapping_until <= now:
        yield EndFlapping(queue=queue, flapping_until=incident.flapping_until)


def _list_alertmanager_checks(
    incident: Incident, policy: EscalationPolicy, escalation: EscalationState, now: float
) -> Iterator[Action]:
    """Yield an Alertmanager status check where a near step, a changed silence or a suppression needs one."""
    if not policy.checks_alertmanager or incident.is_resolved:
        return
    changed_at = _silence_changed_at(incident)
    if (
        _is_step_near(incident, escalation, now)
        or changed_at > incident.find_check(ALERTMANAGER).at
        or _is_suppression_over(incident, now)
    ):
        yield CheckBeforeStep(check=ALERTMANAGER, queue=ALERTMANAGER, since=changed_at)


def _is_step_near(incident: Incident, escalation: EscalationState, now: float) -> bool:
    """Tell whether a step after the first is about to be due and has no recent Alertmanager check."""
    due_at = _find_near_due_at(incident, escalation, now)
    return due_at is not None and not is_fresh(incident.find_check(ALERTMANAGER).at, due_at)


def _find_near_due_at(incident: Incident, escalation: EscalationState, now: float) -> float | None:
    """Return when the next step after the first is due, if that is near; else None."""
    step = escalation.next_step
    if step is None or step.due_at is None or step is escalation.steps[0] or incident.is_paused:
        return None
    return step.due_at if step.due_at - CHECK_AHEAD_S <= now else None


def _list_pagerduty_checks(
    incident: Incident, policy: EscalationPolicy, escalation: EscalationState, now: float
) -> Iterator[Action]:
    """Yield an acknowledgement check where a step is about to be due.

    A worker of PagerDuty's queue checks ahead of time. If that has not happened by the due time, because that
    queue hangs or all workers are late, a worker of Slack's queue checks before it sends the step.
    """
    due_at, responders = (
        _find_near_due_at(incident, escalation, now),
        list_checked_responders(incident, policy),
    )
    if due_at is None or not responders:
        return
    last = incident.find_check(PAGERDUTY)
    may_ask_again = last.has_failed and now < due_at
    if not may_ask_again and is_fresh(last.at, due_at):
        return
    again_at = last.at + PAGERDUTY_CHECK_AGAIN_S if last.has_failed else 0.0
    for queue, at in ((PAGERDUTY, again_at), (SLACK, due_at)):
        yield CheckBeforeStep(check=PAGERDUTY, queue=queue, ready_at=at, responders=responders)


def _silence_changed_at(incident: Incident) -> float:
    """Return when a silence of ours was last created or expired; 0 without one."""
    receipts = (delivery.receipt for key, delivery in incident.deliveries.items() if is_silence_change(key))
    return max((receipt.at for receipt in receipts if receipt is not None), default=0.0)


def _is_suppression_over(incident: Incident, now: float) -> bool:
    suppression = incident.suppression
    return suppression is not None and incident.find_check(ALERTMANAGER).at < suppression.until <= now


def _list_heading_updates(incident: Incident) -> Iterator[Action]:
    """Yield an update of the stored heading where it differs from that of the loaded alerts."""
    if incident.is_past or not incident.alerts:
        return
    heading = find_heading(incident)
    if (heading.name, heading.summary, heading.more) != (incident.alertname, incident.summary, incident.more):
        yield UpdateHeading(heading=heading, revision=incident.revision)


def _list_compactions(incident: Incident, now: float) -> Iterator[Action]:
    if find_compactable(incident, now):
        yield CompactAlerts()


def _list_step_timeouts(incident: Incident, escalation: EscalationState, now: float) -> Iterator[Action]:
    """Yield a timeline entry for each step that times out now, because the next wait starts with it.

    It goes into the queue of the step's own channel, behind an attempt that is about to be made there.
    """
    for step_state in escalation.steps:
        if step_state.times_out_at is None or step_state.times_out_at > now:
            continue
        responder = step_state.step.responder
        target = responder.find_target(PAGERDUTY) or responder.find_target(SLACK)
        if target is not None:
            yield AddTimelineEntry(
                key=timeout_key(step_state.step),
                instance=str(incident.run.number),
                target=Target(target.kind, target.address),
                text=f"{responder.title} could not be notified: the wait for the next step begins",
            )


def _list_label_warnings(incident: Incident) -> Iterator[Action]:
    """Yield a timeline entry, once, that each value of a label of the alerts makes a new alert."""
    if incident.is_resolved or not (label := find_changing_label(incident)):
        return
    text = f"`{one_line(label, 100)}` is part of the labels: each new value of it is a new alert"
    yield AddTimelineEntry(key=RENAMED, instance=label, target=Target(SLACK, incident.channel), text=text)


def _list_skipped_steps(incident: Incident, policy: EscalationPolicy) -> Iterator[Action]:
    """Yield a timeline entry for each step that left the configuration while the incident is open."""
    if incident.is_resolved:
        return
    names = {step.name for step in policy.steps}
    for name in incident.steps:
        if name not in names:
            yield AddTimelineEntry(
                key=skipped_key(name),
                target=Target(SLACK, incident.channel),
                text=f"Step {name} is no longer in the configuration: skipped",
            )


def queues_for(incident: Incident, *, checks_alertmanager: bool = False) -> tuple[str, ...]:
    """Return the queues that may have work for the incident.

    PagerDuty's queue is included with a policy; Alertmanager's with a silence, or with a policy where the
    caller says by *checks_alertmanager* that a step which needs a check is near.
    """
    queues = (SLACK, PAGERDUTY) if incident.policy else (SLACK,)
    return (
        (*queues, ALERTMANAGER) if incident.silences or (incident.policy and checks_alertmanager) else queues
    )


def resolve_policy(routing: RoutingTable, incident: Incident, paused_until: float = 0.0) -> EscalationPolicy:
    """Return the incident's policy as now configured, with the route's fallback.

    Its `others` are all other responders: they may have been paged before the configuration changed.
    *paused_until* is the end of a maintenance.
    """
    policy = routing.get_policy(incident.policy)
    named = {step.responder.name for step in policy.steps}
    others = tuple(r for name, r in routing.responders.items() if name not in named)
    return replace(
        policy,
        others=others,
        checks_alertmanager=incident.source in routing.alertmanagers,
        checks_pagerduty=routing.can_check_pagerduty,
        paused_until=paused_until,
        fallback=_find_fallback(routing, incident),
    )


def _find_fallback(routing: RoutingTable, incident: Incident) -> Target | Responder | None:
    """Return the fallback responder or channel of the incident's route; None without one."""
    name = next((route.fallback for route in routing.routes if route.name == incident.route), "")
    return routing.responders.get(name) or (Target(SLACK, name) if name else None)

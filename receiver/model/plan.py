"""Compute the plan of an incident: the actions it wants now, minus those delivered or failed for good.

The wanted actions follow from the incident's state each time. None is scheduled ahead, so none has to be
cancelled. The module also resolves the incident's policy from the routing, and its queues.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from msgspec.structs import replace

from receiver.model import actions, messages
from receiver.model import delivery_keys as keys
from receiver.model.delivery import NO_DELIVERY
from receiver.model.escalation import IncidentView, evaluate_incident, is_fresh, list_checked_responders
from receiver.model.fallbacks import list_fallback_messages, page_delay_times
from receiver.model.heading import find_heading
from receiver.model.incident import Incident, SilenceRequest
from receiver.model.page_confirmation import limit_confirmation
from receiver.model.paging import list_pages
from receiver.model.renaming import find_changing_label
from receiver.model.routing import ALERTMANAGER, PAGERDUTY, SLACK, EscalationPolicy, RoutingTable, Target
from receiver.model.transitions import find_compactable
from receiver.text import one_line

# A failed acknowledgement check is repeated after this time, while the step is not due yet.
PAGERDUTY_CHECK_AGAIN_S = 1.0
# A silence until the incident resolves is created for _STRETCH_S at a time, and prolonged when less than
# _PROLONG_BELOW_S is left: if we fail to expire it, it ends soon by itself.
_STRETCH_S = 2 * 3600.0
_PROLONG_BELOW_S = 3600.0


class IncidentPlan(actions.Plan, frozen=True, kw_only=True):
    """The plan of an incident, with the evaluation it was made from."""

    view: IncidentView


def plan(incident: Incident, policy: EscalationPolicy, now: float) -> IncidentPlan:
    """Return the missing actions of *incident* at *now*, most urgent first, and when to plan again.

    It depends on the state, not on events, so calling it twice, late or after a crash is harmless.
    The `ready_at` of an action may be later than *now*: the end of a retry's wait.
    """
    view = evaluate_incident(incident, policy, now)
    content_version = messages.find_posted_state(view)
    wanted: list[actions.Action] = [
        *_list_expirations(view),
        *_list_alertmanager_checks(view),
        *_list_pagerduty_checks(view),
        *list_pages(view),
        *messages.list_messages(view, content_version),
        *list_fallback_messages(view, content_version),
        *messages.list_replies(view),
        *_list_silences(incident, now),
        *_list_step_timeouts(view),
        *_list_skipped_steps(incident, policy),
        *_list_label_warnings(incident),
        *_list_heading_updates(incident),
    ]
    if find_compactable(incident, now):
        wanted.append(actions.CompactAlerts())
    missing = [found for action in wanted if (found := _find_missing(incident, action, now)) is not None]
    due_times = [at for at in _list_due_times(view) if at is not None and at > now]
    return IncidentPlan(tuple(missing), min(due_times, default=None), view=view)


def _list_due_times(view: IncidentView) -> list[float | None]:
    """Return the times at which, if they are later than now, an action will be missing."""
    incident, policy, escalation = view.incident, view.policy, view.escalation
    times = [
        escalation.next_check_at,
        messages.find_reminder_at(incident),
        messages.acknowledgement_expires_at(incident, policy),
        messages.acknowledgement_reminder_at(incident, policy),
        incident.next_expiry_at,
        *_list_silence_times(incident, view.now),
        *page_delay_times(view),
    ]
    if not incident.is_resolved:
        times += [escalation.paused_until, incident.stale_at, incident.flapping_until]
    return times


def _find_missing(incident: Incident, action: actions.Action, now: float) -> actions.Action | None:
    """Return *action* with the wait of its retry, due now if a clock ahead of ours computed its wait
    (`Delivery.is_ahead`); None where the action is done. An action without an attempt never waits for another
    host's clock.
    """
    delivery = NO_DELIVERY
    if isinstance(action, actions.DeliveryAction):
        delivery = incident.find_delivery(action.key, action.instance)
        if delivery.is_settled:
            if isinstance(action, actions.Post) or delivery.content_version == action.content_version:
                return None
        elif delivery.retry_at > action.ready_at:
            action = replace(action, ready_at=delivery.retry_at)
    if action.ready_at <= now:
        return action
    if isinstance(action, actions.ConfirmPage):
        ready_at = limit_confirmation(incident.deliveries[action.event_key], action.ready_at, now)
        return action if ready_at == action.ready_at else replace(action, ready_at=ready_at)
    is_ahead = delivery.is_ahead(now) if delivery.attempts else incident.opened_at > now
    return replace(action, ready_at=now) if is_ahead else action


def _list_expirations(view: IncidentView) -> Iterator[actions.Action]:
    """Yield the end of expired alerts, of the acknowledgement and of flapping, where they are due. Where they
    may lead to a page they go into PagerDuty's queue, so that a Slack outage does not delay it. Alerts end in
    the queue of every channel, before anything else is sent there.
    """
    incident = view.incident
    if incident.next_expiry_at is not None and incident.next_expiry_at <= view.now and not incident.is_past:
        yield from (actions.ExpireAlerts(queue=queue) for queue in queues_for(incident))
    at = messages.acknowledgement_expires_at(incident, view.policy)
    queue = PAGERDUTY if incident.policy else SLACK
    if at is not None and at <= view.now:
        yield actions.ExpireAcknowledgement(queue=queue, acknowledged_at=incident.acknowledged_at)
    if incident.is_flapping and not incident.is_resolved and incident.flapping_until <= view.now:
        yield actions.EndFlapping(queue=queue, flapping_until=incident.flapping_until)


def _list_alertmanager_checks(view: IncidentView) -> Iterator[actions.Action]:
    """Yield an Alertmanager status check where a near step, a changed silence or a suppression needs one."""
    incident, suppression = view.incident, view.incident.suppression
    if not view.policy.checks_alertmanager or incident.is_resolved:
        return
    checked_at, due_at = incident.find_check(ALERTMANAGER).at, view.near_due_at
    changes = [
        delivery.receipt for key, delivery in incident.deliveries.items() if keys.is_silence_change(key)
    ]
    changed_at = max((receipt.at for receipt in changes if receipt is not None), default=0.0)
    if (
        (due_at is not None and not is_fresh(checked_at, due_at))
        or changed_at > checked_at
        or (suppression is not None and checked_at < suppression.until <= view.now)
    ):
        yield actions.CheckBeforeStep(check=ALERTMANAGER, queue=ALERTMANAGER, since=changed_at)


def _list_pagerduty_checks(view: IncidentView) -> Iterator[actions.Action]:
    """Yield an acknowledgement check where a step is about to be due.

    A worker of PagerDuty's queue checks ahead of time. If that has not happened by the due time, because that
    queue hangs or all workers are late, a worker of Slack's queue checks before it sends the step.
    """
    due_at, last = view.near_due_at, view.incident.find_check(PAGERDUTY)
    if due_at is None:
        return
    may_ask_again = last.has_failed and view.now < due_at
    if not may_ask_again and is_fresh(last.at, due_at):
        return
    responders = list_checked_responders(view.incident, view.policy)
    if not responders:
        return
    again_at = last.at + PAGERDUTY_CHECK_AGAIN_S if last.has_failed else 0.0
    for queue, at in ((PAGERDUTY, again_at), (SLACK, due_at)):
        yield actions.CheckBeforeStep(check=PAGERDUTY, queue=queue, ready_at=at, responders=responders)


def _list_heading_updates(incident: Incident) -> Iterator[actions.Action]:
    """Yield an update of the stored heading where it differs from that of the loaded alerts."""
    if incident.is_past or not incident.alerts:
        return
    firing, stored = incident.firing_alerts, (incident.alertname, incident.summary, incident.more)
    if len(firing) == 1 and (firing[0].title, firing[0].summary, 0) == stored:
        return  # the fast path: most incidents have one alert
    heading = find_heading(incident)
    if (heading.name, heading.summary, heading.more) != stored:
        yield actions.UpdateHeading(heading=heading, revision=incident.revision)


def _list_step_timeouts(view: IncidentView) -> Iterator[actions.Action]:
    """Yield a timeline entry for each step that times out now, because the next wait starts with it.

    It goes into the queue of the step's own channel, behind an attempt that is about to be made there.
    """
    for step_state in view.escalation.run_steps:
        if step_state.times_out_at is None or step_state.times_out_at > view.now:
            continue
        responder = step_state.step.responder
        target = responder.find_target(PAGERDUTY) or responder.find_target(SLACK)
        if target is not None:
            yield actions.AddTimelineEntry(
                key=keys.timeout_key(step_state.step.name),
                instance=view.incident.run_instance,
                target=Target(target.kind, target.address),
                text=f"{responder.title} could not be notified: the wait for the next step begins",
            )


def _list_label_warnings(incident: Incident) -> Iterator[actions.Action]:
    """Yield a timeline entry, once, that each value of a label of the alerts makes a new alert."""
    if incident.is_resolved or not (label := find_changing_label(incident)):
        return
    text = f"`{one_line(label, 100)}` is part of the labels: each new value of it is a new alert"
    yield actions.AddTimelineEntry(
        key=keys.RENAMED, instance=label, target=Target(SLACK, incident.channel), text=text
    )


def _list_skipped_steps(incident: Incident, policy: EscalationPolicy) -> Iterator[actions.Action]:
    """Yield a timeline entry for each step that left the configuration while the incident is open."""
    if incident.is_resolved:
        return
    names = [step.name for step in policy.steps]
    for name in incident.steps:
        if name not in names:
            yield actions.AddTimelineEntry(
                key=keys.skipped_key(name),
                target=Target(SLACK, incident.channel),
                text=f"Step {name} is no longer in the configuration: skipped",
            )


def _list_silences(incident: Incident, now: float) -> Iterator[actions.Action]:
    """Yield the silences of the incident that are still to be created, prolonged or expired."""
    for request in incident.silences:
        target, number, until = Target(ALERTMANAGER, incident.source), request.number, request.until
        made = incident.find_delivery(keys.silence_key(number))
        silence_id = made.receipt.reference if made.receipt is not None else ""
        if _is_over(incident, request, now):
            if made.may_have_arrived and (request.ended_at or request.is_until_resolved):
                # Without a known ID, the channel finds it in Alertmanager by the marker in its comment.
                yield actions.ExpireSilence(key=keys.expire_key(number), target=target, silence_id=silence_id)
            continue
        stretch = _find_stretch(request, now) if request.is_until_resolved else 1
        is_prolonged = made.receipt is not None and stretch > 1
        if made.is_settled and not is_prolonged:
            continue
        yield actions.CreateSilence(
            key=keys.prolong_key(number) if is_prolonged else keys.silence_key(number),
            instance=str(stretch) if is_prolonged else "",
            target=target,
            matchers=request.matchers,
            ends_at=request.requested_at + stretch * _STRETCH_S if request.is_until_resolved else until,
            by=request.by,
            comment=f"{request.comment or 'Silenced by the receiver'} [receiver {incident.id}#{number}]",
            silence_id=silence_id,
        )


def _find_stretch(request: SilenceRequest, now: float) -> int:
    """Return the number of the stretch to request now: it ends `_PROLONG_BELOW_S` after *now* or later."""
    return int((now - request.requested_at + _PROLONG_BELOW_S) // _STRETCH_S) + 1


def _is_over(incident: Incident, request: SilenceRequest, now: float) -> bool:
    return not request.is_active(now) or (request.is_until_resolved and incident.is_resolved)


def _list_silence_times(incident: Incident, now: float) -> Iterator[float]:
    """Yield the times at which a silence is to be prolonged, or warned of, or ends."""
    for request in incident.silences:
        if not _is_over(incident, request, now) and request.is_until_resolved:
            yield request.requested_at + _find_stretch(request, now) * _STRETCH_S - _PROLONG_BELOW_S
        elif not _is_over(incident, request, now):
            yield from (request.until - messages.WARN_BEFORE_S, request.until)


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
    fallback = next((route.fallback for route in routing.routes if route.name == incident.route), "")
    return dataclasses.replace(
        policy,
        others=tuple(r for name, r in routing.responders.items() if name not in named),
        checks_alertmanager=incident.source in routing.alertmanagers,
        checks_pagerduty=routing.can_check_pagerduty,
        paused_until=paused_until,
        fallback=routing.responders.get(fallback) or (Target(SLACK, fallback) if fallback else None),
    )

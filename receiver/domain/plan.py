"""The one place that decides what an incident still needs.

It says everything that should be so by now and drops what is done. Nothing is cancelled,
because nothing was promised.
"""

from __future__ import annotations

from collections.abc import Iterator

from receiver.domain.action import Action, Lapse, LookUp, Note, Plan, Post
from receiver.domain.escalation import LOOK_AHEAD_S, Progress, is_look_fresh, trace_progress
from receiver.domain.incident import Incident
from receiver.domain.messages import (
    face,
    find_reminder,
    lapses_at,
    list_messages,
    list_replies,
    remind_acknowledged_at,
)
from receiver.domain.pages import list_pages
from receiver.domain.policy import ALERTMANAGER, PAGERDUTY, SLACK, EscalationPolicy, Target
from receiver.domain.silences import list_silences, silence_moments
from receiver.domain.stand_ins import list_stand_ins, stand_in_moments


def plan(incident: Incident, policy: EscalationPolicy, now: float) -> Plan:
    """Return what *incident* still needs at *now*, most urgent first, and when to look again.

    Looks at how things stand, not at what happened, so calling it twice, late or after a crash
    is harmless. Actions may carry a `ready_at` that lies ahead: a retry's wait.
    """
    progress = trace_progress(incident, policy, now)
    wanted: list[Action] = [
        *_lapses(incident, policy, now),
        *_looks(incident, policy, progress, now),
        *list_pages(incident, policy, progress),
        *list_messages(incident, progress, now),
        *list_stand_ins(incident, policy, progress, face(incident, progress, now), now),
        *list_replies(incident, policy, progress, now),
        *list_silences(incident, now),
        *_skipped(incident, policy),
    ]
    missing = tuple(action for action in wanted if not _is_done(incident, action))
    return Plan(missing, due=min(_moments(incident, policy, progress, now), default=None))


def _moments(incident: Incident, policy: EscalationPolicy, progress: Progress, now: float) -> Iterator[float]:
    """Yield the moments ahead at which something will be missing."""
    for moment in (
        progress.look_at,
        find_reminder(incident, now),
        lapses_at(incident, policy),
        remind_acknowledged_at(incident, policy),
        None if incident.is_resolved else incident.stale_at,
    ):
        if moment is not None and moment > now:
            yield moment
    yield from silence_moments(incident, now)
    yield from stand_in_moments(incident, progress, now)


def _is_done(incident: Incident, action: Action) -> bool:
    done = incident.deliveries.get(action.key)
    if done is None or not done.is_settled or done.about != action.about:
        return False
    return isinstance(action, Post) or done.shown == action.shown


def _lapses(incident: Incident, policy: EscalationPolicy, now: float) -> Iterator[Action]:
    """Yield the end of an acknowledgement that has run out; in the pager's lane where it may page, for
    a silent Slack must not delay that.
    """
    at = lapses_at(incident, policy)
    if at is not None and at <= now:
        lane = PAGERDUTY if incident.policy else SLACK
        yield Lapse("lapse", "", lane, Target(lane, incident.channel), 0.0, "", incident.acknowledged_at)


def _looks(incident: Incident, policy: EscalationPolicy, progress: Progress, now: float) -> Iterator[Action]:
    """Yield a look at Alertmanager where one is to decide something."""
    if not policy.has_witness or incident.is_resolved:
        return
    news_at = _silence_news_at(incident)
    if _is_step_near(incident, progress, now) or news_at > incident.looked_at or _is_hold_over(incident, now):
        yield LookUp("look", "", ALERTMANAGER, Target(ALERTMANAGER, incident.source), 0.0, "", news_at)


def _is_step_near(incident: Incident, progress: Progress, now: float) -> bool:
    """Tell whether a step after the first is about to be due and nobody has looked for its sake."""
    step = progress.next_step
    if step is None or step.due_at is None or step is progress.steps[0] or incident.is_held:
        return False
    return step.due_at - LOOK_AHEAD_S <= now and not is_look_fresh(incident, step.due_at)


def _silence_news_at(incident: Incident) -> float:
    """Return when a silence of ours was last made or ended."""
    receipts = (
        delivery.receipt
        for key, delivery in incident.deliveries.items()
        if key.startswith(("silence:", "expire:"))
    )
    return max((receipt.at for receipt in receipts if receipt is not None), default=0.0)


def _is_hold_over(incident: Incident, now: float) -> bool:
    held = incident.held
    return held is not None and incident.looked_at < held.until <= now


def _skipped(incident: Incident, policy: EscalationPolicy) -> Iterator[Action]:
    """Yield a note for each step that left the configuration while the incident is open."""
    if incident.is_resolved:
        return
    names = {step.name for step in policy.steps}
    for name in incident.steps:
        if name not in names:
            text = f"Step {name} is no longer in the configuration: skipped"
            yield Note(f"skipped:{name}", "", SLACK, Target(SLACK, incident.channel), 0.0, "", text)

"""The one place that decides what an incident still needs.

It says everything that should be so by now and drops what is done. Nothing is cancelled,
because nothing was promised.
"""

from __future__ import annotations

from collections.abc import Iterator

from receiver.domain.action import Action, Note, Plan, Post
from receiver.domain.escalation import trace_progress
from receiver.domain.incident import Incident
from receiver.domain.messages import find_reminder, list_messages, list_replies
from receiver.domain.pages import list_pages
from receiver.domain.policy import SLACK, EscalationPolicy, Target


def plan(incident: Incident, policy: EscalationPolicy, now: float) -> Plan:
    """Return what *incident* still needs at *now*, most urgent first, and when to look again.

    Looks at how things stand, not at what happened, so calling it twice, late or after a crash
    is harmless. Actions may carry a `ready_at` that lies ahead: a retry's wait.
    """
    progress = trace_progress(incident, policy, now)
    wanted: list[Action] = [
        *list_pages(incident, policy, progress),
        *list_messages(incident, progress),
        *list_replies(incident, progress, now),
        *_skipped(incident, policy),
    ]
    missing = tuple(action for action in wanted if not _is_done(incident, action))
    moments = [at for at in (progress.look_at, find_reminder(incident, now)) if at is not None]
    return Plan(missing, due=min(moments, default=None))


def _is_done(incident: Incident, action: Action) -> bool:
    done = incident.deliveries.get(action.key)
    if done is None or not done.is_settled or done.about != action.about:
        return False
    return isinstance(action, Post) or done.shown == action.shown


def _skipped(incident: Incident, policy: EscalationPolicy) -> Iterator[Note]:
    """Yield a note for each step that left the configuration while the incident is open."""
    if incident.is_resolved:
        return
    names = {step.name for step in policy.steps}
    for name in incident.steps:
        if name not in names:
            text = f"Step {name} is no longer in the configuration: skipped"
            yield Note(f"skipped:{name}", "", SLACK, Target(SLACK, incident.channel), 0.0, "", text)

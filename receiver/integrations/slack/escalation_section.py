"""Lines on the state of an incident: its escalation, pages not delivered, suppression and silences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from receiver.clock import format_duration
from receiver.integrations.slack.blocks import Block, button
from receiver.integrations.slack.headline import format_acknowledged, format_resolved
from receiver.integrations.slack.mrkdwn import escape_line, format_timestamp, render_person
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import DeliveryKey, page_key, reply_key, silence_key
from receiver.model.escalation import EscalationState, StepState
from receiver.model.incident import Incident, SilenceRequest
from receiver.model.page_confirmation import find_notified_at, is_resolved_too_often, is_unconfirmed
from receiver.model.routing import PAGERDUTY, SLACK, Step

MAX_TITLE = 40
_MAX_STEPS = 8
_MAX_FAILURES = 4


def render_steps(incident: Incident, escalation: EscalationState, *, is_edit: bool = False) -> str:
    """Return the escalation as mrkdwn: notified steps, then waiting steps or what stopped the escalation.

    Empty if the incident has no steps. In an edit people are mentioned: an edit sends no notification.
    """
    if not escalation.steps:
        return ""
    stop = _format_stop(incident, is_edit=is_edit)
    shown = [s for s in escalation.steps if s.is_due or not stop]
    lines = [_format_step(incident, step_state) for step_state in shown]
    notified = " → ".join(_limit_lines(lines, _MAX_STEPS)) or "Nobody was paged"
    return f"⏹ {notified} · stopped: {stop}" if stop else f"⏫ {notified}"


def _limit_lines(lines: Sequence[str], limit: int, noun: str = "") -> list[str]:
    """Return the first *limit* lines, and one that counts the others."""
    rest = len(lines) - limit
    return [*lines[:limit], f"… and {rest} more{noun}"] if rest > 0 else list(lines)


def _format_stop(incident: Incident, *, is_edit: bool) -> str:
    if incident.is_resolved:
        return format_resolved(incident, is_edit=is_edit)
    return format_acknowledged(incident, is_edit=is_edit) if incident.is_acknowledged else ""


def format_title(step: Step, limit: int = MAX_TITLE) -> str:
    return escape_line(step.responder.title, limit)


def _format_step(incident: Incident, step_state: StepState) -> str:
    name = format_title(step_state.step)
    if not step_state.is_due:
        return f"{name}{_format_waiting(incident, step_state)}"
    if is_unconfirmed(_find_delivery(incident, page_key(step_state.step.name), step_state)):
        return f"⚠️ {name} page not confirmed by PagerDuty"
    if step_state.is_timed_out:
        return f"⚠️ {name} could not be reached"
    notified = _format_notified(incident, step_state)
    if notified is not None:
        return f"{name} {notified}"
    if step_state.is_carried_over:
        return f"{name} notified before"
    at = step_state.notified_at
    return f"{name} notified {format_timestamp(at)}" if at else f"{name} being paged"


def _format_waiting(incident: Incident, step_state: StepState) -> str:
    """Return what a step waits for: the end of a suppression, its due time, or the step before it."""
    if incident.is_suppressed:
        return " held"
    if step_state.due_at is not None:
        return f" at {format_timestamp(step_state.due_at)}"
    return f" {format_duration(step_state.step.after)} later" if step_state.step.after else ""


def _format_notified(incident: Incident, step_state: StepState) -> str | None:
    """Return how and when the step was notified, by its earliest receipt; None if it was not."""
    notified = []
    for kind, key, word in (
        (PAGERDUTY, page_key(step_state.step.name), "paged"),
        (SLACK, reply_key(step_state.step.name), "notified in Slack"),
    ):
        delivery = _find_delivery(incident, key, step_state)
        at, receipt = find_notified_at(delivery), delivery.receipt
        if at is not None and step_state.step.responder.find_target(kind):
            simulated = " (simulated)" if receipt is not None and receipt.is_simulated else ""
            notified.append((at, f"{word} {format_timestamp(at)}{simulated}"))
    return min(notified)[1] if notified else None


def _find_delivery(incident: Incident, key: DeliveryKey, step_state: StepState) -> Delivery:
    """Return the step's delivery: of this escalation run, or of an earlier run for a step carried over."""
    if step_state.is_carried_over:
        return incident.find_delivery(key)
    return incident.find_run_delivery(key)


def render_page_failures(incident: Incident, escalation: EscalationState) -> str:
    """Return a line for each page not delivered, without a PagerDuty incident, or resolved while it fires."""
    lines = list(_list_page_failures(incident, escalation))
    return "\n".join(_limit_lines(lines, _MAX_FAILURES, " pages not delivered"))


def _list_page_failures(incident: Incident, escalation: EscalationState) -> Iterator[str]:
    for step_state in escalation.due_steps:
        page = incident.find_run_delivery(page_key(step_state.step.name))
        who, why = format_title(step_state.step), escape_line(page.reason, 60)
        if not incident.is_resolved and is_unconfirmed(page):
            yield f"⚠️ PagerDuty accepted the page to {who} and has no incident for it"
        elif not incident.is_resolved and is_resolved_too_often(page):
            yield f"⚠️ Something in PagerDuty resolves the page to {who} while it fires"
        elif page.receipt is not None or not page.reason or (page.check is not None and not page.failed_at):
            continue
        elif page.failed_at:
            yield f"⚠️ PagerDuty: page to {who} failed permanently ({why})"
        elif not incident.is_resolved:
            yield f"⚠️ PagerDuty: page to {who} not delivered yet ({why})"


# More buttons would take a third of the message; the others appear as silences end.
MAX_EXPIRE_BUTTONS = 8
_MAX_LINES = 4
_MAX_COMMENT = 150


def render_suppression(incident: Incident) -> str:
    """Return why the escalation of a firing incident is suppressed; empty if it is not."""
    suppression = incident.suppression
    if suppression is None or incident.is_resolved:
        return ""
    if suppression.reason == "silenced":
        by = f" by {render_person(suppression.by)}" if suppression.by else ""
        until = f" until {format_timestamp(suppression.until)}" if suppression.until else ""
        return f"⏸ Silenced{by}{until}: nobody is paged"
    if suppression.reason == "inhibited":
        return "⏸ Inhibited in Alertmanager by another alert: nobody is paged"
    return "⏸ Muted in Alertmanager by a time interval: nobody is paged"


def render_stale(incident: Incident, now: float) -> str:
    """Return the warning that Alertmanager no longer repeats the incident; empty if it is not stale."""
    if not incident.is_stale(now):
        return ""
    received_at = max(incident.last_received_at, incident.opened_at)
    return f"⚠️ Stale: no repeat since {format_timestamp(received_at)}, so whether it still fires is not known"


def render_silences(incident: Incident, now: float) -> str:
    """Return a line for each request of active silences; empty if there are none."""
    groups = defaultdict(list)
    for silence in _list_active_silences(incident, now):
        groups[silence.by, silence.requested_at, silence.until, silence.comment].append(silence)
    lines = [_format_silences(incident, silences) for silences in groups.values()]
    return "\n".join(_limit_lines(lines, _MAX_LINES, " silences"))


def _list_active_silences(incident: Incident, now: float) -> list[SilenceRequest]:
    """Return the silences that should be active; those "until it resolves" end with the incident."""
    return [
        request
        for request in incident.silences
        if request.is_active(now) and not (request.is_until_resolved and incident.is_resolved)
    ]


def build_expire_buttons(incident: Incident, now: float) -> Iterator[Block]:
    """Yield a button for each of the first active silences; its value is the incident's ID and the number."""
    active = _list_active_silences(incident, now)
    for request in active[:MAX_EXPIRE_BUTTONS]:
        name = "Expire silence" if len(active) == 1 else f"Expire silence {request.number}"
        yield button(name, f"expire:{request.number}", f"{incident.id}#{request.number}")


def _format_silences(incident: Incident, silences: Sequence[SilenceRequest]) -> str:
    """Return the line of *silences*, which one person requested together."""
    silence, count = silences[0], len(silences)
    what = f"Silence {silence.number}"
    if count > 1:
        what = f"{count} silences {silence.number} to {silences[-1].number}"
    until = "it resolves" if silence.is_until_resolved else format_timestamp(silence.until)
    comment = escape_line(silence.comment, _MAX_COMMENT)
    text = f"🔕 {what} by {render_person(silence.by)} until {until}{f' · {comment}' if comment else ''}"
    for each in silences:  # whether it is missing in Alertmanager, and why
        delivery = incident.find_delivery(silence_key(each.number))
        if delivery.receipt is None and delivery.reason:
            state = "failed permanently" if delivery.failed_at else "not made yet"
            return f"{text} · ⚠️ {state}: {escape_line(delivery.reason, 60)}"
    return text

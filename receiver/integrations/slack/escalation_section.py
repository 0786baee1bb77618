"""The escalation in one line: who was notified, who is next and when; and pages that were not delivered."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.clock import format_duration
from receiver.integrations.slack.headline import format_acknowledged, format_resolved
from receiver.integrations.slack.mrkdwn import escape_line, format_timestamp
from receiver.model.delivery import Delivery
from receiver.model.escalation import EscalationState, StepState, current_delivery, page_key, reply_key
from receiver.model.incident import Incident
from receiver.model.page_check import find_notified_at, is_resolved_too_often, is_unconfirmed
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
    said = [_format_step(incident, step_state) for step_state in shown[:_MAX_STEPS]]
    if len(shown) > _MAX_STEPS:
        said.append(f"… and {len(shown) - _MAX_STEPS} more")
    notified = " → ".join(said) or "Nobody was paged"
    return f"⏹ {notified} · stopped: {stop}" if stop else f"⏫ {notified}"


def _format_stop(incident: Incident, *, is_edit: bool) -> str:
    if incident.is_resolved:
        return format_resolved(incident, is_edit=is_edit)
    return format_acknowledged(incident, is_edit=is_edit) if incident.is_acknowledged else ""


def title(step: Step) -> str:
    return escape_line(step.responder.title, MAX_TITLE)


def _format_step(incident: Incident, step_state: StepState) -> str:
    name = title(step_state.step)
    if not step_state.is_due:
        return f"{name}{_format_waiting(incident, step_state)}"
    if is_unconfirmed(_find_delivery(incident, page_key(step_state.step), step_state)):
        return f"⚠️ {name} page not confirmed by PagerDuty"
    if step_state.is_timed_out:
        return f"⚠️ {name} could not be reached"
    notified = _format_notified(incident, step_state)
    if notified is not None:
        return f"{name} {notified}"
    if step_state.is_carried_over:
        return f"{name} told before"
    return (
        f"{name} told {format_timestamp(step_state.notified_at)}"
        if step_state.notified_at
        else f"{name} being paged"
    )


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
        (PAGERDUTY, page_key(step_state.step), "paged"),
        (SLACK, reply_key(step_state.step), "told in Slack"),
    ):
        delivery = _find_delivery(incident, key, step_state)
        at, receipt = find_notified_at(delivery), delivery.receipt
        if at is not None and step_state.step.responder.find_target(kind):
            is_simulated = receipt is not None and receipt.is_simulated
            notified.append((at, f"{word} {format_timestamp(at)}" + _format_simulated(is_so=is_simulated)))
    return min(notified)[1] if notified else None


def _find_delivery(incident: Incident, key: str, step_state: StepState) -> Delivery:
    """Return the step's delivery: of this escalation run, or of an earlier run for a step carried over."""
    if step_state.is_carried_over:
        return incident.deliveries.get(key, Delivery())
    return current_delivery(incident, key)


def _format_simulated(*, is_so: bool) -> str:
    return " (simulated)" if is_so else ""


def render_page_failures(incident: Incident, escalation: EscalationState) -> str:
    """Return a line for each page not delivered, without a PagerDuty incident, or resolved while it fires."""
    said = list(_page_failures(incident, escalation))
    if len(said) > _MAX_FAILURES:
        said = [*said[:_MAX_FAILURES], f"… and {len(said) - _MAX_FAILURES} more pages not delivered"]
    return "\n".join(said)


def _page_failures(incident: Incident, escalation: EscalationState) -> Iterator[str]:
    for step_state in escalation.due_steps:
        page = current_delivery(incident, page_key(step_state.step))
        who, why = title(step_state.step), escape_line(page.reason, 60)
        if not incident.is_resolved and is_unconfirmed(page):
            yield f"⚠️ PagerDuty accepted the page to {who} and has no incident for it"
        elif not incident.is_resolved and is_resolved_too_often(page):
            yield f"⚠️ Something in PagerDuty resolves the page to {who} while it fires"
        elif page.receipt is not None or not page.reason or (page.check is not None and not page.failed_at):
            continue
        elif page.failed_at:
            yield f"⚠️ PagerDuty: page to {who} not delivered, given up ({why})"
        elif not incident.is_resolved:
            yield f"⚠️ PagerDuty: page to {who} not delivered yet ({why})"

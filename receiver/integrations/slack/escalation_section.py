"""The escalation in one line: who was notified, who is next and when; and pages that were not delivered."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.clock import format_duration
from receiver.engine.notification import IncidentNotification
from receiver.integrations.slack.blocks import Message
from receiver.integrations.slack.headline import (
    format_acknowledged,
    format_resolved,
    severity_mark,
    severity_word,
)
from receiver.integrations.slack.mrkdwn import (
    disable_mentions,
    escape_line,
    format_timestamp,
    link,
    mention,
    mention_on_call,
)
from receiver.model.actions import FallbackMention, Post, Update
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import (
    FALLBACK,
    MOVED,
    DeliveryKey,
    is_acknowledgement,
    is_page_key,
    page_key,
    parse_left_open_key,
    reply_key,
)
from receiver.model.delivery_status import find_channel_failure, message_target
from receiver.model.escalation import EscalationState, StepState
from receiver.model.heading import find_heading
from receiver.model.incident import Incident
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
    if is_unconfirmed(_find_delivery(incident, page_key(step_state.step.name), step_state)):
        return f"⚠️ {name} page not confirmed by PagerDuty"
    if step_state.is_timed_out:
        return f"⚠️ {name} could not be reached"
    notified = _format_notified(incident, step_state)
    if notified is not None:
        return f"{name} {notified}"
    if step_state.is_carried_over:
        return f"{name} notified before"
    return (
        f"{name} notified {format_timestamp(step_state.notified_at)}"
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
        (PAGERDUTY, page_key(step_state.step.name), "paged"),
        (SLACK, reply_key(step_state.step.name), "notified in Slack"),
    ):
        delivery = _find_delivery(incident, key, step_state)
        at, receipt = find_notified_at(delivery), delivery.receipt
        if at is not None and step_state.step.responder.find_target(kind):
            is_simulated = receipt is not None and receipt.is_simulated
            notified.append((at, f"{word} {format_timestamp(at)}" + _format_simulated(is_so=is_simulated)))
    return min(notified)[1] if notified else None


def _find_delivery(incident: Incident, key: DeliveryKey, step_state: StepState) -> Delivery:
    """Return the step's delivery: of this escalation run, or of an earlier run for a step carried over."""
    if step_state.is_carried_over:
        return incident.find_delivery(key)
    return incident.find_run_delivery(key)


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
        page = incident.find_run_delivery(page_key(step_state.step.name))
        who, why = title(step_state.step), escape_line(page.reason, 60)
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


_MAX_NAME = 80
_MAX_REASON = 60
# Notifies the active members of the channel, if we know no person to mention.
_HERE = "<!here>"


def render_fallback_reply(notification: IncidentNotification, reply_kind: str, step: Step) -> Message:
    """Return the reply of *reply_kind*: PagerDuty can't be reached (`page_delayed`), has no incident for an
    accepted page (`unconfirmed`), resolves the page automatically while it fires (`resolved_there`), or the
    fallback responder is notified (`fallback`).
    """
    incident = notification.incident
    if reply_kind == "page_delayed":
        reason = _format_reason(incident, step)
        return _render_mention(
            incident, f"⚠️ PagerDuty can't be reached ({reason}): {_addressee(notification, step)}"
        )
    if reply_kind == "unconfirmed":
        text = f"⚠️ PagerDuty accepted the page and has no incident for it: {_addressee(notification, step)}"
        causes = "Likely a maintenance window, a disabled service or an event rule; the page is sent again"
        return _render_mention(incident, f"{text}\n{causes}")
    if reply_kind == "resolved_there":
        text = f"⚠️ Something in PagerDuty resolves this page while it fires: {_addressee(notification, step)}"
        causes = "Look for auto-resolve of the service, an event rule or another integration"
        return _render_mention(
            incident, f"{text}\n{causes}", _page_link(incident.find_run_delivery(page_key(step.name)))
        )
    target = step.responder.find_target(SLACK)
    who = " ".join(filter(None, (title(step), mention(target.address) if target else "")))
    verb = "Paging" if step.responder.find_target(PAGERDUTY) else "Telling"
    return _render_mention(notification.incident, f"📟 {verb} {who} in place of who could not be reached")


def render_left_open(incident: Incident, key: DeliveryKey) -> str:
    """Return which PagerDuty incident has to be resolved or acknowledged manually.

    *key* is `left_open:` and the key of the event that had no effect, like `resolve:on-call`.
    """
    event_key = parse_left_open_key(key)
    event = incident.deliveries.get(event_key, Delivery())
    name = event.target.partition(":")[2]
    verb = "acknowledge" if is_acknowledgement(event_key) else "resolve"
    page = _page_link(event) or next(filter(None, map(_page_link, _list_pages(incident, event.target))), "")
    which = f"PagerDuty incident {page}" if page else "PagerDuty's incident for this"
    who = escape_line(name, _MAX_NAME)
    if event.failed_at:
        return f"⚠️ {which} ({who}) could not be reached ({_shorten_reason(event.reason)}): {verb} it by hand"
    return f"⚠️ {which} ({who}) is still open after our resolves: {verb} it by hand"


def _list_pages(incident: Incident, target: str) -> list[Delivery]:
    found = incident.deliveries.items()
    return [page for key, page in found if is_page_key(key) and page.target == target]


def _page_link(event: Delivery) -> str:
    """Return PagerDuty's incident as a link, or its ID if the URL is not known; empty if there is none."""
    if event.check is None or not event.check.incident:
        return ""
    name = escape_line(event.check.incident, _MAX_NAME)
    return link(event.check.link, name) if event.check.link else name


def render_fallback_mention(notification: IncidentNotification, fallback_mention: FallbackMention) -> Message:
    """Return the message in the fallback channel that mentions the responder of an undelivered step."""
    incident = notification.incident
    if fallback_mention.step is None:
        return _render_mention(
            incident, f"⚠️ Not delivered ({_shorten_reason(fallback_mention.why)}): {_HERE}"
        )
    failed = f"{title(fallback_mention.step)} could not be reached ({_shorten_reason(fallback_mention.why)})"
    text = f"⚠️ {failed}: {_addressee(notification, fallback_mention.step)}"
    return _render_mention(
        incident, text, link(fallback_mention.link, "message") if fallback_mention.link else ""
    )


def render_fallback_notice(notification: IncidentNotification) -> str:
    """Return for which channel the fallback message was sent, and why; empty for any other message."""
    incident, action = notification.incident, notification.action
    fallback = incident.deliveries.get(FALLBACK, Delivery())
    reference = fallback.receipt.reference if fallback.receipt is not None else ""
    is_edited = isinstance(action, Update) and action.message == reference
    if not is_edited and not (isinstance(action, Post) and action.key == FALLBACK):
        return ""
    loss = find_channel_failure(incident)
    reason = fallback.instance or (loss.reason if loss is not None else "")
    why = f" ({_shorten_reason(reason)})" if reason else ""
    return f"↪️ Here in place of {escape_line(incident.channel, _MAX_NAME)}, which could not be reached{why}"


def render_moved_notice(notification: IncidentNotification) -> str:
    """Return the link to the message that replaces a fallback message; empty for any other message."""
    action = notification.action
    message = notification.incident.message
    if not isinstance(action, Update) or action.key != MOVED or message is None or message.receipt is None:
        return ""
    place = message_target(notification.incident, message).address
    return f"goes on in {link(message.receipt.link, place)}"


def _addressee(notification: IncidentNotification, step: Step) -> str:
    """Return the step's title and a mention of the responder, else of who is on call, else `@here`."""
    target = step.responder.find_target(SLACK)
    handle = mention(target.address) if target else mention_on_call(notification.on_call)
    return f"{title(step)} {handle or _HERE}"


def _format_reason(incident: Incident, step: Step) -> str:
    return _shorten_reason(incident.find_run_delivery(page_key(step.name)).reason or "no_answer")


def _shorten_reason(reason: str) -> str:
    return disable_mentions(escape_line(reason, _MAX_REASON))


def _render_mention(incident: Incident, text: str, place: str = "") -> Message:
    """Return a message with `links_names`, so each @ in labels is disabled."""
    heading = find_heading(incident)
    what = disable_mentions(escape_line(heading.counted_name or heading.counted_summary, 100))
    head = f"{severity_mark(incident.severity)} {severity_word(incident.severity)} · {what}"
    return Message("\n".join((text, " · ".join(filter(None, (head, place))))), links_names=True)

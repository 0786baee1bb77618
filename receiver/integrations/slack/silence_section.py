"""Suppression, staleness and the requested silences in a message, and the buttons that expire silences."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.integrations.slack.blocks import Block, button
from receiver.integrations.slack.mrkdwn import escape_line, format_timestamp, render_person
from receiver.model.delivery import Delivery
from receiver.model.delivery_keys import silence_key
from receiver.model.incident import Incident, SilenceRequest

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
    groups: dict[tuple[str, float, float, str], list[SilenceRequest]] = {}
    for request in active_silences(incident, now):
        groups.setdefault((request.by, request.requested_at, request.until, request.comment), []).append(
            request
        )
    said = [_format_requests(incident, requests) for requests in list(groups.values())[:_MAX_LINES]]
    if len(groups) > _MAX_LINES:
        said.append(f"… and {len(groups) - _MAX_LINES} more silences")
    return "\n".join(said)


def active_silences(incident: Incident, now: float) -> list[SilenceRequest]:
    """Return the silences that should be active; those "until it resolves" end with the incident."""
    return [
        request
        for request in incident.silences
        if request.is_active(now) and not (request.is_until_resolved and incident.is_resolved)
    ]


def expire_buttons(incident: Incident, now: float) -> Iterator[Block]:
    """Yield a button for each of the first active silences; its value is the incident's ID and the number."""
    active = active_silences(incident, now)
    for request in active[:MAX_EXPIRE_BUTTONS]:
        name = "Expire silence" if len(active) == 1 else f"Expire silence {request.number}"
        yield button(name, f"expire:{request.number}", f"{incident.id}#{request.number}")


def _format_requests(incident: Incident, requests: list[SilenceRequest]) -> str:
    request, count = requests[0], len(requests)
    what = "Silence" if count == 1 else f"{count} silences"
    numbers = f"{request.number}" if count == 1 else f"{request.number} to {requests[-1].number}"
    until = "it resolves" if request.is_until_resolved else format_timestamp(request.until)
    comment = escape_line(request.comment, _MAX_COMMENT)
    said = f"🔕 {what} {numbers} by {render_person(request.by)} until {until}"
    return said + (f" · {comment}" if comment else "") + _format_failure(incident, requests)


def _format_failure(incident: Incident, requests: list[SilenceRequest]) -> str:
    """Return why a silence was not created in Alertmanager; empty if no attempt failed."""
    for request in requests:
        made = incident.deliveries.get(silence_key(request.number), Delivery())
        if made.receipt is None and made.reason:
            state = "failed permanently" if made.failed_at else "not made yet"
            return f" · ⚠️ {state}: {escape_line(made.reason, 60)}"
    return ""

"""What is muted: why nobody is paged, and the silences wished for in the message, each with its end."""

from __future__ import annotations

from collections.abc import Iterator

from slack_sdk.models.blocks import ButtonElement

from receiver.channels.slack.blocks import button
from receiver.channels.slack.mrkdwn import line, moment
from receiver.channels.slack.people import render_person
from receiver.domain.delivery import Delivery
from receiver.domain.incident import Incident, SilenceRequest

# All of them would take a third of the message; those that are left come up as others end.
MAX_EXPIRE_BUTTONS = 8
_MAX_LINES = 4
_MAX_COMMENT = 150


def render_hold(incident: Incident) -> str:
    """Return why nobody is paged though it fires; empty when nothing holds the escalation."""
    suppression = incident.suppression
    if suppression is None or incident.is_resolved:
        return ""
    if suppression.reason == "silenced":
        by = f" by {render_person(suppression.by)}" if suppression.by else ""
        until = f" until {moment(suppression.until)}" if suppression.until else ""
        return f"⏸ Silenced{by}{until}: nobody is paged"
    if suppression.reason == "inhibited":
        return "⏸ Inhibited in Alertmanager by another alert: nobody is paged"
    return "⏸ Muted in Alertmanager by a time interval: nobody is paged"


def render_stale(incident: Incident, now: float) -> str:
    """Return that nothing was heard of it for too long; empty while its sender repeats it."""
    if not incident.is_stale(now):
        return ""
    heard_at = max(incident.last_received_at, incident.opened_at)
    return f"⚠️ Stale: no repeat since {moment(heard_at)}, so whether it still fires is not known"


def render_silences(incident: Incident, now: float) -> str:
    """Return the silences that are wished for, a line for each wish; empty when there are none."""
    wishes: dict[tuple[str, float, float, str], list[SilenceRequest]] = {}
    for note in wanted_silences(incident, now):
        wishes.setdefault((note.by, note.requested_at, note.until, note.comment), []).append(note)
    said = [_wish(incident, notes) for notes in list(wishes.values())[:_MAX_LINES]]
    if len(wishes) > _MAX_LINES:
        said.append(f"… and {len(wishes) - _MAX_LINES} more silences")
    return "\n".join(said)


def wanted_silences(incident: Incident, now: float) -> list[SilenceRequest]:
    """Return the silences that should be in force; those until it resolves are over when it is."""
    return [
        note
        for note in incident.silences
        if note.is_active(now) and not (note.is_until_resolved and incident.is_resolved)
    ]


def expire_buttons(incident: Incident, now: float) -> Iterator[ButtonElement]:
    """Yield a button for each silence, the first ones; it carries the incident's id and the number."""
    wanted = wanted_silences(incident, now)
    for note in wanted[:MAX_EXPIRE_BUTTONS]:
        name = "Expire silence" if len(wanted) == 1 else f"Expire silence {note.number}"
        yield button(name, f"expire:{note.number}", f"{incident.id}#{note.number}")


def _wish(incident: Incident, notes: list[SilenceRequest]) -> str:
    note, count = notes[0], len(notes)
    what = "Silence" if count == 1 else f"{count} silences"
    numbers = f"{note.number}" if count == 1 else f"{note.number} to {notes[-1].number}"
    until = "it resolves" if note.is_until_resolved else moment(note.until)
    comment = line(note.comment, _MAX_COMMENT)
    said = f"🔕 {what} {numbers} by {render_person(note.by)} until {until}"
    return said + (f" · {comment}" if comment else "") + _trouble(incident, notes)


def _trouble(incident: Incident, notes: list[SilenceRequest]) -> str:
    """Return what keeps Alertmanager from having them; empty while all is well or just begun."""
    for note in notes:
        made = incident.deliveries.get(f"silence:{note.number}", Delivery())
        if made.receipt is None and made.reason:
            state = "given up" if made.failed_at else "not made yet"
            return f" · ⚠️ {state}: {line(made.reason, 60)}"
    return ""

"""What people make of an incident: each answer is one change of one state, whatever side it comes from."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from receiver.clock import format_duration
from receiver.domain.incident import Change, Event, Incident, Run, SilenceNote
from receiver.domain.person import Person

# Acknowledgements closer together answer the same page: a double click, a request sent again, two people who
# were both woken. The first one has it, and of its time nothing is over yet.
AT_ONCE_S = 60.0


def acknowledge(incident: Incident, by: Person, now: float, *, is_renewing: bool = True) -> Change:
    """Somebody has it: paging stops; a snooze becomes lasting.

    Given again it is theirs who gave it last, and its time begins anew. What is not *is_renewing*, or comes
    within a minute, changes nothing then.
    """
    if incident.is_resolved:
        return Change(incident)
    is_again = incident.is_acknowledged and not incident.snoozed_until
    if is_again and not (is_renewing and abs(now - incident.acknowledged_at) >= AT_ONCE_S):
        return Change(incident)
    text = "Acknowledged again" if is_again else "Acknowledged"
    return _changed(_taken(incident, by, now), now, Event(now, "acknowledged", text, by.name, by.via))


def snooze(incident: Incident, by: Person, for_s: float, now: float) -> Change:
    """Hold the escalation for *for_s* seconds; then it is as if it were un-acknowledged."""
    if incident.is_resolved:
        return Change(incident)
    snoozed = replace(_taken(incident, by, now), snoozed_until=now + for_s)
    text = f"Snoozed for {format_duration(for_s)}"
    return _changed(snoozed, now, Event(now, "snoozed", text, by.name, by.via))


def unacknowledge(incident: Incident, by: Person, now: float) -> Change:
    """Nobody has it any more: the step last told is told again at once."""
    if incident.is_resolved or not incident.is_acknowledged:
        return Change(incident)
    event = Event(now, "unacknowledged", "Un-acknowledged", by.name, by.via)
    return _changed(run_again(incident, now), now, event)


def lapse(incident: Incident, acknowledged_at: float, now: float) -> Change:
    """The acknowledgement of *acknowledged_at* has run out; another one has not."""
    if incident.is_resolved or incident.acknowledged_at != acknowledged_at:
        return Change(incident)
    text = "Snooze ended" if incident.snoozed_until else "Acknowledged, and not resolved in time"
    return _changed(run_again(incident, now), now, Event(now, "unacknowledged", text))


def calm(incident: Incident, flapping_until: float, now: float) -> Change:
    """What flapped until then was quiet for the window: over if nothing of it fires, else as any other."""
    if incident.is_resolved or not incident.is_flapping or incident.flapping_until != flapping_until:
        return Change(incident)
    calmed = replace(incident, flapping_until=0.0, quiet_at=0.0)
    if not incident.quiet_at:
        return _changed(calmed, now, Event(now, "calmed", "No longer flapping"))
    text = f"Flapped, and was quiet for {format_duration(now - incident.quiet_at)}"
    return _changed(replace(calmed, resolved_at=now), now, Event(now, "resolved", text))


def resolve(incident: Incident, by: Person, now: float) -> Change:
    """Close it by hand, also while it fires. The second time changes nothing."""
    if incident.is_resolved:
        return Change(incident)
    closed = replace(incident, resolved_at=now, resolved_by=by.name or "somebody", resolved_ref=by.slack_id)
    return _changed(closed, now, Event(now, "resolved", "Resolved by hand", by.name, by.via))


def silence(
    incident: Incident,
    by: Person,
    *,
    matchers: Sequence[tuple[tuple[str, str], ...]],
    for_s: float,
    comment: str,
    now: float,
) -> Change:
    """Wish for a silence of each of *matchers*, for *for_s* seconds (0: until it resolves)."""
    if incident.is_resolved or not matchers:
        return Change(incident)
    first = max((note.number for note in incident.silences), default=0) + 1
    notes = tuple(
        SilenceNote(first + n, each, by.name, now, now + for_s if for_s else 0.0, comment)
        for n, each in enumerate(matchers)
    )
    text = f"Silence wished for {format_duration(for_s)}" if for_s else "Silence wished until it resolves"
    wished = replace(incident, silences=(*incident.silences, *notes))
    return _changed(wished, now, Event(now, "silenced", text, by.name, by.via))


def expire_silence(incident: Incident, number: int, by: Person, now: float) -> Change:
    """No longer wish for the silence of that number. The second time changes nothing."""
    if not any(note.number == number and note.is_wanted(now) for note in incident.silences):
        return Change(incident)
    notes = tuple(
        replace(note, ended_at=now) if note.number == number else note for note in incident.silences
    )
    event = Event(now, "silence_expired", "Silence expired", by.name, by.via)
    return _changed(replace(incident, silences=notes), now, event)


def run_again(incident: Incident, now: float) -> Incident:
    """Return *incident* un-acknowledged: the step last told is told again, then the next waits."""
    run = Run(incident.run.number + 1, now, "unacknowledged", incident.run.since)
    return replace(let_go(incident), run=run)


def let_go(incident: Incident) -> Incident:
    """Return *incident* without an acknowledgement."""
    return replace(incident, acknowledged_at=0.0, acknowledged_by="", acknowledged_ref="", snoozed_until=0.0)


def _taken(incident: Incident, by: Person, now: float) -> Incident:
    return replace(
        incident,
        acknowledged_at=now,
        acknowledged_by=by.name or "somebody",
        acknowledged_ref=by.slack_id,
        first_acknowledged_at=incident.first_acknowledged_at or now,
        snoozed_until=0.0,
    )


def _changed(incident: Incident, now: float, event: Event) -> Change:
    changed = replace(incident, updated_at=now, revision=incident.revision + 1)
    return Change(changed, is_changed=True, events=(event,))

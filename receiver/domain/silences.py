"""The silences wished for on an incident: made, prolonged and ended in Alertmanager."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from receiver.domain.action import Action, ExpireSilence, MakeSilence
from receiver.domain.delivery import Delivery
from receiver.domain.escalation import ready_at
from receiver.domain.incident import Incident, SilenceNote, find_firing
from receiver.domain.policy import ALERTMANAGER, Target

# One that lasts until the incident resolves is made for this long at a time, and prolonged when
# less than that is left: an end that we could not tell is then not far.
_STRETCH_S = 2 * 3600.0
_PROLONG_BELOW_S = 3600.0
WARN_BEFORE_S = 900.0
_MOST_SILENCES = 20

Matchers = tuple[tuple[str, str], ...]


def choose_matchers(incident: Incident) -> tuple[Matchers, ...]:
    """Return the matchers of each silence to make: the labels that all firing alerts share.

    Where not even the alertname is shared, one silence for each alert with all its labels: a wider
    one would silence what nobody meant. Of many alerts the worst 20 then get one.
    """
    firing = find_firing(incident)
    if not firing:
        return ()
    shared = dict(firing[0].labels)
    for alert in firing[1:]:
        shared = {name: value for name, value in shared.items() if alert.labels.get(name) == value}
    if "alertname" in shared:
        return (_sorted(shared),)
    return tuple(_sorted(alert.labels) for alert in firing[:_MOST_SILENCES])


def _sorted(labels: Mapping[str, str]) -> Matchers:
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def list_silences(incident: Incident, now: float) -> Iterator[Action]:
    """Yield what Alertmanager is still to be told of the incident's silences."""
    target = Target(ALERTMANAGER, incident.source)
    for note in incident.silences:
        made = incident.deliveries.get(f"silence:{note.number}", Delivery())
        if _is_over(incident, note, now):
            if made.may_have_arrived and (note.ended_at or note.is_until_resolved):
                # One that nobody knows the id of is found there by its mark.
                key, known = f"expire:{note.number}", made.receipt.reference if made.receipt else ""
                yield ExpireSilence(key, "", ALERTMANAGER, target, ready_at(incident, key), "", known)
            continue
        yield from _make(incident, note, made, target, now)


def _make(
    incident: Incident, note: SilenceNote, made: Delivery, target: Target, now: float
) -> Iterator[Action]:
    """Yield the making of a silence, or the next stretch of one that lasts until it resolves."""
    stretch = _stretch(note, now) if note.is_until_resolved else 1
    is_prolonged = made.receipt is not None and stretch > 1
    if made.is_settled and not is_prolonged:
        return
    key, about = (f"prolong:{note.number}", str(stretch)) if is_prolonged else (f"silence:{note.number}", "")
    yield MakeSilence(
        key,
        about,
        ALERTMANAGER,
        target,
        ready_at(incident, key, about),
        "",
        matchers=note.matchers,
        ends_at=note.wished_at + stretch * _STRETCH_S if note.is_until_resolved else note.until,
        by=note.by,
        comment=f"{note.comment or 'Silenced by the receiver'} [receiver {incident.id}#{note.number}]",
        silence_id=made.receipt.reference if made.receipt is not None else "",
    )


def _stretch(note: SilenceNote, now: float) -> int:
    """Return in which of its stretches a silence without an end is: its end is an hour ahead at least."""
    return int((now - note.wished_at + _PROLONG_BELOW_S) // _STRETCH_S) + 1


def _is_over(incident: Incident, note: SilenceNote, now: float) -> bool:
    return not note.is_wanted(now) or (note.is_until_resolved and incident.is_resolved)


def silence_moments(incident: Incident, now: float) -> Iterator[float]:
    """Yield the moments ahead at which something is to be done about a silence."""
    for note in incident.silences:
        if _is_over(incident, note, now):
            continue
        if note.is_until_resolved:
            yield note.wished_at + _stretch(note, now) * _STRETCH_S - _PROLONG_BELOW_S
        else:
            yield from (at for at in (note.until - WARN_BEFORE_S, note.until) if at > now)


def ending_silences(incident: Incident, now: float) -> Iterator[SilenceNote]:
    """Yield the silences that end within a quarter of an hour while something still fires."""
    for note in incident.silences:
        is_near = not note.is_until_resolved and note.until - WARN_BEFORE_S <= now < note.until
        if is_near and not note.ended_at and incident.firing and note.until - note.wished_at > WARN_BEFORE_S:
            yield note

"""Where a firing alert is at home: in the incident that has it, whichever group key it comes under.

Changed routes or another `group_by` give the same alerts a new group key. Groups of one source and one
receiver on one route are neighbours, and an alert fires in one of them at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import json

from receiver.domain.alert import Alert, Group
from receiver.domain.incident import Incident
from receiver.domain.ports import Held


@dataclass(frozen=True)
class Moves:
    """The fingerprints that a change makes fire in its slot, and those that fire there no longer."""

    begun: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


def neighbourhood_of(source: str, receiver: str, route: str) -> str:
    """Return the short name that neighbours share, a pure function of what they share."""
    return hashlib.sha256(json.encode([source, receiver, route])).hexdigest()[:16]


def is_at_home(incident: Incident | None, fingerprint: str) -> bool:
    """Tell whether the alert fires in *incident*; also when a hand has closed that since."""
    standing = incident.standings.get(fingerprint) if incident is not None else None
    return standing is not None and standing.is_firing


def find_strangers(incident: Incident | None, group: Group) -> tuple[Alert, ...]:
    """Return the resolved alerts that end a firing of which the slot's *incident* knows nothing."""
    return tuple(a for a in group.alerts if not a.is_firing and _is_strange(incident, a))


def _is_strange(incident: Incident | None, alert: Alert) -> bool:
    known = incident.standings.get(alert.fingerprint) if incident is not None else None
    return known is None or (not known.is_firing and alert.starts_at > known.starts_at)


def split(
    alerts: Sequence[Alert], slot: str, homes: Mapping[str, Sequence[str]], held: Mapping[str, Held]
) -> Mapping[str, Sequence[Alert]]:
    """Return *alerts* of the group at *slot* by the slot they belong to: where they fire, else there.

    *homes* are the slots that may have each, *held* is what these hold: a slot whose incident is
    over, or where the alert is, has it no longer.
    """
    if not homes:
        return {slot: alerts}
    parts: dict[str, list[Alert]] = {}
    for alert in alerts:
        name = alert.fingerprint
        slots = (one for one in (slot, *homes.get(name, ())) if one in held)
        home = next((one for one in slots if is_at_home(held[one].incident, name)), slot)
        parts.setdefault(home, []).append(alert)
    return parts


def tell_moves(before: Incident | None, after: Incident) -> Moves:
    """Return which alerts began and ceased to fire in a slot that held *before* and holds *after*."""
    if before is not None and before.standings is after.standings:
        return Moves()
    fired, fires = _firing(before), _firing(after)
    return Moves(tuple(n for n in fires if n not in fired), tuple(n for n in fired if n not in fires))


def _firing(incident: Incident | None) -> dict[str, None]:
    if incident is None:
        return {}
    return {name: None for name, standing in incident.standings.items() if standing.is_firing}

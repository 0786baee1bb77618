"""Where a firing alert is at home: in the incident that has it, whichever way it comes.

One alert may come under several group keys: `continue: true` sends it to two receivers, and changed routes
or another `group_by` give its group a new key. Groups of one source on one route are neighbours, and an
alert fires in one of them at a time. The names of receivers are no part of this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from msgspec import Struct, json

from receiver.domain.alert import Alert, Group
from receiver.domain.incident import Incident
from receiver.domain.ports import Claim, Held, Home

# A claim without an incident is free after this long, by the clock of the server that holds it.
CLAIM_FOR_S = 3.0
# An incident is written within this time of the reading that went before its claims, else not at all.
WRITE_WITHIN_S = 2.0
# So a claim that is to be used has to be younger than this.
_FRESH_FOR_S = CLAIM_FOR_S - WRITE_WITHIN_S


@dataclass(frozen=True)
class Moves:
    """The fingerprints that a change makes fire in its slot, and those that fire there no longer."""

    begun: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def neighbourhood_of(source: str, route: str) -> str:
    """Return the short name that neighbours share, a pure function of what they share."""
    return hashlib.sha256(json.encode([source, route])).hexdigest()[:16]


def fires_in(incident: Incident | None, fingerprint: str) -> bool:
    """Tell whether the alert fires in *incident*; also when a hand has closed that since."""
    standing = incident.standings.get(fingerprint) if incident is not None else None
    return standing is not None and standing.is_firing


def is_at_home(incident: Incident | None, fingerprint: str, now: float, flap_window: float) -> bool:
    """Tell whether the alert belongs to *incident*: it fires there, or would fire there again.

    What ended less than *flap_window* ago reopens or rejoins its incident, by whichever way it comes; what
    ended in an incident that was closed by hand opens another one.
    """
    standing = incident.standings.get(fingerprint) if incident is not None else None
    if incident is None or standing is None:
        return False
    if standing.is_firing:
        return True
    if incident.is_closed_by_hand:
        return False
    ended_at = incident.resolved_at if incident.is_resolved else max(standing.turns, default=0.0)
    return now - ended_at < flap_window


def find_strangers(incident: Incident | None, group: Group) -> tuple[Alert, ...]:
    """Return the resolved alerts that end a firing of which the slot's *incident* knows nothing."""
    return tuple(a for a in group.alerts if not a.is_firing and _is_strange(incident, a))


def _is_strange(incident: Incident | None, alert: Alert) -> bool:
    known = incident.standings.get(alert.fingerprint) if incident is not None else None
    return known is None or (not known.is_firing and alert.starts_at > known.starts_at)


class Surroundings(Struct, frozen=True):
    """What is known beside a group's alerts: their slot, their homes by fingerprint, and what slots hold."""

    slot: str
    homes: Mapping[str, Home]
    held: Mapping[str, Held]
    now: float
    flap_window: float


@dataclass
class Placement:
    """Where the alerts of a group belong, as far as that can be said.

    *unread* are slots that must be read first, *claims* is what the store must be asked for before anything
    is written, *pending* are alerts that another slot has claimed a moment ago and not written yet.
    """

    parts: dict[str, list[Alert]] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)  # by fingerprint
    claims: dict[str, tuple[str, str]] = field(default_factory=dict)  # target and mark by fingerprint
    pending: list[Alert] = field(default_factory=list)

    def add(self, slot: str, alert: Alert) -> None:
        self.parts.setdefault(slot, []).append(alert)


def place(alerts: Sequence[Alert], around: Surroundings, *, is_divided: bool) -> Placement:
    """Return where each of *alerts* belongs: to its home, else to the slot of its own group.

    Where the store is divided, an alert that does not fire in its slot yet has to be claimed for it before
    that is written; else `commit` sees to that.
    """
    placement = Placement()
    for alert in alerts:
        _place(alert, around, placement, is_divided=is_divided)
    return placement


def _place(alert: Alert, around: Surroundings, placement: Placement, *, is_divided: bool) -> None:
    name, own = alert.fingerprint, around.slot
    home = around.homes.get(name)
    if fires_in(around.held[own].incident, name):
        placement.add(own, alert)
        return
    target = own
    if home is not None:
        if home.slot not in around.held:
            placement.unread[name] = home.slot
            return
        if is_at_home(around.held[home.slot].incident, name, around.now, around.flap_window):
            target = home.slot
    if not is_divided or not alert.is_firing or fires_in(around.held[target].incident, name):
        placement.add(target, alert)
    elif home is None:
        placement.claims[name] = (target, "")
    elif home.slot == target and home.age_s < _FRESH_FOR_S:
        placement.add(target, alert)
    elif home.slot != target and home.age_s < CLAIM_FOR_S:
        placement.pending.append(alert)
    else:
        placement.claims[name] = (target, home.mark)


def first_claims(neighbourhood: str, slot: str, alerts: Sequence[Alert]) -> tuple[Claim, ...]:
    """Return what to ask a divided store of a group that has just come: whose its alerts are.

    Only the first of those that fire is claimed, the others when that one is settled: so two groups of the
    same alerts, taken by two processes at once, never share them out between them.
    """
    leader = find_leader(alerts)
    return tuple(
        Claim(neighbourhood, alert.fingerprint, slot if alert.fingerprint == leader else "")
        for alert in alerts
    )


def next_claims(neighbourhood: str, alerts: Sequence[Alert], placement: Placement) -> tuple[Claim, ...]:
    """Return the claims that *placement* of *alerts* lacks: all of them once the leader is settled."""
    leader, wanted = find_leader(alerts), placement.claims
    if leader in placement.unread:
        return ()
    if leader in wanted:
        wanted = {leader: wanted[leader]}
    return tuple(Claim(neighbourhood, name, target, mark) for name, (target, mark) in wanted.items())


def find_leader(alerts: Sequence[Alert]) -> str:
    """Return the alert that is claimed first: the same one for every group of the same alerts."""
    return min((alert.fingerprint for alert in alerts if alert.is_firing), default="")


def tell_moves(before: Incident | None, after: Incident) -> Moves:
    """Return which alerts began and ceased to fire in a slot that held *before* and holds *after*."""
    if before is not None and before.standings is after.standings:
        return Moves()
    fires = _firing(after)
    if before is None:
        return Moves(tuple(fires))
    fired = _firing(before)
    return Moves(tuple([n for n in fires if n not in fired]), tuple([n for n in fired if n not in fires]))


def _firing(incident: Incident) -> dict[str, None]:
    return {name: None for name, standing in incident.standings.items() if standing.ends_at == 0.0}

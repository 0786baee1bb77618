"""Where a firing alert is at home: in the incident that has it, whichever way it comes.

One alert may come under several group keys: `continue: true` sends it to two receivers, and changed routes
or another `group_by` give its group a new key. Groups of one source on one route are neighbours, and an
alert fires in one of them at a time. The names of receivers are no part of this.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from msgspec import Struct, json

from receiver.model.alert import Alert, Group
from receiver.model.incident import Incident, VersionedIncident


@dataclass(frozen=True)
class AlertOwner:
    """The slot that has an alert, as the store knows it; its incident says whether that is still so.

    A divided store adds *claim_id*, which names this very claim, and *age_s*, how long ago it was made.
    """

    group_id: str
    claim_id: str = ""
    age_s: float = math.inf


@dataclass(frozen=True)
class Claim:
    """An alert, and the *group_id* to claim it for, if it is free or its ID is *former_claim_id*.

    Without a slot only its home is asked for.
    """

    group_family: str
    fingerprint: str
    group_id: str = ""
    former_claim_id: str = ""


# A claim without an incident is free after this long, by the clock of the server that holds it.
CLAIM_FOR_S = 3.0
# An incident is written within this time of the reading that went before its claims, else not at all.
WRITE_WITHIN_S = 2.0
# So a claim that is to be used has to be younger than this.
_FRESH_FOR_S = CLAIM_FOR_S - WRITE_WITHIN_S


@dataclass(frozen=True)
class OwnershipChanges:
    """The fingerprints that a change makes fire in its slot, and those that fire there no longer."""

    begun: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def group_family_of(source: str, route: str) -> str:
    """Return the short name that neighbours share, a pure function of what they share."""
    return hashlib.sha256(json.encode([source, route])).hexdigest()[:16]


def is_firing_in(incident: Incident | None, fingerprint: str) -> bool:
    """Tell whether the alert fires in *incident*; also when a hand has closed that since."""
    alert_state = incident.alert_states.get(fingerprint) if incident is not None else None
    return alert_state is not None and alert_state.is_firing


def is_owned_by(incident: Incident | None, fingerprint: str, now: float, flap_window: float) -> bool:
    """Tell whether the alert belongs to *incident*: it fires there, or would fire there again.

    What ended less than *flap_window* ago reopens or rejoins its incident, by whichever way it comes; what
    ended in an incident that was closed by hand opens another one.
    """
    alert_state = incident.alert_states.get(fingerprint) if incident is not None else None
    if incident is None or alert_state is None:
        return False
    if alert_state.is_firing:
        return True
    if incident.is_closed_by_hand:
        return False
    ended_at = incident.resolved_at if incident.is_resolved else max(alert_state.changed_at, default=0.0)
    return now - ended_at < flap_window


def find_unmatched_resolves(incident: Incident | None, group: Group) -> tuple[Alert, ...]:
    """Return the resolved alerts that end a firing of which the slot's *incident* knows nothing."""
    return tuple(a for a in group.alerts if not a.is_firing and _is_unmatched(incident, a))


def _is_unmatched(incident: Incident | None, alert: Alert) -> bool:
    known = incident.alert_states.get(alert.fingerprint) if incident is not None else None
    return known is None or (not known.is_firing and alert.starts_at > known.starts_at)


class OwnershipContext(Struct, frozen=True):
    """What is known beside a group's alerts: their slot, their homes by fingerprint, and what slots hold."""

    group_id: str
    owners: Mapping[str, AlertOwner]
    loaded: Mapping[str, VersionedIncident]
    now: float
    flap_window: float


@dataclass
class OwnerAssignment:
    """Where the alerts of a group belong, as far as that can be said.

    *unread_groups* are slots that must be read first, *claims* is what the store must be asked for before
    anything is written, *pending* are alerts that another slot has claimed a moment ago and not written yet.
    """

    by_group_id: dict[str, list[Alert]] = field(default_factory=dict)
    unread_groups: dict[str, str] = field(default_factory=dict)  # by fingerprint
    claims: dict[str, tuple[str, str]] = field(default_factory=dict)  # target and mark by fingerprint
    pending: list[Alert] = field(default_factory=list)

    def add_alert(self, group_id: str, alert: Alert) -> None:
        self.by_group_id.setdefault(group_id, []).append(alert)


def assign_owners(alerts: Sequence[Alert], context: OwnershipContext, *, is_divided: bool) -> OwnerAssignment:
    """Return where each of *alerts* belongs: to its home, else to the slot of its own group.

    Where the store is divided, an alert that does not fire in its slot yet has to be claimed for it before
    that is written; else `commit` sees to that.
    """
    assignment = OwnerAssignment()
    for alert in alerts:
        _assign_owner(alert, context, assignment, is_divided=is_divided)
    return assignment


def _assign_owner(
    alert: Alert, context: OwnershipContext, assignment: OwnerAssignment, *, is_divided: bool
) -> None:
    name, own = alert.fingerprint, context.group_id
    owner = context.owners.get(name)
    if is_firing_in(context.loaded[own].incident, name):
        assignment.add_alert(own, alert)
        return
    target = own
    if owner is not None:
        if owner.group_id not in context.loaded:
            assignment.unread_groups[name] = owner.group_id
            return
        if is_owned_by(context.loaded[owner.group_id].incident, name, context.now, context.flap_window):
            target = owner.group_id
    if not is_divided or not alert.is_firing or is_firing_in(context.loaded[target].incident, name):
        assignment.add_alert(target, alert)
    elif owner is None:
        assignment.claims[name] = (target, "")
    elif owner.group_id == target and owner.age_s < _FRESH_FOR_S:
        assignment.add_alert(target, alert)
    elif owner.group_id != target and owner.age_s < CLAIM_FOR_S:
        assignment.pending.append(alert)
    else:
        assignment.claims[name] = (target, owner.claim_id)


def build_first_claims(group_family: str, group_id: str, alerts: Sequence[Alert]) -> tuple[Claim, ...]:
    """Return what to ask a divided store of a group that has just come: whose its alerts are.

    Only the first of those that fire is claimed, the others when that one is settled: so two groups of the
    same alerts, taken by two processes at once, never share them out between them.
    """
    leader = find_leader(alerts)
    return tuple(
        Claim(group_family, alert.fingerprint, group_id if alert.fingerprint == leader else "")
        for alert in alerts
    )


def build_next_claims(
    group_family: str, alerts: Sequence[Alert], assignment: OwnerAssignment
) -> tuple[Claim, ...]:
    """Return the claims that *placement* of *alerts* lacks: all of them once the leader is settled."""
    leader, claims = find_leader(alerts), assignment.claims
    if leader in assignment.unread_groups:
        return ()
    if leader in claims:
        claims = {leader: claims[leader]}
    return tuple(Claim(group_family, name, target, claim_id) for name, (target, claim_id) in claims.items())


def find_leader(alerts: Sequence[Alert]) -> str:
    """Return the alert that is claimed first: the same one for every group of the same alerts."""
    return min((alert.fingerprint for alert in alerts if alert.is_firing), default="")


def find_ownership_changes(before: Incident | None, after: Incident) -> OwnershipChanges:
    """Return which alerts began and ceased to fire in a slot that held *before* and holds *after*."""
    if before is not None and before.alert_states is after.alert_states:
        return OwnershipChanges()
    fires = _list_firing_fingerprints(after)
    if before is None:
        return OwnershipChanges(tuple(fires))
    fired = _list_firing_fingerprints(before)
    return OwnershipChanges(
        tuple([n for n in fires if n not in fired]), tuple([n for n in fired if n not in fires])
    )


def _list_firing_fingerprints(incident: Incident) -> dict[str, None]:
    return {name: None for name, alert_state in incident.alert_states.items() if alert_state.ends_at == 0.0}

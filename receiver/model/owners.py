"""The owner of a firing alert: the incident that it belongs to, under whatever group key a copy of it comes.

One alert may come under several group keys: `continue: true` sends it to two receivers, and changed routes
or another `group_by` give its group a new key. Groups of one source on one route are a group family of
sibling groups, and an alert fires in one of them at a time. The names of receivers play no part.

Where Redis has several shards, an incident and the owners of its alerts may lie on different ones, so each
alert is claimed before the incident is written.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from msgspec import json

from receiver.model.alert import Alert, Group
from receiver.model.incident import Incident, VersionedIncident


@dataclass(frozen=True)
class AlertOwner:
    """The group ID that owns an alert according to the store. Its incident tells whether that still holds."""

    group_id: str
    claim_id: str = ""  # with several shards
    age_s: float = math.inf  # of the claim


@dataclass(frozen=True)
class OwnershipClaim:
    """A request to claim an alert for *group_id*, if it has no owner or its claim is *former_claim_id*."""

    group_family: str
    fingerprint: str
    group_id: str = ""  # if empty, the owner is only looked up
    former_claim_id: str = ""


# A claim without an incident expires after this long, by the clock of the Redis server that has it.
OWNERSHIP_CLAIM_FOR_S = 3.0
# An incident is written within this time after it was read, before its claims, or not at all.
WRITE_WITHIN_S = 2.0
# So a claim must be younger than this to be used.
_FRESH_FOR_S = OWNERSHIP_CLAIM_FOR_S - WRITE_WITHIN_S


@dataclass(frozen=True)
class OwnershipChanges:
    """The fingerprints that start to fire in a group ID's incident by a change, and those that stop."""

    begun: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def group_family_of(source: str, route: str) -> str:
    """Return the ID of a group family: 16 hex digits, a pure function of the arguments."""
    return hashlib.sha256(json.encode([source, route])).hexdigest()[:16]


def is_firing_in(incident: Incident | None, fingerprint: str) -> bool:
    """Return whether the alert fires in *incident*, also where a person has closed that."""
    alert_state = incident.alert_states.get(fingerprint) if incident is not None else None
    return alert_state is not None and alert_state.is_firing


def is_owned_by(incident: Incident | None, fingerprint: str, now: float, flap_window: float) -> bool:
    """Return whether *incident* owns the alert: the alert fires there, or would fire there again.

    An alert that ended less than *flap_window* seconds ago reopens or rejoins its incident, whatever its
    group key. An alert that ended in an incident that was closed by hand opens another one.
    """
    alert_state = incident.alert_states.get(fingerprint) if incident is not None else None
    if incident is None or alert_state is None:
        return False
    if alert_state.is_firing or incident.is_closed_by_hand:
        return alert_state.is_firing
    ended_at = incident.resolved_at if incident.is_resolved else max(alert_state.changed_at, default=0.0)
    return now - ended_at < flap_window


def find_unmatched_resolves(incident: Incident | None, group: Group) -> tuple[Alert, ...]:
    """Return the unmatched resolves: resolved alerts whose firing *incident* does not have."""
    states = incident.alert_states if incident is not None else {}
    ended = ((alert, states.get(alert.fingerprint)) for alert in group.alerts if not alert.is_firing)
    return tuple(
        alert
        for alert, known in ended
        if known is None or (not known.is_firing and alert.starts_at > known.starts_at)
    )


@dataclass
class OwnerAssignment:
    """The alerts of a group by the group ID that owns them, as far as that can be decided.

    *unread_groups* and *claims* are by fingerprint: the group IDs whose incidents must be read first, and the
    claims to make before an incident is written: the group ID to claim the alert for, and the former claim's
    ID, if any. *pending* are alerts that another group ID claimed a moment ago and whose incident lacks them.
    """

    by_group_id: defaultdict[str, list[Alert]] = field(default_factory=lambda: defaultdict(list))
    unread_groups: dict[str, str] = field(default_factory=dict)
    claims: dict[str, tuple[str, str]] = field(default_factory=dict)
    pending: list[Alert] = field(default_factory=list)


def assign_owners(
    alerts: Sequence[Alert],
    group_id: str,
    owners: Mapping[str, AlertOwner],
    loaded: Mapping[str, VersionedIncident],
    *,
    now: float,
    flap_window: float,
    is_divided: bool,
) -> OwnerAssignment:
    """Assign each of *alerts* to its owner, else to *group_id*, that of its own group.

    *owners* are by fingerprint, *loaded* are the incidents read so far, by group ID, and *flap_window* is in
    seconds. Where the store *is_divided* into several shards, an alert that does not fire in the incident yet
    must be claimed before that incident is written. On one shard, the store's commit does both at once.
    """
    assignment = OwnerAssignment()
    for alert in alerts:
        name, target = alert.fingerprint, group_id
        owner = owners.get(name)
        if owner is not None and not is_firing_in(loaded[group_id].incident, name):
            if owner.group_id not in loaded:
                assignment.unread_groups[name] = owner.group_id
                continue
            if is_owned_by(loaded[owner.group_id].incident, name, now, flap_window):
                target = owner.group_id
        if not is_divided or not alert.is_firing or is_firing_in(loaded[target].incident, name):
            assignment.by_group_id[target].append(alert)
        elif owner is None:
            assignment.claims[name] = (target, "")
        elif owner.group_id == target and owner.age_s < _FRESH_FOR_S:
            assignment.by_group_id[target].append(alert)
        elif owner.group_id != target and owner.age_s < OWNERSHIP_CLAIM_FOR_S:
            assignment.pending.append(alert)
        else:
            assignment.claims[name] = (target, owner.claim_id)
    return assignment


def build_first_claims(
    group_family: str, group_id: str, alerts: Sequence[Alert]
) -> tuple[OwnershipClaim, ...]:
    """Return the first claims for an incoming group where Redis has several shards.

    They look up the owner of every alert, but claim only the leader (see `find_leader`). The others are
    claimed once the leader has an owner: so two groups with the same alerts, ingested by two processes at
    once, never divide the alerts between them.
    """
    leader = find_leader(alerts)
    return tuple(
        OwnershipClaim(group_family, alert.fingerprint, group_id if alert.fingerprint == leader else "")
        for alert in alerts
    )


def build_next_claims(
    group_family: str, alerts: Sequence[Alert], assignment: OwnerAssignment
) -> tuple[OwnershipClaim, ...]:
    """Return the claims that *assignment* still lacks: only the leader's, until the leader has an owner."""
    leader, claims = find_leader(alerts), assignment.claims
    if leader in assignment.unread_groups:
        return ()
    if leader in claims:
        claims = {leader: claims[leader]}
    return tuple(
        OwnershipClaim(group_family, name, target, claim_id) for name, (target, claim_id) in claims.items()
    )


def find_leader(alerts: Sequence[Alert]) -> str:
    """Return the fingerprint to claim first: the least that fires, so the same for the same alerts."""
    return min((alert.fingerprint for alert in alerts if alert.is_firing), default="")


def find_ownership_changes(before: Incident | None, after: Incident) -> OwnershipChanges:
    """Return which alerts started and stopped firing from *before* to *after*, incidents of one group ID."""
    if before is not None and before.alert_states is after.alert_states:
        return OwnershipChanges()
    former_states = before.alert_states if before is not None else {}
    fires = {name: None for name, s in after.alert_states.items() if s.ends_at == 0.0}
    fired = {name: None for name, s in former_states.items() if s.ends_at == 0.0}
    return OwnershipChanges(
        tuple([name for name in fires if name not in fired]),
        tuple([name for name in fired if name not in fires]),
    )

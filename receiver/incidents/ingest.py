"""Ingestion of alert groups: routes each alert, merges the alerts into their incidents, and commits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from receiver.errors import StoreError
from receiver.incidents.former_routes import FormerRoutes, RoutedAlerts, build_route_settings
from receiver.incidents.store import OwnerReading, RedisIncidents, UpdateRefusal
from receiver.model.alert import Alert, Group
from receiver.model.incident import IncidentChange, IncidentUpdate, VersionedIncident, group_id_of
from receiver.model.merge import merge
from receiver.model.owners import (
    AlertOwner,
    OwnershipClaim,
    assign_owners,
    build_first_claims,
    build_next_claims,
    find_leader,
    find_unmatched_resolves,
    group_family_of,
    is_firing_in,
)
from receiver.model.plan import queues_for
from receiver.model.routing import RouteSettings, RoutingTable

# Removes the heartbeat alerts from groups at a time; returns the remaining groups and the number removed.
ExtractHeartbeats = Callable[[tuple[Group, ...], float], tuple[tuple[Group, ...], int]]
# Each further pass means that another process changed the same group in the same millisecond.
MAX_PASSES = 25
# Of an array of alerts, each of which is a group: more would exceed the time in which Redis must answer.
_GROUPS_AT_ONCE = 500
# Waits for a claim of another process to become an incident: in total a little more than the 3 s after which
# a claim expires, and less than the 5 s timeout of a webhook.
_WAITS_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, *(0.5,) * 5)


@dataclass
class IngestResult:
    """The counts of alerts in one webhook, and the IDs of their incidents."""

    new: int = 0
    duplicates: int = 0
    resolved: int = 0
    incident_ids: dict[str, None] = field(default_factory=dict)  # in order, each once

    @property
    def incidents(self) -> list[str]:
        return list(self.incident_ids)

    def add_change(self, change: IncidentChange) -> None:
        self.new += change.new
        self.duplicates += change.duplicates
        self.resolved += change.resolved
        if change.incident is not None:
            self.incident_ids[change.incident.id] = None


class _RoutedGroup(Struct, frozen=True):
    """The alerts of one group on one route, and what is known of their owners.

    *owners* is None before it was read from the store; *loaded* holds the incidents by group ID that need not
    be read again; *claims* are to be made with the next read.
    """

    group_id: str
    group: Group
    route_settings: RouteSettings
    owners: Mapping[str, AlertOwner] | None = None
    loaded: Mapping[str, VersionedIncident] = {}
    claims: tuple[OwnershipClaim, ...] = ()

    @property
    def group_family(self) -> str:
        return group_family_of(self.group.source, self.route_settings.route)

    @property
    def group_ids(self) -> list[str]:
        """The IDs of the groups that must be loaded before the alerts can be merged."""
        if not self.owners:
            return [self.group_id]
        return list(dict.fromkeys((self.group_id, *(owner.group_id for owner in self.owners.values()))))


@dataclass
class _Pass:
    """One pass over the pending groups: the updates to write, and the groups left for the next pass."""

    remaining: list[_RoutedGroup]
    updates: list[tuple[_RoutedGroup, IncidentUpdate]] = field(default_factory=list)
    rewordings: list[tuple[_RoutedGroup, IncidentUpdate]] = field(default_factory=list)
    is_blocked: bool = False  # by a claim of another process


class IncidentIngester:
    """Ingests groups of alerts into incidents. *pause* sleeps for a number of seconds."""

    def __init__(
        self,
        incidents: RedisIncidents,
        routing: RoutingTable,
        former_routes: FormerRoutes,
        extract_heartbeats: ExtractHeartbeats,
        pause: Callable[[float], None],
    ) -> None:
        self._incidents = incidents
        self._routing = routing
        self._route_settings = build_route_settings(routing)
        self._former_routes = former_routes
        self._extract_heartbeats = extract_heartbeats
        self._pause = pause
        self._matched = tuple({matcher.name for route in routing.routes for matcher in route.matchers})

    def ingest(self, groups: tuple[Group, ...], now: float) -> IngestResult:
        """Ingest *groups* and return the counts; everything is stored when this returns.

        Round trips: one for duplicates, two for a change, and one more for heartbeat alerts. Newer labels or
        annotations of a duplicate count as a change, at most once a minute per group, and take three for a
        group with many alerts. A duplicate of an alert in a sibling group takes two, a change there three. If
        the store is divided, several new alerts of one group take three, as does a resolve. Raises
        StoreError.
        """
        result = IngestResult()
        groups, result.duplicates = self._extract_heartbeats(groups, now)
        routed_groups = self._route_groups(groups, now)
        for first in range(0, len(routed_groups), _GROUPS_AT_ONCE):
            self._ingest_all(routed_groups[first : first + _GROUPS_AT_ONCE], result, now)
        return result

    def ingest_group(self, group: Group, route_settings: RouteSettings, now: float) -> IngestResult:
        """Ingest a group that the receiver itself created, with the given settings. Raises StoreError."""
        return self._ingest_all([self._build_routed_group(group, route_settings)], IngestResult(), now)

    def _build_routed_group(self, group: Group, route_settings: RouteSettings) -> _RoutedGroup:
        """Return *group* with nothing known of its owners: on arrival, or again after a concurrent change."""
        routed_group = _RoutedGroup(
            group_id_of(group.source, group.group_key, route_settings.route), group, route_settings
        )
        if not self._incidents.is_divided:
            return routed_group
        return replace(
            routed_group,
            owners={},
            claims=build_first_claims(routed_group.group_family, routed_group.group_id, group.alerts),
        )

    def _build_afresh(self, routed_group: _RoutedGroup) -> _RoutedGroup:
        return self._build_routed_group(routed_group.group, routed_group.route_settings)

    def _ingest_all(self, pending: list[_RoutedGroup], result: IngestResult, now: float) -> IngestResult:
        waits, passes = iter(_WAITS_S), 0
        while pending:
            current = self._run_pass(pending, result, now)
            pending, passes = current.remaining, passes + 1
            if current.is_blocked:
                passes = 0
                if (wait_s := next(waits, None)) is None:
                    raise StoreError("an alert stays claimed by another process")
                self._pause(wait_s)
            elif pending and passes == MAX_PASSES:
                raise StoreError("a group kept being changed by other processes")
        return result

    def _run_pass(self, routed_groups: list[_RoutedGroup], result: IngestResult, now: float) -> _Pass:
        """Process one routed group for each group ID, with one read and one write."""
        by_group_id: dict[str, _RoutedGroup] = {}
        current = _Pass([a for a in routed_groups if by_group_id.setdefault(a.group_id, a) is not a])
        for routed_group in self._load_groups(list(by_group_id.values())):
            self._merge_group(routed_group, current, result, now)
        if current.updates:
            self._commit_updates(current, result)
        if current.rewordings:
            self._save_reworded(current, result)
        return current

    def _load_groups(self, routed_groups: list[_RoutedGroup]) -> list[_RoutedGroup]:
        """Return *routed_groups* with their incidents loaded and the results of their claims."""
        missing = (one for a in routed_groups for one in a.group_ids if one not in a.loaded)
        group_ids = list(dict.fromkeys(missing))
        claims = list(chain.from_iterable(a.claims for a in routed_groups))
        if claims or self._incidents.is_divided:
            reading = self._incidents.find_owners(group_ids, claims)
            return [_with_reading(routed_group, reading) for routed_group in routed_groups]
        loaded = self._incidents.load_latest(group_ids) if group_ids else []
        read = {one.group_id: one for one in loaded}
        return [replace(a, loaded=_select_loaded(a, read)) for a in routed_groups]

    def _merge_group(
        self, routed_group: _RoutedGroup, current: _Pass, result: IngestResult, now: float
    ) -> None:
        """Merge the alerts of *routed_group* into the incidents that own them.

        An alert that fires in a sibling group is a duplicate there, and its resolve applies there too, under
        whatever group key it comes.
        """
        if routed_group.owners is None:
            self._merge_part(routed_group, routed_group.group_id, current, result, now)
            return
        alerts, is_divided = routed_group.group.alerts, self._incidents.is_divided
        assignment = assign_owners(
            alerts,
            routed_group.group_id,
            routed_group.owners,
            routed_group.loaded,
            now=now,
            flap_window=routed_group.route_settings.flap_window,
            is_divided=is_divided,
        )
        leader = find_leader(alerts) if assignment.pending else ""
        if any(alert.fingerprint == leader for alert in assignment.pending):
            current.is_blocked = True
            current.remaining.append(self._build_afresh(routed_group))
        elif assignment.unread_groups or assignment.claims:
            claims = build_next_claims(routed_group.group_family, alerts, assignment)
            current.remaining.append(replace(routed_group, claims=claims))
        else:
            for group_id, part in assignment.by_group_id.items():
                self._merge_part(_with_alerts(routed_group, part), group_id, current, result, now)
            if assignment.pending:
                current.is_blocked = True
                group = replace(routed_group.group, alerts=tuple(assignment.pending))
                current.remaining.append(self._build_routed_group(group, routed_group.route_settings))

    def _merge_part(
        self, routed_group: _RoutedGroup, group_id: str, current: _Pass, result: IngestResult, now: float
    ) -> None:
        """Merge alerts into the incident of the group that owns them."""
        loaded = routed_group.loaded[group_id]
        change = merge(loaded.incident, routed_group.group, routed_group.route_settings, now)
        if routed_group.owners is None and find_unmatched_resolves(loaded.incident, routed_group.group):
            # A resolve of an alert that does not fire in this group: ask the store for its owner.
            family, alerts = routed_group.group_family, routed_group.group.alerts
            claims = tuple(OwnershipClaim(family, alert.fingerprint) for alert in alerts)
            current.remaining.append(replace(routed_group, claims=claims))
        elif change.is_reworded:
            current.rewordings.append((routed_group, IncidentUpdate(loaded, change, (), now)))
        elif not change.is_changed or change.incident is None:
            result.add_change(change)
        else:
            update = IncidentUpdate(
                loaded,
                change,
                () if change.is_renewed else queues_for(change.incident),
                now,
                is_incoming=True,
                former_owners=_find_former_owners(routed_group, group_id),
            )
            current.updates.append((routed_group, update))

    def _commit_updates(self, current: _Pass, result: IngestResult) -> None:
        """Commit the updates; a refused one is retried in the next pass with the owners of the refusal."""
        refusals = self._incidents.try_commit([update for _, update in current.updates])
        for (routed_group, update), refusal in zip(current.updates, refusals, strict=True):
            if refusal is None:
                result.add_change(update.change)
            else:
                current.remaining.append(self._build_retry(routed_group, update, refusal))

    def _build_retry(
        self, routed_group: _RoutedGroup, update: IncidentUpdate, refusal: UpdateRefusal
    ) -> _RoutedGroup:
        """Return the refused group for the next pass: with the owners of the refusal, or to be read again."""
        if not refusal.owners:
            return self._build_afresh(routed_group)
        owners = {**(routed_group.owners or {}), **refusal.owners}
        return replace(
            routed_group, owners=owners, loaded={**refusal.loaded, update.loaded.group_id: update.loaded}
        )

    def _save_reworded(self, current: _Pass, result: IngestResult) -> None:
        """Save newer labels and annotations of duplicates; if the group was changed, merge again."""
        kept = self._incidents.save_reworded([update for _, update in current.rewordings])
        for (routed_group, update), is_saved in zip(current.rewordings, kept, strict=True):
            if is_saved:
                result.add_change(update.change)
            else:
                current.remaining.append(self._build_afresh(routed_group))

    def _route_groups(self, groups: tuple[Group, ...], now: float) -> list[_RoutedGroup]:
        routed_groups = []
        for group in groups:
            routed_alerts: list[RoutedAlerts] = [
                (self._route_settings[name], alerts)
                for name, alerts in self._sort_by_route(group.alerts).items()
            ]
            routed_alerts = self._former_routes.assign_routes(group.source, routed_alerts, now)
            for route_settings, alerts in routed_alerts:
                part = group if len(routed_alerts) == 1 else replace(group, alerts=tuple(alerts))
                routed_groups.append(self._build_routed_group(part, route_settings))
        return routed_groups

    def _sort_by_route(self, alerts: tuple[Alert, ...]) -> dict[str, list[Alert]]:
        """Return *alerts* by route name.

        Only labels that matchers name decide, and most alerts of a group agree in those: each combination of
        values is matched once.
        """
        by_route: dict[str, list[Alert]] = {}
        alike: dict[tuple[str | None, ...], list[Alert]] = {}
        for alert in alerts:
            labels = alert.labels
            values = tuple(map(labels.get, self._matched))
            if values not in alike:
                alike[values] = by_route.setdefault(self._routing.find_route(labels).name, [])
            alike[values].append(alert)
        return by_route


def _with_alerts(routed_group: _RoutedGroup, alerts: Sequence[Alert]) -> _RoutedGroup:
    if len(alerts) == len(routed_group.group.alerts):
        return routed_group
    return replace(routed_group, group=replace(routed_group.group, alerts=tuple(alerts)))


def _find_former_owners(routed_group: _RoutedGroup, group_id: str) -> dict[str, VersionedIncident]:
    """Return by fingerprint the incidents of former owners, for the alerts that *group_id* takes over."""
    owners, former_owners = routed_group.owners or {}, {}
    for alert in routed_group.group.alerts if owners else ():
        owner = owners.get(alert.fingerprint)
        if owner is not None and owner.group_id != group_id and owner.group_id in routed_group.loaded:
            former_owners[alert.fingerprint] = routed_group.loaded[owner.group_id]
    return former_owners


def _select_loaded(
    routed_group: _RoutedGroup, read: Mapping[str, VersionedIncident]
) -> dict[str, VersionedIncident]:
    """Return the incidents of its groups by group ID, from *read* or from an earlier read."""
    found = ((one, read.get(one) or routed_group.loaded.get(one)) for one in routed_group.group_ids)
    return {group_id: loaded for group_id, loaded in found if loaded is not None}


def _with_reading(routed_group: _RoutedGroup, reading: OwnerReading) -> _RoutedGroup:
    """Return *routed_group* with the owners of *reading*; raises its fault if an owner may be missing."""
    group_family, owners = routed_group.group_family, dict(routed_group.owners or {})
    for alert in routed_group.group.alerts:
        owner = reading.owners.get((group_family, alert.fingerprint))
        if owner is not None:
            owners[alert.fingerprint] = owner
    routed_group = replace(routed_group, owners=owners, claims=())
    routed_group = replace(routed_group, loaded=_select_loaded(routed_group, reading.loaded))
    if reading.fault is not None and _is_owner_uncertain(routed_group):
        raise reading.fault
    return routed_group


def _is_owner_uncertain(routed_group: _RoutedGroup) -> bool:
    """Return whether an unread owner matters: not for an alert that fires in the group itself."""
    incident, owners = routed_group.loaded[routed_group.group_id].incident, routed_group.owners or {}
    names = (alert.fingerprint for alert in routed_group.group.alerts)
    return any(name not in owners and not is_firing_in(incident, name) for name in names)

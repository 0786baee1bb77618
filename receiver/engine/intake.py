"""Taking what came in: route it, merge it, and have it on the agenda before anybody is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from receiver.domain.alert import Alert, Group
from receiver.domain.homes import find_strangers, neighbourhood_of, split
from receiver.domain.incident import Change, Incident, slot_of
from receiver.domain.merge import Terms, merge
from receiver.domain.policy import ALERTMANAGER, PAGERDUTY, SLACK
from receiver.domain.ports import Held, Incidents, Rules, Write
from receiver.domain.route import Route
from receiver.errors import StoreError

# Each round means that another process changed the same group in the same millisecond.
ROUNDS = 25


@dataclass
class Accepted:
    """What became of the alerts of one webhook, and the incidents they belong to."""

    new: int = 0
    duplicates: int = 0
    resolved: int = 0
    incidents: list[str] = field(default_factory=list)

    def add(self, change: Change) -> None:
        self.new += change.new
        self.duplicates += change.duplicates
        self.resolved += change.resolved
        if change.incident is not None and change.incident.id not in self.incidents:
            self.incidents.append(change.incident.id)


class TakesBeats(Protocol):
    """Takes the beats out of what comes in, and says how many they were."""

    def take(self, groups: tuple[Group, ...], now: float) -> tuple[tuple[Group, ...], int]: ...


class _Arrival(Struct, frozen=True):
    """The alerts of one group that are on one route.

    *homes* are the slots in which the store said that alerts of it may be at home; None before it was
    asked.
    """

    slot: str
    group: Group
    terms: Terms
    homes: Mapping[str, tuple[str, ...]] | None = None

    @property
    def neighbourhood(self) -> str:
        return neighbourhood_of(self.group.source, self.group.receiver, self.terms.route)


@dataclass
class _Round:
    """One go at everything that is left: what was read, what is to be written, and what is left after."""

    held: Mapping[str, Held]
    left: list[_Arrival]
    writes: list[tuple[_Arrival, Write]] = field(default_factory=list)
    strange: list[_Arrival] = field(default_factory=list)  # the store must be asked where they are at home


def lanes_of(incident: Incident, *, has_witness: bool = False) -> tuple[str, ...]:
    """Return the lanes that may have something to do for the incident.

    Nobody is paged without a policy, and Alertmanager is told nothing without a silence; it is
    asked, for a step's sake, only when that is near, which is for the one who plans to say.
    """
    lanes = (SLACK, PAGERDUTY) if incident.policy else (SLACK,)
    return (*lanes, ALERTMANAGER) if incident.silences or (incident.policy and has_witness) else lanes


class Intake:
    """Takes groups of alerts into incidents."""

    def __init__(self, incidents: Incidents, rules: Rules, pulse: TakesBeats | None = None) -> None:
        self._incidents = incidents
        self._pulse = pulse
        self._rules = rules
        self._terms = {route.name: _terms(rules, route) for route in rules.routes}
        self._matched = tuple({matcher.name for route in rules.routes for matcher in route.matchers})

    def accept(self, groups: tuple[Group, ...], now: float) -> Accepted:
        """Return what became of *groups*; when this returns, everything is in the store.

        One round trip when nothing is new, two when something is, and one for beats; a few more for alerts
        that fire in a neighbour. Raises StoreError.
        """
        accepted = Accepted()
        if self._pulse is not None:
            groups, accepted.duplicates = self._pulse.take(groups, now)
        return self._take_all(self._arrivals(groups), accepted, now)

    def accept_as(self, group: Group, terms: Terms, now: float) -> Accepted:
        """Take a group of our own, which *terms* say all about. Raises StoreError."""
        slot = slot_of(group.source, group.receiver, group.group_key, terms.route)
        return self._take_all([_Arrival(slot, group, terms)], Accepted(), now)

    def _take_all(self, pending: list[_Arrival], accepted: Accepted, now: float) -> Accepted:
        for _ in range(ROUNDS):
            if not pending:
                return accepted
            pending = self._take(pending, accepted, now)
        raise StoreError("a group kept changing under our hands")

    def _take(self, arrivals: list[_Arrival], accepted: Accepted, now: float) -> list[_Arrival]:
        """Take one arrival for each slot; return those that are left."""
        by_slot: dict[str, _Arrival] = {}
        left = [a for a in arrivals if by_slot.setdefault(a.slot, a) is not a]
        slots = dict.fromkeys(by_slot)
        for arrival in by_slot.values():
            slots |= dict.fromkeys(chain.from_iterable((arrival.homes or {}).values()))
        this = _Round({held.slot: held for held in self._incidents.read(list(slots))}, left)
        for arrival in by_slot.values():
            self._merge(arrival, this, accepted, now)
        if this.writes:
            self._commit(this, accepted)
        return [*this.left, *self._find_homes(this.strange)]

    def _merge(self, arrival: _Arrival, this: _Round, accepted: Accepted, now: float) -> None:
        """Merge what *arrival* says into the incidents that its alerts belong to.

        An alert that fires in a neighbour is a copy there, and its end is that one's, whichever group
        key it comes under.
        """
        homes = arrival.homes or {}
        for home, alerts in split(arrival.group.alerts, arrival.slot, homes, this.held).items():
            part = arrival.group
            if len(alerts) < len(part.alerts):
                part = replace(part, alerts=tuple(alerts))
            held = this.held[home]
            change = merge(held.incident, part, arrival.terms, now)
            mine = replace(arrival, group=part)
            if arrival.homes is None and self._may_be_strange(held, part, change):
                this.strange.append(mine)
            elif not change.is_changed or change.incident is None:
                accepted.add(change)
            else:
                this.writes.append(
                    (mine, Write(held, change, lanes_of(change.incident), now, is_news=True, left=homes))
                )

    def _may_be_strange(self, held: Held, part: Group, change: Change) -> bool:
        """Tell whether alerts may belong to a neighbour without `commit` being able to see that."""
        return bool(find_strangers(held.incident, part)) or (self._incidents.is_divided and change.new > 0)

    def _commit(self, this: _Round, accepted: Accepted) -> None:
        """Write what is to be written; what is refused goes once more, by where it is at home then."""
        refused: dict[str, list[_Arrival]] = {}
        kept = self._incidents.commit([write for _, write in this.writes])
        for (arrival, write), is_kept in zip(this.writes, kept, strict=True):
            if is_kept:
                accepted.add(write.change)
            else:
                refused.setdefault(arrival.slot, []).append(arrival)
        for first, *others in refused.values():
            alerts = chain(first.group.alerts, *(other.group.alerts for other in others))
            this.strange.append(replace(first, group=replace(first.group, alerts=tuple(alerts))))

    def _find_homes(self, arrivals: list[_Arrival]) -> list[_Arrival]:
        """Return *arrivals* with where their alerts may be at home; in their own slot is no news."""
        if not arrivals:
            return []
        asked: dict[str, list[str]] = {}
        for arrival in arrivals:
            names = [alert.fingerprint for alert in arrival.group.alerts]
            asked.setdefault(arrival.neighbourhood, []).extend(names)
        found = self._incidents.find_homes(asked)
        return [replace(arrival, homes=_homes_of(arrival, found)) for arrival in arrivals]

    def _arrivals(self, groups: tuple[Group, ...]) -> list[_Arrival]:
        arrivals = []
        for group in groups:
            by_route = self._by_route(group.alerts)
            for name, alerts in by_route.items():
                part = group if len(by_route) == 1 else replace(group, alerts=tuple(alerts))
                slot = slot_of(group.source, group.receiver, group.group_key, name)
                arrivals.append(_Arrival(slot, part, self._terms[name]))
        return arrivals

    def _by_route(self, alerts: tuple[Alert, ...]) -> dict[str, list[Alert]]:
        """Return *alerts* by the name of their route.

        Only the labels that matchers name decide, and most alerts of a group agree in those: each
        combination is matched once.
        """
        by_route: dict[str, list[Alert]] = {}
        alike: dict[tuple[str | None, ...], list[Alert]] = {}
        for alert in alerts:
            labels = alert.labels
            values = tuple([labels.get(name) for name in self._matched])
            if values not in alike:
                alike[values] = by_route.setdefault(self._rules.find_route(labels).name, [])
            alike[values].append(alert)
        return by_route


def _homes_of(arrival: _Arrival, found: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    homes: dict[str, tuple[str, ...]] = {}
    for alert in arrival.group.alerts:
        slots = found.get(f"{arrival.neighbourhood} {alert.fingerprint}", ())
        if others := tuple(slot for slot in slots if slot != arrival.slot):
            homes[alert.fingerprint] = others
    return homes


def _terms(rules: Rules, route: Route) -> Terms:
    return Terms(
        route=route.name,
        channel=route.channel,
        policy=route.escalation,
        steps=tuple(step.name for step in rules.get_policy(route.escalation).steps),
        flap_window=rules.flap_window,
        flap_count=rules.flap_count,
    )

"""Taking what came in: route it, merge it, and have it on the agenda before anybody is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from receiver.domain.alert import Alert, Group
from receiver.domain.incident import Change, Incident, slot_of
from receiver.domain.merge import Terms, merge
from receiver.domain.policy import ALERTMANAGER, PAGERDUTY, SLACK
from receiver.domain.ports import Incidents, Rules, Write
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
    """The alerts of one group that are on one route."""

    slot: str
    group: Group
    terms: Terms


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

        One round trip when nothing is new, two when something is, and one for beats. Raises StoreError.
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
        held = self._incidents.read(list(by_slot))
        writes = []
        for one in held:
            arrival = by_slot[one.slot]
            change = merge(one.incident, arrival.group, arrival.terms, now)
            if not change.is_changed or change.incident is None:
                accepted.add(change)
                continue
            writes.append(Write(one, change, lanes_of(change.incident), now, is_news=True))
        if writes:
            for write, is_kept in zip(writes, self._incidents.commit(writes), strict=True):
                if is_kept:
                    accepted.add(write.change)
                else:
                    left.append(by_slot[write.held.slot])
        return left

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


def _terms(rules: Rules, route: Route) -> Terms:
    return Terms(
        route=route.name,
        channel=route.channel,
        policy=route.escalation,
        steps=tuple(step.name for step in rules.get_policy(route.escalation).steps),
        flap_window=rules.flap_window,
        flap_count=rules.flap_count,
    )

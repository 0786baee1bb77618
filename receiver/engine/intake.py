"""Taking what came in: route it, merge it, and have it on the agenda before anybody is answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from receiver.domain.alert import Alert, Group
from receiver.domain.homes import (
    Surroundings,
    find_leader,
    find_strangers,
    fires_in,
    first_claims,
    neighbourhood_of,
    next_claims,
    place,
)
from receiver.domain.incident import Change, Incident, slot_of
from receiver.domain.merge import Terms, merge
from receiver.domain.policy import ALERTMANAGER, PAGERDUTY, SLACK
from receiver.domain.ports import Claim, Held, Home, Incidents, Reading, Refusal, Rules, Write
from receiver.domain.route import Route
from receiver.engine.former_routes import FormerRoutes, OpenIncidents
from receiver.errors import StoreError

# Each round means that another process changed the same group in the same millisecond.
ROUNDS = 25
# How long to wait, again and again, for a claim of another process to become an incident: in all somewhat
# more than the 3 s after which a claim is free, and less than the 5 s of a webhook.
_WAITS_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, *(0.5,) * 5)


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
    """The alerts of one group that are on one route, and what is known of where they belong.

    *homes* is None before the store said anything of that; *held* is what slots hold, where they need not be
    read again; *claims* are to be made with the next reading.
    """

    slot: str
    group: Group
    terms: Terms
    homes: Mapping[str, Home] | None = None
    held: Mapping[str, Held] = {}
    claims: tuple[Claim, ...] = ()

    @property
    def neighbourhood(self) -> str:
        return neighbourhood_of(self.group.source, self.terms.route)

    @property
    def slots(self) -> list[str]:
        """The slots that have to be known before its alerts can be merged."""
        if not self.homes:
            return [self.slot]
        return list(dict.fromkeys((self.slot, *(home.slot for home in self.homes.values()))))


@dataclass
class _Round:
    """One go at everything that is left: what is to be written, and what is left after."""

    left: list[_Arrival]
    writes: list[tuple[_Arrival, Write]] = field(default_factory=list)
    rewords: list[tuple[_Arrival, Write]] = field(default_factory=list)
    is_waiting: bool = False  # for a claim of another process


def lanes_of(incident: Incident, *, has_witness: bool = False) -> tuple[str, ...]:
    """Return the lanes that may have something to do for the incident.

    Nobody is paged without a policy, and Alertmanager is told nothing without a silence; it is
    asked, for a step's sake, only when that is near, which is for the one who plans to say.
    """
    lanes = (SLACK, PAGERDUTY) if incident.policy else (SLACK,)
    return (*lanes, ALERTMANAGER) if incident.silences or (incident.policy and has_witness) else lanes


class Intake:
    """Takes groups of alerts into incidents; *pause* lets so many seconds pass. With *open_incidents* what
    fires stays where it is when its route was changed.
    """

    def __init__(
        self,
        incidents: Incidents,
        rules: Rules,
        pulse: TakesBeats | None = None,
        pause: Callable[[float], None] = time.sleep,
        open_incidents: OpenIncidents | None = None,
    ) -> None:
        self._incidents = incidents
        self._pause = pause
        self._pulse = pulse
        self._rules = rules
        self._terms = {route.name: _terms(rules, route) for route in rules.routes}
        self._former = (
            FormerRoutes(open_incidents, self._terms, pause) if open_incidents is not None else None
        )
        self._matched = tuple({matcher.name for route in rules.routes for matcher in route.matchers})

    def accept(self, groups: tuple[Group, ...], now: float) -> Accepted:
        """Return what became of *groups*; when this returns, everything is in the store.

        One round trip when nothing is new, two when something is, and one for beats; newer words of repeats
        count as something new, at most once a minute for each group, and cost a third where a group has many
        alerts. For a copy of what fires in a neighbour two, and three for a change there. Where the store is
        divided, several new alerts of one group take three, and so does an end. Raises StoreError.
        """
        accepted = Accepted()
        if self._pulse is not None:
            groups, accepted.duplicates = self._pulse.take(groups, now)
        return self._take_all(self._arrivals(groups, now), accepted, now)

    def accept_as(self, group: Group, terms: Terms, now: float) -> Accepted:
        """Take a group of our own, which *terms* say all about. Raises StoreError."""
        return self._take_all([self._arrive(group, terms)], Accepted(), now)

    def _arrive(self, group: Group, terms: Terms) -> _Arrival:
        """Return what has just come, or comes again after others changed what was known of it."""
        arrival = _Arrival(slot_of(group.source, group.group_key, terms.route), group, terms)
        if not self._incidents.is_divided:
            return arrival
        return replace(
            arrival, homes={}, claims=first_claims(arrival.neighbourhood, arrival.slot, group.alerts)
        )

    def _take_all(self, pending: list[_Arrival], accepted: Accepted, now: float) -> Accepted:
        waits, rounds = iter(_WAITS_S), 0
        while pending:
            this = self._take(pending, accepted, now)
            pending, rounds = this.left, rounds + 1
            if this.is_waiting:
                rounds = 0
                if (wait_s := next(waits, None)) is None:
                    raise StoreError("an alert stays claimed by another process")
                self._pause(wait_s)
            elif pending and rounds == ROUNDS:
                raise StoreError("a group kept changing under our hands")
        return accepted

    def _take(self, arrivals: list[_Arrival], accepted: Accepted, now: float) -> _Round:
        """Take one arrival for each slot, as far as that goes in one reading and one writing."""
        by_slot: dict[str, _Arrival] = {}
        this = _Round([a for a in arrivals if by_slot.setdefault(a.slot, a) is not a])
        for arrival in self._read(list(by_slot.values())):
            self._merge(arrival, this, accepted, now)
        if this.writes:
            self._commit(this, accepted)
        if this.rewords:
            self._reword(this, accepted)
        return this

    def _read(self, arrivals: list[_Arrival]) -> list[_Arrival]:
        """Return *arrivals* with what their slots hold, and with what came of their claims."""
        slots = list(dict.fromkeys(slot for a in arrivals for slot in a.slots if slot not in a.held))
        claims = list(chain.from_iterable(a.claims for a in arrivals))
        if claims or self._incidents.is_divided:
            reading = self._incidents.find_homes(slots, claims)
            return [_learn(arrival, reading) for arrival in arrivals]
        read = {held.slot: held for held in self._incidents.read(slots)} if slots else {}
        return [replace(a, held=_hold(a, read)) for a in arrivals]

    def _merge(self, arrival: _Arrival, this: _Round, accepted: Accepted, now: float) -> None:
        """Merge what *arrival* says into the incidents that its alerts belong to.

        An alert that fires in a neighbour is a copy there, and its end is that one's, by whichever way it
        comes.
        """
        if arrival.homes is None:
            self._merge_part(arrival, arrival.slot, this, accepted, now)
            return
        alerts, is_divided = arrival.group.alerts, self._incidents.is_divided
        around = Surroundings(arrival.slot, arrival.homes, arrival.held, now, arrival.terms.flap_window)
        placement = place(alerts, around, is_divided=is_divided)
        leader = find_leader(alerts) if placement.pending else ""
        if any(alert.fingerprint == leader for alert in placement.pending):
            this.is_waiting = True
            this.left.append(self._arrive(arrival.group, arrival.terms))
        elif placement.unread or placement.claims:
            claims = next_claims(arrival.neighbourhood, alerts, placement)
            this.left.append(replace(arrival, claims=claims))
        else:
            for slot, part in placement.parts.items():
                self._merge_part(_with(arrival, part), slot, this, accepted, now)
            if placement.pending:
                this.is_waiting = True
                group = replace(arrival.group, alerts=tuple(placement.pending))
                this.left.append(self._arrive(group, arrival.terms))

    def _merge_part(self, arrival: _Arrival, slot: str, this: _Round, accepted: Accepted, now: float) -> None:
        """Merge alerts into the incident of the slot they belong to."""
        held = arrival.held[slot]
        change = merge(held.incident, arrival.group, arrival.terms, now)
        if arrival.homes is None and find_strangers(held.incident, arrival.group):
            # The end of a firing that this slot does not know: the store may know where that is.
            neighbourhood = arrival.neighbourhood
            claims = tuple(Claim(neighbourhood, alert.fingerprint) for alert in arrival.group.alerts)
            this.left.append(replace(arrival, claims=claims))
        elif change.is_reworded:
            this.rewords.append((arrival, Write(held, change, (), now)))
        elif not change.is_changed or change.incident is None:
            accepted.add(change)
        else:
            lanes, left = lanes_of(change.incident), _find_left(arrival, slot)
            this.writes.append((arrival, Write(held, change, lanes, now, is_news=True, left=left)))

    def _commit(self, this: _Round, accepted: Accepted) -> None:
        """Write what is to be written; what is refused goes once more, by what is known then."""
        refusals = self._incidents.try_commit([write for _, write in this.writes])
        for (arrival, write), refusal in zip(this.writes, refusals, strict=True):
            if refusal is None:
                accepted.add(write.change)
            else:
                this.left.append(self._go_on(arrival, write, refusal))

    def _go_on(self, arrival: _Arrival, write: Write, refusal: Refusal) -> _Arrival:
        """Return what was refused as it goes on: it has homes elsewhere, or is read and asked for anew."""
        if not refusal.homes:
            return self._arrive(arrival.group, arrival.terms)
        homes = {**(arrival.homes or {}), **refusal.homes}
        return replace(arrival, homes=homes, held={**refusal.held, write.held.slot: write.held})

    def _reword(self, this: _Round, accepted: Accepted) -> None:
        """Keep newer words of repeats; where the group changed meanwhile, what came is merged once more."""
        kept = self._incidents.reword([write for _, write in this.rewords])
        for (arrival, write), is_kept in zip(this.rewords, kept, strict=True):
            if is_kept:
                accepted.add(write.change)
            else:
                this.left.append(self._arrive(arrival.group, arrival.terms))

    def _arrivals(self, groups: tuple[Group, ...], now: float) -> list[_Arrival]:
        arrivals = []
        for group in groups:
            parts = [(self._terms[name], alerts) for name, alerts in self._by_route(group.alerts).items()]
            if self._former is not None:
                parts = self._former.place(group.source, parts, now)
            for terms, alerts in parts:
                part = group if len(parts) == 1 else replace(group, alerts=tuple(alerts))
                arrivals.append(self._arrive(part, terms))
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
            values = tuple(map(labels.get, self._matched))
            if values not in alike:
                alike[values] = by_route.setdefault(self._rules.find_route(labels).name, [])
            alike[values].append(alert)
        return by_route


def _with(arrival: _Arrival, alerts: Sequence[Alert]) -> _Arrival:
    if len(alerts) == len(arrival.group.alerts):
        return arrival
    return replace(arrival, group=replace(arrival.group, alerts=tuple(alerts)))


def _find_left(arrival: _Arrival, slot: str) -> dict[str, Held]:
    """Return by fingerprint what the homes hold that are not *slot*, to which the alerts go now."""
    homes, left = arrival.homes or {}, {}
    for alert in arrival.group.alerts if homes else ():
        home = homes.get(alert.fingerprint)
        if home is not None and home.slot != slot and home.slot in arrival.held:
            left[alert.fingerprint] = arrival.held[home.slot]
    return left


def _hold(arrival: _Arrival, read: Mapping[str, Held]) -> dict[str, Held]:
    """Return what its slots hold, as far as it was read, now or before."""
    found = ((slot, read.get(slot) or arrival.held.get(slot)) for slot in arrival.slots)
    return {slot: held for slot, held in found if held is not None}


def _learn(arrival: _Arrival, reading: Reading) -> _Arrival:
    """Return *arrival* with the homes that *reading* told; raises its fault where that may matter."""
    neighbourhood, homes = arrival.neighbourhood, dict(arrival.homes or {})
    for alert in arrival.group.alerts:
        home = reading.homes.get((neighbourhood, alert.fingerprint))
        if home is not None:
            homes[alert.fingerprint] = home
    arrival = replace(arrival, homes=homes, claims=())
    arrival = replace(arrival, held=_hold(arrival, reading.held))
    if reading.fault is not None and _is_unsure(arrival):
        raise reading.fault
    return arrival


def _is_unsure(arrival: _Arrival) -> bool:
    """Tell whether it matters that some homes could not be read: not for what fires in its own slot."""
    incident, homes = arrival.held[arrival.slot].incident, arrival.homes or {}
    names = (alert.fingerprint for alert in arrival.group.alerts)
    return any(name not in homes and not fires_in(incident, name) for name in names)


def _terms(rules: Rules, route: Route) -> Terms:
    return Terms(
        route=route.name,
        channel=route.channel,
        policy=route.escalation,
        steps=tuple(step.name for step in rules.get_policy(route.escalation).steps),
        flap_window=rules.flap_window,
        flap_count=rules.flap_count,
        severities=rules.severities,
    )

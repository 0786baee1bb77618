"""Incidents: our lasting record of a group on a route, and everything that may change one.

Each function takes how it stood and gives how it stands now; none of them does anything.
Storing the change and acting on it are others' work, so each may be computed twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct, json
from msgspec.structs import replace

from receiver.domain.alert import Alert, Group, Severity
from receiver.domain.delivery import Delivery
from receiver.text import one_line

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: IDs are read aloud at night
MAX_SUMMARY = 300


class Standing(Struct, frozen=True, array_like=True):
    """How one alert of an incident stands; its labels are kept apart, they are seldom needed.

    *join* counts the occasions on which alerts joined (0: with the first); *is_dismissed* is
    for an alert that fires on in an incident closed by hand: its copies stay duplicates.
    """

    starts_at: float
    ends_at: float
    severity: Severity
    join: int = 0
    is_dismissed: bool = False
    ended_before_at: float = 0.0  # the end of the firing before this one

    @property
    def is_firing(self) -> bool:
        return self.ends_at == 0.0


class Run(Struct, frozen=True, array_like=True):
    """One run of the escalation: it starts when the incident opens, reopens or is un-acknowledged.

    *since* is the number of the run that the last opening or reopening started.
    """

    number: int
    started_at: float
    cause: str = "opened"  # or reopened, unacknowledged
    since: int = 1
    is_quiet: bool = False  # flapping: the first step is not told anew


class Incident(Struct, frozen=True, omit_defaults=True):
    """One Alertmanager group on one route, from first firing to resolved.

    *alerts*, *deliveries* and *is_past* are stored apart from the rest and filled in on loading.
    """

    id: str
    source: str
    receiver: str
    group_key: str
    group_labels: dict[str, str]
    route: str
    channel: str
    policy: str
    steps: tuple[str, ...]  # the policy's steps when it opened
    severity: Severity
    alertname: str
    summary: str
    opened_at: float
    updated_at: float
    run: Run
    standings: dict[str, Standing]
    external_url: str = ""
    revision: int = 0  # grows with every change that a reader can see
    joins: int = 0
    generation: int = 0  # how often it reopened
    reopened_at: float = 0.0
    turns: tuple[float, ...] = ()  # when it lately resolved or reopened, for flapping
    acknowledged_at: float = 0.0
    acknowledged_by: str = ""
    resolved_at: float = 0.0
    resolved_by: str = ""  # empty: its alerts resolved
    previous: str = ""  # the incident that held this group before
    is_past: bool = False  # another incident holds its group now
    alerts: dict[str, Alert] = {}
    deliveries: dict[str, Delivery] = {}

    @property
    def is_resolved(self) -> bool:
        return self.resolved_at > 0

    @property
    def is_acknowledged(self) -> bool:
        return self.acknowledged_at > 0

    @property
    def is_closed_by_hand(self) -> bool:
        return self.is_resolved and bool(self.resolved_by)

    @property
    def is_flapping(self) -> bool:
        return self.run.is_quiet

    @property
    def state(self) -> str:
        """`resolved`, `acknowledged` or `open`."""
        if self.is_resolved:
            return "resolved"
        return "acknowledged" if self.is_acknowledged else "open"

    @property
    def slot(self) -> str:
        """The group's place, shared by all incidents of this group on this route."""
        return self.id.partition("-")[0]

    @property
    def firing(self) -> int:
        """How many of its alerts fire; those dismissed in an earlier incident don't count."""
        return sum(s.is_firing and self._counts(s) for s in self.standings.values())

    @property
    def total(self) -> int:
        return sum(self._counts(s) for s in self.standings.values())

    def _counts(self, standing: Standing) -> bool:
        return not standing.is_dismissed or self.is_closed_by_hand


class Event(Struct, frozen=True, omit_defaults=True):
    """One line of an incident's timeline."""

    at: float
    what: str  # opened, joined, alert_resolved, resolved, reopened, acknowledged, …
    text: str
    by: str = ""


class Change(Struct, frozen=True):
    """What `merge` and its like say: how the incident stands now and what that means for storing.

    *is_new* asks for the slot's former incident to be put aside. When *is_changed* is false
    nothing has to be written.
    """

    incident: Incident | None
    is_new: bool = False
    is_changed: bool = False
    changed_alerts: tuple[Alert, ...] = ()
    events: tuple[Event, ...] = ()
    new: int = 0
    duplicates: int = 0
    resolved: int = 0


@dataclass(frozen=True)
class Terms:
    """What of the routing bears on a group's incident: its route, its policy, the flap settings."""

    route: str
    channel: str
    policy: str
    steps: tuple[str, ...] = ()
    flap_window: float = 600.0
    flap_count: int = 4


def slot_of(source: str, receiver: str, group_key: str, route: str) -> str:
    """Return the group's place on a route: 12 characters, a pure function of its identity."""
    digest = hashlib.sha256(json.encode([source, receiver, group_key, route])).digest()
    return _base32(int.from_bytes(digest[:8], "big") >> 4, 12)


def dedup_key(incident: Incident, responder: str) -> str:
    """Return the name under which PagerDuty knows this incident's page to *responder*.

    It depends on the group's identity alone, so that even after Redis lost everything the same
    alert lands on the PagerDuty incident that is already open.
    """
    identity = [incident.source, incident.receiver, incident.group_key, incident.route, responder]
    return "receiver-" + hashlib.sha256(json.encode(identity)).hexdigest()[:40]


def _base32(number: int, digits: int) -> str:
    return "".join(_ALPHABET[(number >> 5 * n) & 31] for n in range(digits - 1, -1, -1))


def _id(slot: str, opened_at: float, previous: Incident | None) -> str:
    stamp = int(opened_at * 1000)
    while previous is not None and previous.id == f"{slot}-{_base32(stamp, 9)}":
        stamp += 1
    return f"{slot}-{_base32(stamp, 9)}"


def worst(severities: Iterable[Severity]) -> Severity:
    return max(severities, key=lambda severity: severity.rank, default=Severity.NONE)


def merge(incident: Incident | None, group: Group, terms: Terms, now: float) -> Change:
    """Return how the slot's *incident* stands after *group*'s news.

    All alerts of *group* are on the route of *terms*. Merging the same twice changes nothing
    the second time.
    """
    if incident is None:
        tally = _tally({}, 0, group)
        if not tally.joined:
            return Change(None, duplicates=tally.duplicates)
        return _open(None, group, tally, terms, now)
    if not incident.is_resolved:
        return _merge_open(incident, group, terms, now)
    if incident.is_closed_by_hand:
        return _merge_closed(incident, group, terms, now)
    return _merge_resolved(incident, group, terms, now)


def _open(previous: Incident | None, group: Group, tally: _Tally, terms: Terms, now: float) -> Change:
    """Open a new incident for what *tally* says joined.

    What fires on from before is carried into it, dismissed, and so is what *group* tells of
    older firings: the next copy of it must find them.
    """
    alerts = tuple(tally.joined)
    begun = {alert.fingerprint for alert in alerts}
    told = {alert.fingerprint for alert in group.alerts}
    standings = {
        name: _anew(standing, is_dismissed=name not in begun)
        for name, standing in tally.standings.items()
        if standing.is_firing or name in told
    }
    severity = worst({tally.standings[name].severity for name in begun})
    gravest = next(a for a in alerts if tally.standings[a.fingerprint].severity is severity)
    opened = Incident(
        id=_id(slot_of(group.source, group.receiver, group.group_key, terms.route), now, previous),
        source=group.source,
        receiver=group.receiver,
        group_key=group.group_key,
        group_labels=group.group_labels,
        route=terms.route,
        channel=terms.channel,
        policy=terms.policy,
        steps=terms.steps,
        severity=severity,
        alertname=group.group_labels.get("alertname") or gravest.name,
        summary=one_line(gravest.summary, MAX_SUMMARY),
        opened_at=now,
        updated_at=now,
        run=Run(1, now),
        standings=standings,
        external_url=group.external_url,
        previous=previous.id if previous else "",
    )
    return Change(
        opened,
        is_new=True,
        is_changed=True,
        changed_alerts=alerts,
        events=(Event(now, "opened", _count(len(alerts), "alert") + f" on {terms.channel}"),),
        new=len(alerts),
        duplicates=tally.duplicates,
        resolved=len(tally.ended),
    )


def _anew(standing: Standing, *, is_dismissed: bool) -> Standing:
    """Return *standing* as it begins in a new incident."""
    if standing.join == 0 and standing.is_dismissed == is_dismissed:
        return standing
    return replace(standing, join=0, is_dismissed=is_dismissed)


@dataclass
class _Tally:
    """What one payload does to the alerts of an incident."""

    standings: dict[str, Standing]
    joined: list[Alert] = field(default_factory=list)
    ended: list[Alert] = field(default_factory=list)
    earlier: list[Alert] = field(default_factory=list)
    duplicates: int = 0

    def take(self, alert: Alert, join: int) -> None:
        known = self.standings.get(alert.fingerprint)
        if alert.is_firing:
            self._take_firing(alert, known, join)
        else:
            self._take_resolved(alert, known)

    def _take_firing(self, alert: Alert, known: Standing | None, join: int) -> None:
        if known is None or (not known.is_firing and alert.starts_at >= known.starts_at):
            ended_before_at = known.ends_at if known is not None else 0.0
            self.standings[alert.fingerprint] = Standing(
                alert.starts_at, 0.0, alert.severity, join, ended_before_at=ended_before_at
            )
            self.joined.append(alert)
            return
        self.duplicates += 1
        # A late copy of the firing before would draw this one's start back, and then its end would end this.
        if known.is_firing and known.ended_before_at <= alert.starts_at < known.starts_at:
            self.standings[alert.fingerprint] = replace(known, starts_at=alert.starts_at)
            self.earlier.append(alert)

    def _take_resolved(self, alert: Alert, known: Standing | None) -> None:
        # A copy of an earlier firing's end, late on its way, ends nothing that began after it.
        is_late = known is not None and alert.starts_at < known.starts_at and alert.ends_at < known.starts_at
        if known is None or not known.is_firing or is_late:
            self.duplicates += 1
            return
        self.standings[alert.fingerprint] = replace(known, ends_at=alert.ends_at)
        self.ended.append(alert)

    @property
    def is_all_over(self) -> bool:
        return not any(s.is_firing and not s.is_dismissed for s in self.standings.values())

    @property
    def changed_alerts(self) -> tuple[Alert, ...]:
        return (*self.joined, *self.ended)


def _tally(standings: dict[str, Standing], join: int, group: Group) -> _Tally:
    """Return what *group* does to *standings*; of an alert told twice in it, the firing word counts."""
    words: dict[str, Alert] = {}
    for alert in group.alerts:
        if alert.is_firing or alert.fingerprint not in words:
            words[alert.fingerprint] = alert
    tally = _Tally(dict(standings), duplicates=len(group.alerts) - len(words))
    for alert in words.values():
        tally.take(alert, join)
    return tally


def _merge_open(incident: Incident, group: Group, terms: Terms, now: float) -> Change:
    tally = _tally(incident.standings, incident.joins + 1, group)
    is_over = tally.is_all_over and not group.is_truncated and bool(group.alerts)
    if not (tally.changed_alerts or tally.earlier or is_over):
        return Change(incident, duplicates=tally.duplicates)
    changed = replace(incident, standings=tally.standings)
    events: list[Event] = []
    if tally.joined or tally.ended or is_over:
        changed = replace(changed, updated_at=now, revision=incident.revision + 1)
    if tally.joined:
        changed = _joined(changed, tally.joined, now, events)
    if tally.ended:
        events.append(Event(now, "alert_resolved", _count(len(tally.ended), "alert") + " resolved"))
    if is_over:
        changed = _turn(replace(changed, resolved_at=now), now, terms)
        events.append(Event(now, "resolved", "All alerts resolved"))
    return Change(
        changed,
        is_changed=True,
        changed_alerts=tally.changed_alerts,
        events=tuple(events),
        new=len(tally.joined),
        duplicates=tally.duplicates,
        resolved=len(tally.ended),
    )


def _joined(incident: Incident, joined: list[Alert], now: float, events: list[Event]) -> Incident:
    """Return *incident* with alerts joined: never less severe, and un-acknowledged when worse."""
    events.append(Event(now, "joined", _count(len(joined), "alert") + " joined"))
    gravest = max(joined, key=lambda alert: alert.severity.rank)
    incident = replace(incident, joins=incident.joins + 1)
    if gravest.severity.rank <= incident.severity.rank:
        return incident
    incident = replace(
        incident,
        severity=gravest.severity,
        summary=one_line(gravest.summary, MAX_SUMMARY) or incident.summary,
    )
    if not incident.is_acknowledged:
        return incident
    events.append(Event(now, "unacknowledged", f"It got worse: {gravest.severity}"))
    return _run_again(incident, now)


def _merge_resolved(incident: Incident, group: Group, terms: Terms, now: float) -> Change:
    """Reopen within the flap window, or open the next incident."""
    tally = _tally(incident.standings, incident.joins, group)
    if not tally.joined:
        return _noted(incident, tally)
    if now - incident.resolved_at >= terms.flap_window:
        return _open(incident, group, tally, terms, now)
    turned = _turn(incident, now, terms)
    run = Run(
        incident.run.number + 1,
        now,
        "reopened",
        incident.run.number + 1,
        is_quiet=len(turned.turns) > terms.flap_count,
    )
    events: list[Event] = [Event(now, "reopened", "Firing again")]
    reopened = replace(
        turned,
        standings=tally.standings,
        resolved_at=0.0,
        reopened_at=now,
        generation=incident.generation + 1,
        revision=incident.revision + 1,
        updated_at=now,
        run=run,
    )
    firing = worst(s.severity for s in tally.standings.values() if s.is_firing and not s.is_dismissed)
    reopened = replace(_joined(reopened, tally.joined, now, events), joins=incident.joins, severity=firing)
    return Change(
        reopened,
        is_changed=True,
        changed_alerts=tally.changed_alerts,
        events=tuple(events),
        new=len(tally.joined),
        duplicates=tally.duplicates,
        resolved=len(tally.ended),
    )


def _merge_closed(incident: Incident, group: Group, terms: Terms, now: float) -> Change:
    """A hand closed it while it fired: only what is new, or fires anew, opens the next one."""
    tally = _tally(incident.standings, incident.joins + 1, group)
    return _open(incident, group, tally, terms, now) if tally.joined else _noted(incident, tally)


def _noted(incident: Incident, tally: _Tally) -> Change:
    """Return the closed *incident* with what is told of the alerts that fire on in it.

    Their ends matter: only so can their next firing be told from a copy of this one.
    """
    if not (tally.ended or tally.earlier):
        return Change(incident, duplicates=tally.duplicates)
    return Change(
        replace(incident, standings=tally.standings),
        is_changed=True,
        changed_alerts=tuple(tally.ended),
        duplicates=tally.duplicates,
        resolved=len(tally.ended),
    )


def _turn(incident: Incident, now: float, terms: Terms) -> Incident:
    recent = tuple(at for at in incident.turns if now - at < terms.flap_window)
    return replace(incident, turns=(*recent, now)[-(terms.flap_count + 1) :])


def _run_again(incident: Incident, now: float) -> Incident:
    """Return *incident* un-acknowledged: the step last told is told again, then the next waits."""
    run = Run(incident.run.number + 1, now, "unacknowledged", incident.run.since)
    return replace(incident, acknowledged_at=0.0, acknowledged_by="", run=run)


def acknowledge(incident: Incident, by: str, now: float) -> Change:
    """Somebody has it: paging stops. The second time changes nothing."""
    if incident.is_resolved or incident.is_acknowledged:
        return Change(incident)
    changed = replace(
        incident, acknowledged_at=now, acknowledged_by=by, updated_at=now, revision=incident.revision + 1
    )
    return Change(changed, is_changed=True, events=(Event(now, "acknowledged", "Acknowledged", by),))


def unacknowledge(incident: Incident, by: str, now: float) -> Change:
    """Nobody has it any more: the step last told is told again at once."""
    if incident.is_resolved or not incident.is_acknowledged:
        return Change(incident)
    changed = replace(_run_again(incident, now), updated_at=now, revision=incident.revision + 1)
    return Change(changed, is_changed=True, events=(Event(now, "unacknowledged", "Un-acknowledged", by),))


def resolve(incident: Incident, by: str, now: float) -> Change:
    """Close it by hand, also while it fires. The second time changes nothing."""
    if incident.is_resolved:
        return Change(incident)
    changed = replace(
        incident,
        resolved_at=now,
        resolved_by=by or "somebody",
        updated_at=now,
        revision=incident.revision + 1,
    )
    return Change(changed, is_changed=True, events=(Event(now, "resolved", "Resolved by hand", by),))


def find_firing(incident: Incident) -> list[Alert]:
    """Return the alerts that fire, worst first, and of these the oldest first."""
    alerts, standings = incident.alerts, incident.standings
    firing = [
        alerts[fp] for fp, s in standings.items() if fp in alerts and s.is_firing and not s.is_dismissed
    ]
    return sorted(firing, key=lambda a: (-a.severity.rank, standings[a.fingerprint].starts_at, a.fingerprint))


def find_gravest(incident: Incident) -> Alert | None:
    """Return the alert that stands for the others: the worst that fires, else any."""
    return next(iter(find_firing(incident) or incident.alerts.values()), None)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

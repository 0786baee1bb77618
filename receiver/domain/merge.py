"""What news of a group's alerts makes of its incident."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from receiver.clock import format_duration
from receiver.domain.alert import Alert, Group, Severity
from receiver.domain.answers import let_go, run_again
from receiver.domain.heading import build_heading, name_alert, summarize
from receiver.domain.incident import (
    Change,
    Event,
    Incident,
    Run,
    Standing,
    list_firing,
    new_id,
    slot_of,
)
from receiver.domain.severity import BUILT_IN_WORDS, SeverityWords

# A sender may make up a severity for each alert; these are enough to find out who it is.
MAX_UNKNOWN_SEVERITIES = 3
# A repeat costs a write this often and no oftener, so that we know whether they go on.
_HEARD_EVERY_S = 900.0
# Newer words that come with repeats alone are kept this often and no oftener, for each group.
_REWORDED_EVERY_S = 60.0


@dataclass(frozen=True)
class Terms:
    """What of the routing bears on a group's incident: its route, its policy, the flap settings, and how
    its alerts' severities are read.
    """

    route: str
    channel: str
    policy: str
    steps: tuple[str, ...] = ()
    flap_window: float = 600.0
    flap_count: int = 4
    severities: SeverityWords = BUILT_IN_WORDS


def worst(severities: Iterable[Severity]) -> Severity:
    return max(severities, key=lambda severity: severity.rank, default=Severity.NONE)


def merge(incident: Incident | None, group: Group, terms: Terms, now: float) -> Change:
    """Return how the slot's *incident* stands after *group*'s news.

    All alerts of *group* are on the route of *terms*. Merging the same twice changes nothing
    the second time.
    """
    if incident is None:
        tally = _tally({}, 0, group, terms, now)
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
    standings = _carry(tally, group) if previous else tally.standings
    opened = Incident(
        id=new_id(slot_of(group.source, group.group_key, terms.route), now, previous),
        source=group.source,
        receiver=group.receiver,
        group_key=group.group_key,
        group_labels=group.group_labels,
        route=terms.route,
        channel=terms.channel,
        policy=terms.policy,
        steps=terms.steps,
        severity=worst({standings[alert.fingerprint].severity for alert in alerts}),
        alertname="",
        summary="",
        opened_at=now,
        updated_at=now,
        run=Run(1, now),
        standings=standings,
        external_url=group.external_url,
        previous=previous.id if previous else "",
        unknown_severities=_find_unknown((), alerts, tally),
    )
    opened = replace(opened, truncated=_count_truncated(opened.standings, group))
    return Change(
        _entitled(opened, tally.told),
        is_new=True,
        is_changed=True,
        changed_alerts=alerts,
        events=(Event(now, "opened", _count(len(alerts), "alert") + f" on {terms.channel}"),),
        new=len(alerts),
        duplicates=tally.duplicates,
        resolved=len(tally.ended),
    )


def _carry(tally: _Tally, group: Group) -> dict[str, Standing]:
    """Return the standings of the former incident as the next one begins with them."""
    begun = {alert.fingerprint for alert in tally.joined}
    told = {alert.fingerprint for alert in group.alerts}
    return {
        name: replace(standing, join=0, is_dismissed=name not in begun)
        for name, standing in tally.standings.items()
        if standing.is_firing or name in told
    }


@dataclass
class _Tally:
    """What one payload does to the alerts of an incident."""

    standings: dict[str, Standing]
    terms: Terms
    now: float
    joined: list[Alert] = field(default_factory=list)
    ended: list[Alert] = field(default_factory=list)
    earlier: list[Alert] = field(default_factory=list)
    flapping: set[str] = field(default_factory=set)
    words: dict[str, Alert] = field(default_factory=dict)  # what the payload says of each alert
    reworded: list[Alert] = field(default_factory=list)
    duplicates: int = 0

    def take(self, alert: Alert, join: int) -> None:
        known = self.standings.get(alert.fingerprint)
        if not alert.is_firing:
            self._take_resolved(alert, known, join)
        elif known is not None:
            self._take_firing(alert, known, join)
        else:
            severity = self.terms.severities.read_severity(alert.labels)
            self.standings[alert.fingerprint] = Standing(
                alert.starts_at, 0.0, severity, join, checksum=alert.checksum
            )
            self.joined.append(alert)

    def _take_firing(self, alert: Alert, known: Standing, join: int) -> None:
        if not known.is_firing and alert.starts_at >= known.starts_at:
            turns = self._turn(known, alert.fingerprint)
            self.standings[alert.fingerprint] = Standing(
                alert.starts_at,
                0.0,
                self.terms.severities.read_severity(alert.labels),
                # What flaps joined when it first did; nobody is told of it again.
                known.join if alert.fingerprint in self.flapping else join,
                ended_before_at=known.ends_at,
                turns=turns,
                checksum=alert.checksum,
            )
            self.joined.append(alert)
            return
        self.duplicates += 1
        if alert.checksum != known.checksum and _is_current(alert, known):
            self.reworded.append(alert)
        # A late copy of the firing before would draw this one's start back, and then its end would end this.
        if known.is_firing and known.ended_before_at <= alert.starts_at < known.starts_at:
            self.standings[alert.fingerprint] = replace(known, starts_at=alert.starts_at)
            self.earlier.append(alert)

    def keep_words(self) -> None:
        """Have the newer words of repeats count as kept."""
        for alert in self.reworded:
            standing = self.standings[alert.fingerprint]
            self.standings[alert.fingerprint] = replace(standing, checksum=alert.checksum)

    def _take_resolved(self, alert: Alert, known: Standing | None, join: int) -> None:
        # A copy of an earlier firing's end, late on its way, ends nothing that began after it.
        is_late = known is not None and alert.starts_at < known.starts_at and alert.ends_at < known.starts_at
        if known is None or not known.is_firing or is_late:
            self.duplicates += 1
            return
        turns = self._turn(known, alert.fingerprint)
        self.standings[alert.fingerprint] = replace(
            known, ends_at=alert.ends_at, turns=turns, checksum=alert.checksum, left=join
        )
        self.ended.append(alert)

    def _turn(self, known: Standing, name: str) -> tuple[float, ...]:
        """Return when the alert lately changed its state, with this time; more than so many: it flaps."""
        window, count = self.terms.flap_window, self.terms.flap_count
        turns = (*(at for at in known.turns if abs(self.now - at) < window), self.now)[-(count + 1) :]
        if len(turns) > count:
            self.flapping.add(name)
        return turns

    @property
    def told(self) -> dict[str, Alert]:
        """What fires, as the payload words it."""
        joined = {alert.fingerprint for alert in self.joined}
        return {
            name: alert
            for name, alert in self.words.items()
            if name in joined or (alert.is_firing and _is_current(alert, self.standings.get(name)))
        }

    @property
    def is_all_over(self) -> bool:
        return not any(s.is_firing and not s.is_dismissed for s in self.standings.values())

    @property
    def changed_alerts(self) -> tuple[Alert, ...]:
        return (*self.joined, *self.ended)


def _tally(standings: dict[str, Standing], join: int, group: Group, terms: Terms, now: float) -> _Tally:
    """Return what *group* does to *standings*; of an alert told twice in it, the firing word counts."""
    words: dict[str, Alert] = {}
    for alert in group.alerts:
        if alert.is_firing or alert.fingerprint not in words:
            words[alert.fingerprint] = alert
    duplicates = len(group.alerts) - len(words)
    tally = _Tally(dict(standings), terms, now, duplicates=duplicates, words=words)
    for alert in words.values():
        tally.take(alert, join)
    return tally


def _is_current(alert: Alert, known: Standing | None) -> bool:
    """Tell whether a firing copy is of the firing that goes on, and no late one of the firing before."""
    return (
        known is not None
        and known.is_firing
        and not known.is_dismissed
        and alert.starts_at >= known.ended_before_at
    )


def _merge_open(incident: Incident, group: Group, terms: Terms, now: float) -> Change:
    tally = _tally(incident.standings, incident.joins + 1, group, terms, now)
    is_all_over = tally.is_all_over and not group.is_truncated and bool(group.alerts)
    is_flapping = incident.is_flapping or bool(tally.flapping)
    is_over = is_all_over and not (is_flapping and incident.quiet_at)
    is_silent = now - max(incident.heard_at, incident.opened_at) >= _HEARD_EVERY_S
    is_heard = is_silent and any(alert.is_firing for alert in group.alerts)
    if not (tally.changed_alerts or tally.earlier or is_over or is_heard):
        return _repeated(incident, group, tally, now)
    tally.keep_words()
    changed = _heard(replace(incident, standings=tally.standings), now)
    changed = replace(changed, truncated=_count_truncated(tally.standings, group))
    events: list[Event] = []
    if tally.joined or tally.ended or is_over:
        changed = replace(changed, updated_at=now, revision=incident.revision + 1)
    if tally.joined:
        changed = _joined(changed, tally, now, events)
    if tally.ended:
        events.append(Event(now, "alert_resolved", _count(len(tally.ended), "alert") + " resolved"))
    changed = _flapped(changed, tally, terms, now, events)
    if is_over and is_flapping:
        changed = replace(changed, quiet_at=now)
    elif is_over:
        changed = replace(changed, resolved_at=now)
        events.append(Event(now, "resolved", "All alerts resolved"))
    return Change(
        _entitled(_worded(changed, tally, now), tally.told, incident, tally.ended),
        is_changed=True,
        changed_alerts=tally.changed_alerts,
        reworded=tuple(tally.reworded),
        events=tuple(events),
        new=len(tally.joined),
        duplicates=tally.duplicates,
        resolved=len(tally.ended),
    )


def _repeated(incident: Incident, group: Group, tally: _Tally, now: float) -> Change:
    """Return what repeats alone make of *incident*: newer words of its alerts, seldom, and nothing else."""
    truncated = incident.truncated
    is_told = (truncated or group.truncated) and not incident.is_resolved and bool(tally.told)
    if is_told:
        truncated = _count_truncated(incident.standings, group)
    is_news = bool(tally.reworded) or truncated != incident.truncated
    if not is_news or abs(now - incident.reworded_at) < _REWORDED_EVERY_S:
        return Change(incident, duplicates=tally.duplicates)
    tally.keep_words()
    reworded = replace(incident, standings=tally.standings, truncated=truncated, reworded_at=now)
    return Change(
        _entitled(reworded, tally.told),
        is_reworded=True,
        reworded=tuple(tally.reworded),
        duplicates=tally.duplicates,
    )


def _worded(incident: Incident, tally: _Tally, now: float) -> Incident:
    return replace(incident, reworded_at=now) if tally.reworded else incident


def _count_truncated(standings: Mapping[str, Standing], group: Group) -> int:
    """Return how many alerts Alertmanager left out of *group* that are not known from before."""
    if not group.truncated:
        return 0
    told = {alert.fingerprint for alert in group.alerts}
    known = sum(s.is_firing and not s.is_dismissed and fp not in told for fp, s in standings.items())
    return max(0, group.truncated - known)


def _entitled(
    incident: Incident,
    told: Mapping[str, Alert],
    before: Incident | None = None,
    ended: Iterable[Alert] = (),
) -> Incident:
    """Return *incident* with the name and summary of the alert that stands for what fires.

    Only what the payload tells can be used here: where it leaves out some of what fires, a worker, which has
    all alerts, completes it. What is over keeps the last words of the alert that stood for it *before*.
    """
    firing = list_firing(incident.standings)
    labels = incident.group_labels
    if firing and told.keys() >= set(firing):
        heading = build_heading([told[name] for name in firing], labels)
        return replace(incident, alertname=heading.name, summary=heading.summary, more=heading.more)
    first = told.get(firing[0]) if firing else None
    if not firing and before is not None:
        last = next(iter(list_firing(before.standings)), "")
        first = next((alert for alert in ended if alert.fingerprint == last), None)
    if first is None:
        return incident
    return replace(incident, alertname=name_alert(first, labels), summary=summarize(first))


def _heard(incident: Incident, now: float) -> Incident:
    """Return *incident* with its sender heard of at *now*."""
    gap = now - max(incident.heard_at, incident.opened_at)
    return replace(incident, heard_at=now, longest_gap=max(incident.longest_gap, gap))


def _flapped(incident: Incident, tally: _Tally, terms: Terms, now: float, events: list[Event]) -> Incident:
    """Return *incident* marked as flapping for another window, if an alert of it changes too often."""
    if not tally.flapping:
        return incident
    if not incident.is_flapping:
        text = f"Flapping: more than {terms.flap_count} changes within {format_duration(terms.flap_window)}"
        events.append(Event(now, "flapping", text))
    return replace(incident, flapping_until=now + terms.flap_window)


def _joined(incident: Incident, tally: _Tally, now: float, events: list[Event]) -> Incident:
    """Return *incident* with alerts joined: never less severe, and un-acknowledged when worse."""
    joined = tally.joined
    events.append(Event(now, "joined", _count(len(joined), "alert") + " joined"))
    gravest = max(joined, key=lambda alert: tally.standings[alert.fingerprint].severity.rank)
    severity = tally.standings[gravest.fingerprint].severity
    # Alertmanager sends nothing that is muted, so what joins is held no longer.
    unknown = _find_unknown(incident.unknown_severities, joined, tally)
    incident = replace(incident, held=None, quiet_at=0.0, unknown_severities=unknown)
    if not {alert.fingerprint for alert in joined} <= tally.flapping:
        incident = replace(incident, joins=incident.joins + 1)
    if severity.rank <= incident.severity.rank:
        return incident
    incident = replace(incident, severity=severity)
    if not incident.is_acknowledged:
        return incident
    events.append(Event(now, "unacknowledged", f"It got worse: {severity}"))
    return run_again(incident, now)


def _find_unknown(known: tuple[str, ...], joined: Iterable[Alert], tally: _Tally) -> tuple[str, ...]:
    """Return *known* with the severities of *joined* alerts that are no words we know."""
    words = dict.fromkeys(known)
    for alert in joined:
        if tally.standings[alert.fingerprint].severity is not Severity.NONE:
            continue
        if len(words) < MAX_UNKNOWN_SEVERITIES and (
            word := tally.terms.severities.find_unknown_word(alert.labels)
        ):
            words[word] = None
    return tuple(words)


def _merge_resolved(incident: Incident, group: Group, terms: Terms, now: float) -> Change:
    """Reopen within the flap window, or open the next incident.

    What flaps pages nobody anew, so whoever has it keeps it.
    """
    tally = _tally(incident.standings, incident.joins, group, terms, now)
    if not tally.joined:
        return _noted(incident, group, tally, now)
    if now - incident.resolved_at >= terms.flap_window:
        return _open(incident, group, tally, terms, now)
    tally.keep_words()
    number = incident.run.number + 1
    run = Run(number, now, "reopened", number, is_quiet=bool(tally.flapping))
    events: list[Event] = [Event(now, "reopened", "Firing again")]
    reopened = replace(
        _without_holder(incident, now, events, is_flapping=bool(tally.flapping)),
        standings=tally.standings,
        resolved_at=0.0,
        reopened_at=now,
        over_for=now - incident.resolved_at,
        generation=incident.generation + 1,
        revision=incident.revision + 1,
        updated_at=now,
        run=run,
    )
    firing = worst(s.severity for s in tally.standings.values() if s.is_firing and not s.is_dismissed)
    reopened = replace(_joined(reopened, tally, now, events), joins=incident.joins, severity=firing)
    reopened = _flapped(reopened, tally, terms, now, events)
    reopened = replace(reopened, truncated=_count_truncated(tally.standings, group))
    return Change(
        _entitled(_worded(reopened, tally, now), tally.told),
        is_changed=True,
        changed_alerts=tally.changed_alerts,
        reworded=tuple(tally.reworded),
        events=tuple(events),
        new=len(tally.joined),
        duplicates=tally.duplicates,
        resolved=len(tally.ended),
    )


def _without_holder(incident: Incident, now: float, events: list[Event], *, is_flapping: bool) -> Incident:
    """Return *incident* as it reopens: its acknowledgement has ended with the resolve, unless it flaps."""
    if is_flapping or not incident.is_acknowledged:
        return replace(incident, former_by="", former_ref="")
    by, ref = incident.acknowledged_by, incident.acknowledged_ref
    events.append(Event(now, "unacknowledged", f"The acknowledgement by {by} ended when it resolved"))
    return replace(let_go(incident), former_by=by, former_ref=ref)


def _merge_closed(incident: Incident, group: Group, terms: Terms, now: float) -> Change:
    """A hand closed it while it fired: only what is new, or fires anew, opens the next one."""
    tally = _tally(incident.standings, incident.joins + 1, group, terms, now)
    return _open(incident, group, tally, terms, now) if tally.joined else _noted(incident, group, tally, now)


def _noted(incident: Incident, group: Group, tally: _Tally, now: float) -> Change:
    """Return the closed *incident* with what is told of the alerts that fire on in it.

    Their ends matter: only so can their next firing be told from a copy of this one.
    """
    if not (tally.ended or tally.earlier):
        return _repeated(incident, group, tally, now)
    tally.keep_words()
    changed = _worded(replace(incident, standings=tally.standings), tally, now)
    return Change(
        _entitled(changed, tally.told, incident, tally.ended),
        is_changed=True,
        changed_alerts=tuple(tally.ended),
        reworded=tuple(tally.reworded),
        duplicates=tally.duplicates,
        resolved=len(tally.ended),
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""People: who answered and by which side, and who has the pager."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from msgspec import Struct, json

from receiver.model.alert import RANKS, Alert, Severity
from receiver.model.delivery import Delivery


class Person(Struct, frozen=True, omit_defaults=True):
    """Who did something. *via* is the side it came from: slack, pagerduty, api, command line."""

    name: str
    via: str = "api"
    slack_id: str = ""


class OnCallPerson(Struct, frozen=True, omit_defaults=True):
    """Who has the pager. *level* is the lowest of PagerDuty's escalation levels they stand on.

    *until* is when their turn ends (0: never); *as_of* is set where PagerDuty is away, and is when
    it last said so.
    """

    name: str
    email: str = ""
    level: int = 1
    until: float = 0.0
    as_of: float = 0.0
    slack_id: str = ""  # where Slack knows the e-mail


# How long we wait for a repeat before an incident is called stale: twice the longest gap there was, and
# some minutes; where there was no repeat yet, twice the four hours of Alertmanager's own default.
_STALE_MARGIN_S = 600.0
_STALE_UNHEARD_S = 2 * 4 * 3600.0 + _STALE_MARGIN_S
# Of so many alerts an incident keeps all that was told.
MAX_FULL_ALERTS = 2000
# The slot of a new group is computed twice; that of a longer group key is not cached, to bound the memory.
_MAX_CACHED_KEY = 2000
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: IDs are read aloud at night


class AlertState(Struct, frozen=True, array_like=True):
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
    is_seen: bool = False  # Alertmanager's API has shown it, so its absence there may mean something
    absent_polls: int = 0  # how many looks in a row it was absent
    changed_at: tuple[float, ...] = ()  # when it lately ended or fired again
    checksum: int = 0  # of the annotations and the generatorURL that are kept of it
    join_at_end: int = 0  # the occasion on which alerts joined when it ended, or were to join next

    @property
    def is_firing(self) -> bool:
        return self.ends_at == 0.0


class EscalationRun(Struct, frozen=True, array_like=True):
    """One run of the escalation: it starts when the incident opens, reopens or is un-acknowledged.

    *since* is the number of the run that the last opening or reopening started.
    """

    number: int
    started_at: float
    cause: str = "opened"  # or reopened, unacknowledged
    since: int = 1
    is_quiet: bool = False  # flapping: the first step is not told anew


class Suppression(Struct, frozen=True, omit_defaults=True):
    """Why nobody is paged though it fires: all that fires is muted in Alertmanager.

    *reason* is `silenced`, `inhibited` or `muted` (by a time interval). *until* is 0 where nobody
    knows.
    """

    reason: str
    since: float
    by: str = ""
    until: float = 0.0


class SilenceRequest(Struct, frozen=True, omit_defaults=True):
    """A silence that somebody wished for here; it lives in Alertmanager.

    *until* is 0 for one that lasts until the incident resolves. *ended_at* says that it is no longer
    wanted. Its id in Alertmanager is the reference of the receipt of `silence:NUMBER`.
    """

    number: int
    matchers: tuple[tuple[str, str], ...]
    by: str
    requested_at: float
    until: float = 0.0
    comment: str = ""
    ended_at: float = 0.0

    @property
    def is_until_resolved(self) -> bool:
        return self.until == 0.0

    def is_active(self, now: float) -> bool:
        """Tell whether it should be in force."""
        return not self.ended_at and (self.is_until_resolved or now < self.until)


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
    # Of the alert that stands for the others, for lists that load no alerts; see `heading.py`.
    alertname: str
    summary: str
    opened_at: float
    updated_at: float
    run: EscalationRun
    alert_states: dict[str, AlertState]
    external_url: str = ""
    revision: int = 0  # grows with every change that a reader can see
    joins: int = 0
    generation: int = 0  # how often it reopened
    reopened_at: float = 0.0
    over_for: float = 0.0  # how long it was resolved before it reopened
    flapping_until: float = 0.0  # an alert of it changed too often: until it was quiet for so long
    quiet_at: float = 0.0  # while flapping: since when all its alerts are over
    acknowledged_at: float = 0.0
    acknowledged_by: str = ""
    acknowledged_ref: str = ""  # the Slack user, where it was one
    snoozed_until: float = 0.0  # the acknowledgement's end, where it has one
    first_acknowledged_at: float = 0.0  # stays, whatever becomes of the acknowledgement
    former_by: str = ""  # who had it when its alerts resolved, before it last reopened
    former_ref: str = ""  # the Slack user, where it was one
    resolved_at: float = 0.0
    resolved_by: str = ""  # empty: its alerts resolved
    resolved_ref: str = ""
    suppression: Suppression | None = None
    silences: tuple[SilenceRequest, ...] = ()
    alertmanager_checked_at: float = 0.0  # when Alertmanager was last asked for a step's sake
    alertmanager_check_failed: bool = False  # and could not be
    pagerduty_checked_at: float = 0.0  # when PagerDuty was last asked for a step's sake
    pagerduty_check_failed: bool = False  # and could not be
    last_pagerduty_event_at: float = 0.0  # of the latest that PagerDuty itself told of it, by its own clock
    last_received_at: float = 0.0  # when its sender last spoke of it, to a quarter of an hour
    longest_gap: float = 0.0  # between two times it did
    more: int = 0  # how many other names and summaries there are among what fires
    truncated: int = 0  # how many alerts Alertmanager left out that are not known here
    reworded_at: float = 0.0  # when newer words of its alerts were last kept
    compacted: int = 0  # how many alerts ended so long ago that nothing else is known of them
    unknown_severities: tuple[str, ...] = ()  # the first words of its alerts that name no severity, as shown
    previous: str = ""  # the incident that held this group before
    is_past: bool = False  # another incident holds its group now
    alerts: dict[str, Alert] = {}
    deliveries: dict[str, Delivery] = {}

    @property
    def is_resolved(self) -> bool:
        return self.resolved_at > 0

    @property
    def is_acknowledged(self) -> bool:
        """Also of a resolved one: it was acknowledged when it resolved."""
        return self.acknowledged_at > 0

    @property
    def is_closed_by_hand(self) -> bool:
        return self.is_resolved and bool(self.resolved_by)

    @property
    def is_flapping(self) -> bool:
        """It stays open until it was quiet for a window, and nobody is paged while nothing fires."""
        return self.flapping_until > 0

    @property
    def is_suppressed(self) -> bool:
        return self.suppression is not None

    @property
    def is_paused(self) -> bool:
        """Nobody is to be told of a step now: all that fires is muted, or what flaps is quiet."""
        return self.is_suppressed or self.quiet_at > 0

    @property
    def stale_at(self) -> float:
        """When its sender has been silent for so long that its state is no longer known."""
        silence_s = 2 * self.longest_gap + _STALE_MARGIN_S if self.longest_gap else _STALE_UNHEARD_S
        return max(self.last_received_at, self.opened_at) + silence_s

    def is_stale(self, now: float) -> bool:
        return not self.is_resolved and now >= self.stale_at

    @property
    def state(self) -> str:
        """`resolved`, `acknowledged` or `open`."""
        if self.is_resolved:
            return "resolved"
        return "acknowledged" if self.is_acknowledged else "open"

    @property
    def group_id(self) -> str:
        """The group's place, shared by all incidents of this group on this route."""
        return self.id.partition("-")[0]

    @property
    def firing(self) -> int:
        """How many of its alerts fire; those dismissed in an earlier incident don't count."""
        return sum(s.is_firing and self._is_counted(s) for s in self.alert_states.values())

    @property
    def total(self) -> int:
        return self.compacted + self.truncated + sum(self._is_counted(s) for s in self.alert_states.values())

    def _is_counted(self, alert_state: AlertState) -> bool:
        return not alert_state.is_dismissed or self.is_closed_by_hand


class TimelineEvent(Struct, frozen=True, omit_defaults=True):
    """One line of an incident's timeline."""

    at: float
    what: str  # opened, joined, alert_resolved, resolved, reopened, acknowledged, …
    text: str
    by: str = ""
    via: str = ""  # the side it came from


class IncidentChange(Struct, frozen=True):
    """What `merge` and its like say: how the incident stands now and what that means for storing.

    *is_new* asks for the slot's former incident to be put aside. *reworded* are repeats with newer words
    than those kept. When *is_changed* is false nothing has to be written, unless *is_reworded*: then the
    incident and those alerts, without a new version and without waking a worker.
    """

    incident: Incident | None
    is_new: bool = False
    is_changed: bool = False
    is_reworded: bool = False
    changed_alerts: tuple[Alert, ...] = ()
    reworded: tuple[Alert, ...] = ()
    events: tuple[TimelineEvent, ...] = ()
    new: int = 0
    duplicates: int = 0
    resolved: int = 0


def group_id_of(source: str, group_key: str, route: str) -> str:
    """Return the group's place on a route: 12 characters, a pure function of its identity.

    The receiver's name is no part of that: it may be changed, and one alert may come under several.
    """
    compute = _compute_group_id_cached if len(group_key) <= _MAX_CACHED_KEY else compute_group_id
    return compute(source, group_key, route)


def compute_group_id(*identity: str) -> str:
    """Return 12 characters that follow from *identity* alone."""
    digest = hashlib.sha256(json.encode(identity)).digest()
    return to_base32(int.from_bytes(digest[:8], "big") >> 4, 12)


_compute_group_id_cached = lru_cache(maxsize=1024)(compute_group_id)


def dedup_key(incident: Incident, responder: str) -> str:
    """Return the name under which PagerDuty knows this incident's page to *responder*.

    It depends on the group's identity alone, so that even after Redis lost everything the same
    alert lands on the PagerDuty incident that is already open.
    """
    tail = hashlib.sha256(json.encode([incident.group_id, responder])).hexdigest()[:16]
    return f"receiver-{incident.group_id}-{tail}"


def parse_dedup_key(key: str) -> tuple[str, str] | None:
    """Return the slot and the responder's part of a dedup key of ours, None for anybody else's."""
    match = re.fullmatch(r"receiver-([0-9a-z]{12})-([0-9a-f]{16})", key)
    return (match[1], match[2]) if match else None


def to_base32(number: int, digits: int) -> str:
    """Return *number* in letters and digits that are told apart when read aloud."""
    return "".join([_ALPHABET[(number >> 5 * n) & 31] for n in range(digits - 1, -1, -1)])


def new_id(group_id: str, opened_at: float, previous: Incident | None) -> str:
    stamp = int(opened_at * 1000)
    while previous is not None and previous.id == f"{group_id}-{to_base32(stamp, 9)}":
        stamp += 1
    return f"{group_id}-{to_base32(stamp, 9)}"


def list_firing_fingerprints(alert_states: Mapping[str, AlertState]) -> list[str]:
    """Return the fingerprints of what fires, worst first, and of these the oldest first.

    Of those alike, the one that was told first comes first: Alertmanager sorts a group by its labels.
    """
    firing = [
        (-RANKS[s.severity], s.starts_at, n, fingerprint)
        for n, (fingerprint, s) in enumerate(alert_states.items())
        if s.ends_at == 0.0 and not s.is_dismissed
    ]
    firing.sort()
    return [fingerprint for _, _, _, fingerprint in firing]


def select_full_alerts(incident: Incident, alerts: Sequence[Alert]) -> Sequence[Alert]:
    """Return those of *alerts* that are kept with labels and annotations: where an incident has more than
    MAX_WHOLE, those that fire, the worst first. How each stands is kept of all.
    """
    alert_states = incident.alert_states
    if not alerts or len(alert_states) <= MAX_FULL_ALERTS:
        return alerts
    ranked = sorted(
        alert_states, key=lambda fp: (not alert_states[fp].is_firing, -alert_states[fp].severity.rank)
    )
    whole = set(ranked[:MAX_FULL_ALERTS])
    return [alert for alert in alerts if alert.fingerprint in whole]


def find_firing(incident: Incident) -> list[Alert]:
    """Return the alerts that fire, worst first, and of these the oldest first."""
    return [
        incident.alerts[fp] for fp in list_firing_fingerprints(incident.alert_states) if fp in incident.alerts
    ]


def find_most_severe(incident: Incident) -> Alert | None:
    """Return the alert that stands for the others: the worst that fires, else any."""
    return next(iter(find_firing(incident) or incident.alerts.values()), None)


@dataclass(frozen=True)
class VersionedIncident:
    """A group's latest incident as read, and the version that a change of it must find.

    *read_at_ms* is set by a divided store: when it was read, by the clock of its server.
    """

    group_id: str
    incident: Incident | None
    version: int
    read_at_ms: int = 0


@dataclass(frozen=True)
class IncidentUpdate:
    """A change to be kept: what was read, how it stands now, and which lanes are to look at it.

    *is_incoming* says that it came from outside, and may wait a little for what is due. *former_owners* is by
    fingerprint what the homes hold that alerts have left: they are taken over if that has not changed since.
    """

    loaded: VersionedIncident
    change: IncidentChange
    queues: tuple[str, ...]
    due: float
    is_incoming: bool = False
    former_owners: Mapping[str, VersionedIncident] = field(default_factory=dict)

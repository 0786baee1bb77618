"""The incident with its alert states, escalation run, silences and timeline; its IDs and changes."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from msgspec import Struct, json
from msgspec.structs import replace

from receiver.model.alert import RANKS, Alert, Severity
from receiver.model.delivery import NO_DELIVERY, Delivery
from receiver.model.delivery_keys import FALLBACK, MESSAGE, REPLACEMENT, DeliveryKey, list_page_names


class Person(Struct, frozen=True, omit_defaults=True):
    """The person who did something. *via* is where it came from: slack, pagerduty, api, command line."""

    name: str
    via: str = "api"
    slack_id: str = ""


class OnCallPerson(Struct, frozen=True, omit_defaults=True):
    """A person on call."""

    name: str
    email: str = ""
    level: int = 1  # the lowest of their escalation levels in PagerDuty
    until: float = 0.0  # when their shift ends; 0: never
    as_of: float = 0.0  # while PagerDuty can't be reached: the time of its last answer; else 0
    slack_id: str = ""  # where Slack has a user with this e-mail address


# An incident is stale without a repeat for twice the longest gap so far, plus ten minutes; before the first
# repeat, for twice Alertmanager's default `repeat_interval` of four hours, plus ten minutes.
_STALE_MARGIN_S = 600.0
_STALE_WITHOUT_GAP_S = 2 * 4 * 3600.0 + _STALE_MARGIN_S
# An incident keeps labels and annotations of at most so many alerts.
MAX_FULL_ALERTS = 2000
# A new group's ID is computed twice, so it is cached; not for longer group keys, to bound the memory.
_MAX_CACHED_KEY = 2000
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: IDs are read aloud at night


class AlertState(Struct, frozen=True, array_like=True):
    """The state of one alert of an incident. Its labels are stored apart, because they are seldom needed."""

    starts_at: float
    ends_at: float
    severity: Severity
    join: int = 0  # the number of the occasion on which it joined; 0: the incident opened with it
    is_dismissed: bool = False  # still fires after a person closed its incident: its copies stay duplicates
    ended_before_at: float = 0.0  # the end of the firing before this one
    is_seen: bool = False  # Alertmanager's API has listed it, so its absence there counts
    absent_polls: int = 0  # in how many status polls in a row it was absent
    changed_at: tuple[float, ...] = ()  # the recent times at which it ended or fired again
    checksum: int = 0  # of its stored annotations and generatorURL
    join_at_end: int = 0  # the number that alerts joining in the payload of its end got, or would have got
    expires_at: float | None = None  # as in `Alert`, the latest that its sender named

    @property
    def is_firing(self) -> bool:
        return self.ends_at == 0.0

    def is_expired(self, now: float) -> bool:
        """Return whether it fires, and its sender has not renewed it in time."""
        return self.is_firing and self.expires_at is not None and self.expires_at <= now


class EscalationRun(Struct, frozen=True, array_like=True):
    """One pass through the steps: it starts when the incident opens, reopens or is un-acknowledged."""

    number: int
    started_at: float
    cause: str = "opened"  # or reopened, unacknowledged
    since: int = 1  # the number of the run that started with the last opening or reopening
    is_quiet: bool = False  # flapping: the first step is not sent again


class Suppression(Struct, frozen=True, omit_defaults=True):
    """Why escalation steps wait: all firing alerts are muted in Alertmanager."""

    reason: str  # `silenced`, `inhibited` or `muted` (by a time interval)
    since: float
    by: str = ""
    until: float = 0.0  # 0 where it is unknown


class StepCheck(Struct, frozen=True, array_like=True):
    """The last check of a vendor before an escalation step; *has_failed*: it got no answer."""

    at: float = 0.0
    has_failed: bool = False


_NEVER_CHECKED = StepCheck()


class SilenceRequest(Struct, frozen=True, omit_defaults=True):
    """A silence that was requested through the receiver; the silence itself is in Alertmanager. Its ID there
    is the reference in the receipt of `silence:NUMBER`.
    """

    number: int
    matchers: tuple[tuple[str, str], ...]
    by: str
    requested_at: float
    until: float = 0.0  # 0 for one that lasts until the incident resolves
    comment: str = ""
    ended_at: float = 0.0  # when it was withdrawn

    @property
    def is_until_resolved(self) -> bool:
        return self.until == 0.0

    def is_active(self, now: float) -> bool:
        """Return whether Alertmanager should have this silence."""
        return not self.ended_at and (self.is_until_resolved or now < self.until)


class Incident(Struct, frozen=True, omit_defaults=True, dict=True):
    """One Alertmanager group on one route, from first firing to resolved.

    *alerts*, *deliveries* and *is_past* are stored apart from the rest and set on loading.
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
    # The representative alert's name and summary, for lists that load no alerts; see `heading.py`.
    alertname: str
    summary: str
    opened_at: float
    updated_at: float
    run: EscalationRun
    alert_states: dict[str, AlertState]
    external_url: str = ""
    has_silence_form: bool = False  # the sender is an Alertmanager, with its form for silences
    revision: int = 0  # grows with every visible change
    joins: int = 0
    generation: int = 0  # how often it reopened
    reopened_at: float = 0.0
    over_for: float = 0.0  # how many seconds it was resolved before it last reopened
    flapping_until: float = 0.0  # when flapping ends, if no alert changes too often until then
    quiet_at: float = 0.0  # while flapping: when its last firing alert ended; 0 while one fires
    acknowledged_at: float = 0.0
    acknowledged_by: str = ""
    acknowledged_ref: str = ""  # the Slack user's ID; empty for other users
    snoozed_until: float = 0.0  # when the snooze ends; 0 without one
    first_acknowledged_at: float = 0.0  # stays when the acknowledgement ends
    former_by: str = ""  # who had acknowledged it when it last resolved, set when it reopens
    former_ref: str = ""  # that Slack user's ID; empty for other users
    resolved_at: float = 0.0
    resolved_by: str = ""  # the person who closed it; empty: its alerts resolved
    resolved_ref: str = ""
    suppression: Suppression | None = None
    silences: tuple[SilenceRequest, ...] = ()
    checks: dict[str, StepCheck] = {}  # the last check for an escalation step, by the checked vendor
    last_pagerduty_event_at: float = 0.0  # PagerDuty's latest event about it, by PagerDuty's clock
    last_received_at: float = 0.0  # when its last webhook came, to a quarter of an hour
    longest_gap: float = 0.0  # the longest time between two webhooks, in seconds
    more: int = 0  # how many other pairs of name and summary the firing alerts have
    truncated: int = 0  # how many alerts Alertmanager left out that the incident does not have
    reworded_at: float = 0.0  # when changed annotations of its alerts were last stored
    compacted: int = 0  # how many ended alerts were dropped by compaction
    unknown_severities: tuple[str, ...] = ()  # the first unknown severity labels of its alerts, for display
    previous: str = ""  # the ID of the group's incident before this one
    is_past: bool = False  # its group has a newer incident
    alerts: dict[str, Alert] = {}
    deliveries: dict[DeliveryKey, Delivery] = {}

    def find_delivery(self, key: DeliveryKey, instance: str | None = None) -> Delivery:
        """Return the delivery of *key* (and *instance*); an empty one if there is none."""
        delivery = self.deliveries.get(key, NO_DELIVERY)
        return delivery if instance is None or delivery.instance == instance else NO_DELIVERY

    def find_run_delivery(self, key: DeliveryKey) -> Delivery:
        """Return the delivery of *key* in this escalation run; an empty one if there is none."""
        delivery = self.deliveries.get(key)
        return delivery if delivery is not None and delivery.instance == self.run_instance else NO_DELIVERY

    @cached_property
    def run_instance(self) -> str:
        """The instance of the deliveries of this escalation run."""
        return str(self.run.number)

    @cached_property
    def message(self) -> Delivery | None:
        """The delivery of its own message, the newest that arrived; None without one."""
        found = [self.find_delivery(key) for key in (MESSAGE, REPLACEMENT, FALLBACK)]
        arrived = [delivery for delivery in found if delivery.receipt and not delivery.is_bundled]
        return max(arrived, key=lambda d: d.receipt.at if d.receipt else 0.0, default=None)

    @cached_property
    def pages(self) -> dict[str, dict[DeliveryKey, Delivery]]:
        """The pages to each responder, by the responder's name."""
        pages: dict[str, dict[DeliveryKey, Delivery]] = {}
        for key, delivery in self.deliveries.items():
            for name in list_page_names(key):
                pages.setdefault(name, {})[key] = delivery
        return pages

    @cached_property
    def firing_alerts(self) -> tuple[Alert, ...]:
        """The firing alerts that are loaded, worst first, and of these the oldest first."""
        fingerprints = list_firing_fingerprints(self.alert_states)
        return tuple(self.alerts[fp] for fp in fingerprints if fp in self.alerts)

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
        """It stays open until nothing changed too often for a flap window; steps wait while nothing fires."""
        return self.flapping_until > 0

    def find_check(self, name: str) -> StepCheck:
        """Return the last check *name* before an escalation step."""
        return self.checks.get(name, _NEVER_CHECKED)

    def with_check(self, name: str, check: StepCheck) -> Incident:
        return replace(self, checks={**self.checks, name: check})

    @property
    def is_suppressed(self) -> bool:
        return self.suppression is not None

    @property
    def is_paused(self) -> bool:
        """Escalation steps wait: all firing alerts are muted, or it is flapping and nothing fires."""
        return self.is_suppressed or self.quiet_at > 0

    @property
    def stale_at(self) -> float:
        """When its state becomes unknown, because its sender has sent nothing for too long."""
        silence_s = 2 * self.longest_gap + _STALE_MARGIN_S if self.longest_gap else _STALE_WITHOUT_GAP_S
        return max(self.last_received_at, self.opened_at) + silence_s

    @cached_property
    def next_expiry_at(self) -> float | None:
        """When the first of its firing alerts ends unless it is renewed, dismissed alerts included; None if
        none does.
        """
        expiries = (s.expires_at for s in self.alert_states.values() if s.is_firing)
        return min((at for at in expiries if at is not None and at < math.inf), default=None)

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
        """The group ID, shared by all incidents of this group on this route."""
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
    via: str = ""  # where it came from, as in `Person`


class IncidentChange(Struct, frozen=True):
    """The result of `merge` or of a transition: the incident as it is now, and what the store has to write.

    *is_new* makes this the group ID's incident in place of the former one. *reworded* are repeats whose
    annotations are newer than those stored. When *is_changed* is false nothing has to be written, unless
    *is_reworded*: then the incident and those alerts, without a new version and without waking a worker.
    *is_renewed*: alerts will only end later than they would have, so that no worker has to be woken either.
    """

    incident: Incident | None
    is_new: bool = False
    is_changed: bool = False
    is_reworded: bool = False
    is_renewed: bool = False
    changed_alerts: tuple[Alert, ...] = ()
    reworded: tuple[Alert, ...] = ()
    events: tuple[TimelineEvent, ...] = ()
    new: int = 0
    duplicates: int = 0
    resolved: int = 0


def group_id_of(source: str, group_key: str, route: str) -> str:
    """Return the group ID of a group on a route: 12 characters, a pure function of its identity.

    The receiver's name is no part of it: it may be changed, and an alert may come under several receivers.
    """
    compute = _compute_group_id_cached if len(group_key) <= _MAX_CACHED_KEY else compute_group_id
    return compute(source, group_key, route)


def compute_group_id(*identity: str) -> str:
    """Return 12 characters that follow from *identity* alone."""
    digest = hashlib.sha256(json.encode(identity)).digest()
    return to_base32(int.from_bytes(digest[:8], "big") >> 4, 12)


_compute_group_id_cached = lru_cache(maxsize=1024)(compute_group_id)


def dedup_key(incident: Incident, responder: str) -> str:
    """Return PagerDuty's `dedup_key` for this incident's pages to *responder*.

    It depends on the group's identity and the responder alone, so that the same alert joins the open
    PagerDuty incident even after Redis lost all data.
    """
    return _compute_dedup_key(incident.group_id, responder)


@lru_cache(maxsize=1024)
def _compute_dedup_key(group_id: str, responder: str) -> str:
    tail = hashlib.sha256(json.encode([group_id, responder])).hexdigest()[:16]
    return f"receiver-{group_id}-{tail}"


def parse_dedup_key(key: str) -> tuple[str, str] | None:
    """Return the group ID and the responder's part of a dedup key of ours; None for any other key."""
    match = re.fullmatch(r"receiver-([0-9a-z]{12})-([0-9a-f]{16})", key)
    return (match[1], match[2]) if match else None


def to_base32(number: int, digits: int) -> str:
    """Return *number* as *digits* base-32 digits that are easily told apart when read aloud."""
    return "".join([_ALPHABET[(number >> 5 * n) & 31] for n in range(digits - 1, -1, -1)])


def new_id(group_id: str, opened_at: float, previous: Incident | None) -> str:
    opened_ms = int(opened_at * 1000)
    while previous is not None and previous.id == f"{group_id}-{to_base32(opened_ms, 9)}":
        opened_ms += 1
    return f"{group_id}-{to_base32(opened_ms, 9)}"


def list_firing_fingerprints(alert_states: Mapping[str, AlertState]) -> list[str]:
    """Return the fingerprints of the firing alerts, worst first, and of these the oldest first.

    Equal ones keep the order in which they were received: Alertmanager sorts a group by its labels.
    """
    firing = [
        (-RANKS[s.severity], s.starts_at, n, fingerprint)
        for n, (fingerprint, s) in enumerate(alert_states.items())
        if s.ends_at == 0.0 and not s.is_dismissed
    ]
    firing.sort()
    return [fingerprint for _, _, _, fingerprint in firing]


def select_full_alerts(incident: Incident, alerts: Sequence[Alert]) -> Sequence[Alert]:
    """Return those of *alerts* that are stored with labels and annotations: where an incident has more than
    MAX_FULL_ALERTS, the firing ones first, the worst first. The alert states of all are stored.
    """
    alert_states = incident.alert_states
    if not alerts or len(alert_states) <= MAX_FULL_ALERTS:
        return alerts
    ranked = sorted(
        alert_states, key=lambda fp: (not alert_states[fp].is_firing, -alert_states[fp].severity.rank)
    )
    whole = set(ranked[:MAX_FULL_ALERTS])
    return [alert for alert in alerts if alert.fingerprint in whole]


def find_most_severe(incident: Incident) -> Alert | None:
    """Return the representative alert: the worst that fires, else any; None without alerts."""
    return next(iter(incident.firing_alerts or incident.alerts.values()), None)


@dataclass(frozen=True)
class VersionedIncident:
    """A group's latest incident as read, and its version for the compare-and-set of a change."""

    group_id: str
    incident: Incident | None
    version: int
    read_at_ms: int = 0  # with several shards: when it was read, by the clock of the Redis server


@dataclass(frozen=True)
class IncidentUpdate:
    """A change to commit: what was read, the changed incident, and the queues to enqueue it in for *due*.

    *former_owners* maps the fingerprint of an alert to its former owner as read: the alert changes its owner
    only if that one is unchanged since.
    """

    loaded: VersionedIncident
    change: IncidentChange
    queues: tuple[str, ...]
    due: float
    is_incoming: bool = False  # into the queues of incoming changes, which may wait a little for due work
    former_owners: Mapping[str, VersionedIncident] = field(default_factory=dict)

    @property
    def incident(self) -> Incident:
        """The changed incident. Raises ValueError for a change without one."""
        if self.change.incident is None:
            raise ValueError("a change without an incident has nothing to keep")
        return self.change.incident

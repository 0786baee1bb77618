"""What the engine needs from the rooms around it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from receiver.domain.alert import Alert
from receiver.domain.budget import TokenBucket
from receiver.domain.delivery import Delivery, Receipt
from receiver.domain.incident import Incident, IncidentChange, TimelineEvent
from receiver.domain.notification import Notification
from receiver.domain.person import OnCallPerson
from receiver.domain.policy import EscalationPolicy, Responder
from receiver.domain.route import Route
from receiver.domain.runbook import Excerpt
from receiver.domain.severity import SeverityWords


class Channel(Protocol):
    """Reaches targets of one kind."""

    def send(self, notification: Notification) -> Receipt:
        """Deliver and return the receipt; raises a DeliveryError. Never sleeps to retry."""
        ...

    def find_receipt(self, notification: Notification, since: float) -> Receipt | None:
        """Return the receipt of an earlier attempt (begun at *since*) that did arrive, if any.

        None when it did not, or when that can't be told; then it is sent (again).
        """
        ...


class Runbooks(Protocol):
    """Finds the runbook's words for an alert."""

    def find_excerpt(self, alert: Alert) -> Excerpt | None: ...


class OnCallLookup(Protocol):
    """Knows who has the pager now."""

    def list_on_call(self, responder: Responder) -> Sequence[OnCallPerson]:
        """Return them, empty where nobody is known. Never raises, and answers within 2 s."""
        ...


class RoutingTable(Protocol):
    """What of the configuration decides over an incident."""

    @property
    def flap_window(self) -> float: ...
    @property
    def flap_count(self) -> int: ...
    @property
    def routes(self) -> tuple[Route, ...]: ...
    @property
    def responders(self) -> Mapping[str, Responder]: ...
    @property
    def alertmanagers(self) -> Mapping[str, object]: ...
    @property
    def severities(self) -> SeverityWords: ...
    @property
    def can_check_pagerduty(self) -> bool: ...
    @property
    def secret_digests(self) -> Mapping[str, str]: ...
    def find_route(self, labels: Mapping[str, str]) -> Route: ...
    def get_policy(self, name: str) -> EscalationPolicy: ...


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


@dataclass(frozen=True)
class OwnerReading:
    """What slots hold, and the homes of alerts by (neighbourhood, fingerprint) where they have one.

    *fault* says that homes on some servers could not be read.
    """

    loaded: Mapping[str, VersionedIncident]
    owners: Mapping[tuple[str, str], AlertOwner]
    fault: Exception | None = None


@dataclass(frozen=True)
class UpdateRefusal:
    """Why a change was not written: its group had changed since, or alerts of it are at home elsewhere.

    Then *owners* says where, and *loaded* is what these slots hold.
    """

    owners: Mapping[str, AlertOwner] = field(default_factory=dict)
    loaded: Mapping[str, VersionedIncident] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Claims:
    """What was lent, and the next moment to look for more (None: nothing is waiting)."""

    incidents: tuple[str, ...]
    next_check_at: float | None


class Incidents(Protocol):
    """Keeps incidents; every method may raise StoreError."""

    def load_latest(self, group_ids: Sequence[str]) -> list[VersionedIncident]: ...

    def commit(self, updates: Sequence[IncidentUpdate]) -> list[bool]:
        """Keep each change; False where it was refused."""
        ...

    def try_commit(self, updates: Sequence[IncidentUpdate]) -> list[UpdateRefusal | None]:
        """Keep each change, and say why it was refused where it was."""
        ...

    def save_reworded(self, updates: Sequence[IncidentUpdate]) -> list[bool]:
        """Keep the newer words that each change holds, without a new version and without waking a worker;
        False where the group had changed since it was read.
        """
        ...

    @property
    def is_divided(self) -> bool:
        """Whether neighbours may lie on several servers.

        Then `try_commit` does not know where alerts are at home, and they have to be claimed first.
        """
        ...

    def find_owners(self, group_ids: Sequence[str], claims: Sequence[Claim]) -> OwnerReading:
        """Make *claims*, and read *group_ids*, in one round trip.

        Where the store is not divided it only tells homes, and reads the slots of these as well.
        """
        ...

    def load(self, incident_id: str) -> Incident:
        """Return the incident with its alerts and deliveries; else NotFound."""
        ...

    def drop_compacted(self, incident_id: str) -> None:
        """Drop what is kept of alerts that the incident has forgotten."""
        ...

    def record_delivery(
        self,
        incident_id: str,
        key: str,
        delivery: Delivery,
        *,
        worker: str = "",
        queue: str = "",
        events: Iterable[TimelineEvent] = (),
        wake: Iterable[str] = (),
        due: float = 0.0,
    ) -> None:
        """Keep how a delivery stands; with a *worker*, ClaimLost when it no longer has the incident."""
        ...


@dataclass(frozen=True)
class Permit:
    """Whether to go: a token was taken where *wait_s* is 0, else ask again after so many seconds.

    *firsts_wait_s* is how long a first message or page that came now would wait for those before it; a pause
    is not counted.
    """

    retry_after_s: float = 0.0
    initial_wait_s: float = 0.0


class TokenBuckets(Protocol):
    """Shares what a vendor takes among all that want to call it; every method may raise StoreError."""

    def acquire(
        self, bucket: TokenBucket, who: str, priority_at: float, now: float, *, is_initial: bool
    ) -> Permit:
        """Take a token where it is *who*'s turn. Who has to wait keeps its place by asking again."""
        ...

    def pause(self, bucket: TokenBucket, until: float) -> None:
        """Let nobody go before *until*: the vendor said so."""
        ...

    def list_waiters(self, bucket: TokenBucket) -> list[str]:
        """Return who waits for a first message or page."""
        ...


class LeaseQueue(Protocol):
    """Lends incidents that are due; every method may raise StoreError."""

    def claim(self, queue: str, worker: str, now: float, count: int) -> Claims: ...
    def renew(self, queue: str, worker: str, incidents: Sequence[str], now: float) -> None: ...
    def expire_leases(self, queue: str, worker: str, in_progress: Sequence[str], at: float) -> None: ...
    def release(
        self, queue: str, worker: str, incident_id: str, dues: Mapping[str, float | None]
    ) -> bool: ...
    def listen(self) -> Iterator[tuple[str, float] | None]: ...
    def enqueue(self, queue: str, incident_id: str, due: float) -> None: ...
    def reschedule_all(self, queue: str, now: float) -> None: ...
    def enqueue_if_absent(self, queue: str, incident_id: str, due: float) -> None: ...
    def heartbeat(self, worker: str, now: float) -> float: ...
    def deregister(self, worker: str) -> None: ...

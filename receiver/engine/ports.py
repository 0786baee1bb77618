"""Protocols of what the worker, the reconciler and the dispatcher call in packages above or beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from receiver.engine.notification import Notification
from receiver.engine.queue import Claims
from receiver.engine.rate_limit import Permit
from receiver.model.actions import Action, CheckPage
from receiver.model.alert import Alert
from receiver.model.delivery import Delivery, Receipt
from receiver.model.incident import Incident, IncidentUpdate, OnCallPerson, TimelineEvent, VersionedIncident
from receiver.model.owners import AlertOwner, Claim
from receiver.model.page_check import PagerDutyStatus
from receiver.model.routing import EscalationPolicy, Responder
from receiver.runbooks.model import Excerpt


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


class Reconciles(Protocol):
    """Does what is missing for one entry of a work queue."""

    def reconcile(self, incident_id: str, queue: str, worker: str) -> dict[str, float | None]:
        """Do it; return by queue when the entry is due again. Raises StoreError, ClaimLost."""
        ...


class Bundler(Protocol):
    """Bundles what cannot be sent one by one in time."""

    def maybe_start(
        self,
        permit: Permit,
        waiting_list: Callable[[], Sequence[str]],
        action: Action,
        incident: Incident,
        now: float,
    ) -> bool:
        """Start a bundle where *permit* shows that too much waits; True where it announces *action* now."""
        ...

    def bundle(
        self, action: Action, incident: Incident, policy: EscalationPolicy, now: float, worker: str
    ) -> Delivery | None:
        """Return the delivery of *action* in a bundle; None where it is to be sent by itself."""
        ...


class StatusCheck(Protocol):
    """Asks Alertmanager before an escalation step whether the incident's alerts still fire."""

    def check_for_step(self, incident_id: str, source: str, since: float) -> None:
        """Record the answer on the incident. Raises StoreError."""
        ...


class PageAcknowledgementCheck(Protocol):
    """Asks the pager before an escalation step whether a page was acknowledged."""

    def check_pages(self, incident: Incident, responders: Sequence[Responder]) -> None:
        """Record the answer on the incident. Raises StoreError."""
        ...


class PageCheck(Protocol):
    """Asks the pager what became of an event that it accepted."""

    def check_page(self, action: CheckPage, incident: Incident, worker: str) -> None:
        """Record the answer in the event's delivery. Raises StoreError, ClaimLost."""
        ...


class PageStatuses(Protocol):
    """Asks the pager for the incidents under dedup keys."""

    def find_statuses(self, keys: Sequence[str]) -> Mapping[str, Sequence[PagerDutyStatus]]:
        """Return them by key. Raises DeliveryError."""
        ...


class Runbooks(Protocol):
    """Finds the runbook's words for an alert."""

    def find_excerpt(self, alert: Alert) -> Excerpt | None: ...


class OnCallLookup(Protocol):
    """Knows who has the pager now."""

    def list_on_call(self, responder: Responder) -> Sequence[OnCallPerson]:
        """Return them, empty where nobody is known. Never raises, and answers within 2 s."""
        ...


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


class Notices(Protocol):
    """Keeps notices until they are posted."""

    def save_notice(
        self,
        notice_id: str,
        text: str,
        now: float,
        *,
        about: str = "",
        every: float = 0.0,
        count: int = 1,
    ) -> bool:
        """Keep a notice and have it posted; False where one of that *notice_id* was said before.

        With *every*, it may be said again after so many seconds. Raises StoreError.
        """
        ...

"""What the engine needs from the rooms around it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from receiver.domain.alert import Alert
from receiver.domain.budget import Bucket
from receiver.domain.delivery import Delivery, Receipt
from receiver.domain.incident import Change, Event, Incident
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

    def find(self, notification: Notification, since: float) -> Receipt | None:
        """Return the receipt of an earlier attempt (begun at *since*) that did arrive, if any.

        None when it did not, or when that can't be told; then it is sent (again).
        """
        ...


class Runbooks(Protocol):
    """Finds the runbook's words for an alert."""

    def find_excerpt(self, alert: Alert) -> Excerpt | None: ...


class OnCall(Protocol):
    """Knows who has the pager now."""

    def find(self, responder: Responder) -> Sequence[OnCallPerson]:
        """Return them, empty where nobody is known. Never raises, and answers within 2 s."""
        ...


class Rules(Protocol):
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
    def can_ask_pager(self) -> bool: ...
    @property
    def digests(self) -> Mapping[str, str]: ...
    def find_route(self, labels: Mapping[str, str]) -> Route: ...
    def get_policy(self, name: str) -> EscalationPolicy: ...


@dataclass(frozen=True)
class Held:
    """A group's latest incident as read, and the version that a change of it must find.

    *read_at_ms* is set by a divided store: when it was read, by the clock of its server.
    """

    slot: str
    incident: Incident | None
    version: int
    read_at_ms: int = 0


@dataclass(frozen=True)
class Home:
    """The slot that has an alert, as the store knows it; its incident says whether that is still so.

    A divided store adds *mark*, which names this very claim, and *age_s*, how long ago it was made.
    """

    slot: str
    mark: str = ""
    age_s: float = math.inf


@dataclass(frozen=True)
class Claim:
    """An alert, and the *slot* that it is to be claimed for, if it is free or its mark is *former*.

    Without a slot only its home is asked for.
    """

    neighbourhood: str
    fingerprint: str
    slot: str = ""
    former: str = ""


@dataclass(frozen=True)
class Reading:
    """What slots hold, and the homes of alerts by (neighbourhood, fingerprint) where they have one.

    *fault* says that homes on some servers could not be read.
    """

    held: Mapping[str, Held]
    homes: Mapping[tuple[str, str], Home]
    fault: Exception | None = None


@dataclass(frozen=True)
class Refusal:
    """Why a change was not written: its group had changed since, or alerts of it are at home elsewhere.

    Then *homes* says where, and *held* is what these slots hold.
    """

    homes: Mapping[str, Home] = field(default_factory=dict)
    held: Mapping[str, Held] = field(default_factory=dict)


@dataclass(frozen=True)
class Write:
    """A change to be kept: what was read, how it stands now, and which lanes are to look at it.

    *is_news* says that it came from outside, and may wait a little for what is due. *left* is by fingerprint
    what the homes hold that alerts have left: they are taken over if that has not changed since.
    """

    held: Held
    change: Change
    lanes: tuple[str, ...]
    due: float
    is_news: bool = False
    left: Mapping[str, Held] = field(default_factory=dict)


@dataclass(frozen=True)
class Claims:
    """What was lent, and the next moment to look for more (None: nothing is waiting)."""

    incidents: tuple[str, ...]
    look_at: float | None


class Incidents(Protocol):
    """Keeps incidents; every method may raise StoreError."""

    def read(self, slots: Sequence[str]) -> list[Held]: ...

    def commit(self, writes: Sequence[Write]) -> list[bool]:
        """Keep each change; False where it was refused."""
        ...

    def try_commit(self, writes: Sequence[Write]) -> list[Refusal | None]:
        """Keep each change, and say why it was refused where it was."""
        ...

    def reword(self, writes: Sequence[Write]) -> list[bool]:
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

    def find_homes(self, slots: Sequence[str], claims: Sequence[Claim]) -> Reading:
        """Make *claims*, and read *slots*, in one round trip.

        Where the store is not divided it only tells homes, and reads the slots of these as well.
        """
        ...

    def load(self, incident_id: str) -> Incident:
        """Return the incident with its alerts and deliveries; else NotFound."""
        ...

    def tidy(self, incident_id: str) -> None:
        """Drop what is kept of alerts that the incident has forgotten."""
        ...

    def record(
        self,
        incident_id: str,
        key: str,
        delivery: Delivery,
        *,
        worker: str = "",
        lane: str = "",
        events: Iterable[Event] = (),
        wake: Iterable[str] = (),
        due: float = 0.0,
    ) -> None:
        """Keep how a delivery stands; with a *worker*, ClaimLost when it no longer has the incident."""
        ...


@dataclass(frozen=True)
class Turn:
    """Whether to go: a token was taken where *wait_s* is 0, else ask again after so many seconds.

    *firsts_wait_s* is how long a first message or page that came now would wait for those before it; a pause
    is not counted.
    """

    wait_s: float = 0.0
    firsts_wait_s: float = 0.0


class Budgets(Protocol):
    """Shares what a vendor takes among all that want to call it; every method may raise StoreError."""

    def take(self, bucket: Bucket, who: str, rank_at: float, now: float, *, is_first: bool) -> Turn:
        """Take a token where it is *who*'s turn. Who has to wait keeps its place by asking again."""
        ...

    def pause(self, bucket: Bucket, until: float) -> None:
        """Let nobody go before *until*: the vendor said so."""
        ...

    def waiting(self, bucket: Bucket) -> list[str]:
        """Return who waits for a first message or page."""
        ...


class Agenda(Protocol):
    """Lends incidents that are due; every method may raise StoreError."""

    def claim(self, lane: str, worker: str, now: float, count: int) -> Claims: ...
    def renew(self, lane: str, worker: str, incidents: Sequence[str], now: float) -> None: ...
    def end_loans(self, lane: str, worker: str, at_work: Sequence[str], at: float) -> None: ...
    def release(self, lane: str, worker: str, incident_id: str, dues: Mapping[str, float | None]) -> bool: ...
    def listen(self) -> Iterator[tuple[str, float] | None]: ...
    def put(self, lane: str, incident_id: str, due: float) -> None: ...
    def look_at_all(self, lane: str, now: float) -> None: ...
    def put_missing(self, lane: str, incident_id: str, due: float) -> None: ...
    def beat(self, worker: str, now: float) -> float: ...
    def leave(self, worker: str) -> None: ...

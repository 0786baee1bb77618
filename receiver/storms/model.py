"""Storms: a place where more new incidents arrive than can be said one by one, and what it counts.

A place is a channel or a responder. While a storm is on there, what an incident would say at it is
*folded*: the incident becomes a member of the storm, and the storm's one message or page is the receipt
of all of them. State, timers and answers stay each incident's own.

Members are counted in waves. A page tells one wave; once that wave is acknowledged or over, whoever joins
is of the next one, which has a page of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from zlib import crc32

from msgspec import Struct

from receiver.model.actions import Action
from receiver.model.alert import Severity
from receiver.model.delivery import STORM, Delivery, Receipt
from receiver.model.incident import Incident, Person, to_base32
from receiver.model.routing import PAGERDUTY, SLACK
from receiver.model.transitions import AT_ONCE_S

CHANNEL = "channel"
RESPONDER = "responder"
# A storm with as many takes no more: the place gets another one, so none is left uncounted, and one look
# at all of them stays short.
MAX_MEMBERS = 5000
# A mention covers those who reach its step this long after it, as a page those who join while it is open.
# And this long lies between two pages of one storm.
BATCH_PAUSE_S = 120.0
_MAX_NEWEST = 5
_PAGE_DELAYED = "#page_delayed"


class Member(Struct, frozen=True, array_like=True):
    """An incident that the storm speaks for. *instance* is which of its notifications was folded."""

    joined_at: float
    batch: int = 1
    instance: str = ""


class StormResponse(Struct, frozen=True, array_like=True):
    """Somebody answered the storm: `acknowledge` or `resolve`, for all it counted in waves up to *batch*.

    An acknowledgement that is given again takes the place of the one before; *previous_by* is who gave that.
    """

    transition: str
    batch: int
    by: Person
    at: float
    previous_by: str = ""

    @property
    def key(self) -> str:
        """The delivery key under which it is kept that all members have heard of it."""
        return f"response:{self.transition}:{self.batch}"

    @property
    def instance(self) -> str:
        """Which instance of it that is about."""
        return f"{self.at:.3f}"


def may_renew(response: StormResponse, now: float) -> bool:
    """Tell whether the same answer at *now* is a new one: not that of a double click."""
    return response.transition == "acknowledge" and abs(now - response.at) >= AT_ONCE_S


class Storm(Struct, frozen=True, omit_defaults=True):
    """A storm as it stands; its members are kept apart.

    *closed_batch* is the last wave that nobody joins any more. *released* are the incidents that had
    their own message when the storm was over.
    """

    id: str
    target_key: str
    began_at: float
    is_of_steps: bool = False  # it began with a further step of incidents that were folded before
    closed_batch: int = 0
    responses: tuple[StormResponse, ...] = ()
    ended_at: float = 0.0  # nobody joins any more
    released: tuple[str, ...] = ()
    resolved_at: float = 0.0  # all its members are resolved, and everything about it is said
    deliveries: dict[str, Delivery] = {}

    @property
    def is_active(self) -> bool:
        return self.ended_at == 0.0

    @property
    def current_batch(self) -> int:
        """The wave that whoever joins now is of."""
        return self.closed_batch + 1

    @property
    def name(self) -> str:
        """Where it is, as people read it: `#alerts-critical` or `on-call`."""
        return self.target_key.partition(":")[2]

    @property
    def is_of_channel(self) -> bool:
        return self.target_key.startswith(f"{CHANNEL}:")

    @property
    def queue(self) -> str:
        return SLACK if self.is_of_channel else PAGERDUTY

    @property
    def acknowledgement(self) -> StormResponse | None:
        """The last acknowledgement of all it counts, if there was one."""
        return next((one for one in reversed(self.responses) if one.transition == "acknowledge"), None)

    def acknowledgement_instance(self, batch: int) -> str:
        """Return which acknowledgement of a wave its page is to show; empty where its members were answered
        one by one.
        """
        return next(
            (
                one.instance
                for one in reversed(self.responses)
                if one.transition == "acknowledge" and one.batch >= batch
            ),
            "",
        )

    def find_notifying_delivery(self, name: str, member: Member) -> Delivery:
        """Return the delivery whose arrival tells *member*: the message, a wave's page, a step's mention."""
        step = parse_member_name(name)[1]
        if not self.is_of_channel:
            return self.deliveries.get(page_key(member.batch), Delivery())
        if not step:
            return self.deliveries.get("root", Delivery())
        mention = self.deliveries.get(mention_key(step), Delivery())
        return mention if covers(mention, member) else Delivery()


@dataclass(frozen=True)
class VersionedStorm:
    """A storm as read, with its members, and what a change of it must find."""

    storm: Storm
    version: int
    joins: int  # how often somebody joined
    members: Mapping[str, Member]


@dataclass(frozen=True)
class JoinView:
    """A storm as somebody finds it who wants to join: how many it has, and the member they are already."""

    storm: Storm
    version: int
    member_count: int
    member: Member | None


@dataclass(frozen=True)
class MemberState:
    """A member as its incident stands. *incident* is None when it is gone, which counts as resolved."""

    id: str
    member: Member
    incident: Incident | None

    @property
    def state(self) -> str:
        return self.incident.state if self.incident is not None else "resolved"

    @property
    def is_resolved(self) -> bool:
        return self.state == "resolved"

    @property
    def is_open(self) -> bool:
        """It fires, and nobody has it."""
        return self.state == "open"


@dataclass(frozen=True)
class StormSummary:
    """A storm's members in numbers; the names are strangers' words."""

    total: int
    open: int
    acknowledged: int
    resolved: int
    severity: Severity  # the worst of what is not resolved, or of all
    severities: tuple[tuple[Severity, int], ...]
    names: tuple[tuple[str, int], ...]  # by how many there are
    acknowledged_by: tuple[tuple[str, int], ...]  # who has what is acknowledged, by how much
    channels: tuple[str, ...]
    newest: tuple[Incident, ...]

    @property
    def content_version(self) -> str:
        """A short text that differs whenever the numbers do."""
        newest = self.newest[0].id if self.newest else ""
        acknowledged_by = crc32(repr(self.acknowledged_by).encode())
        return f"{self.total}.{self.open}.{self.acknowledged}.{self.resolved}.{newest}.{acknowledged_by}"


def load_member_states(loaded: VersionedStorm, heads: Mapping[str, Incident]) -> list[MemberState]:
    """Return every member of a storm as its incident, one of *heads*, stands."""
    return [
        MemberState(name, one, heads.get(parse_member_name(name)[0])) for name, one in loaded.members.items()
    ]


def list_incident_ids(loaded: VersionedStorm) -> list[str]:
    """Return the incidents that a storm speaks for, each once."""
    return sorted({parse_member_name(name)[0] for name in loaded.members})


def split_members(states: Iterable[MemberState]) -> tuple[list[MemberState], list[tuple[str, MemberState]]]:
    """Return those the storm speaks for, and those that reached a step, each with the step's name."""
    own, mentioned = [], []
    for one in states:
        step = parse_member_name(one.id)[1]
        if step:
            mentioned.append((step, one))
        else:
            own.append(one)
    return own, mentioned


def list_counted_members(states: Iterable[MemberState]) -> list[MemberState]:
    """Return those whom a storm's message counts: those it speaks for; where it speaks for none, as in a
    fallback channel, each that is mentioned in its thread.
    """
    own, mentioned = split_members(states)
    return own or list({parse_member_name(one.id)[0]: one for _, one in mentioned}.values())


def summarize_storm(members: Iterable[MemberState]) -> StormSummary:
    """Return the numbers of *members*."""
    states = list(members)
    state_counts = Counter(one.state for one in states)
    incidents = [one.incident for one in states if one.incident is not None]
    alive = [one for one in incidents if not one.is_resolved] or incidents
    severities = Counter(one.severity for one in incidents)
    names = Counter(one.alertname for one in incidents)
    acknowledged_by = Counter(one.acknowledged_by for one in incidents if one.state == "acknowledged")
    return StormSummary(
        total=len(states),
        open=state_counts["open"],
        acknowledged=state_counts["acknowledged"],
        resolved=state_counts["resolved"],
        severity=max((one.severity for one in alive), key=lambda s: s.rank, default=Severity.NONE),
        severities=tuple(sorted(severities.items(), key=lambda pair: -pair[0].rank)),
        names=_sort_by_number(names),
        acknowledged_by=_sort_by_number(acknowledged_by),
        channels=tuple(sorted({one.channel for one in incidents})),
        newest=tuple(sorted(incidents, key=lambda one: (-one.opened_at, one.id))[:_MAX_NEWEST]),
    )


def _sort_by_number(counter: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counter.items(), key=lambda pair: (-pair[1], pair[0])))


def covers(mention: Delivery, member: Member) -> bool:
    """Tell whether a step's *mention* that was made (or given up) tells *member*, too."""
    at = mention.receipt.at if mention.receipt is not None else mention.failed_at
    return mention.is_settled and member.joined_at <= at + BATCH_PAUSE_S


def page_key(batch: int) -> str:
    return f"page:{batch}"


def hint_key(batch: int) -> str:
    """Return the key of what a webhook told of a wave's page that no person resolved in PagerDuty."""
    return f"hint:{batch}"


def mention_key(step: str) -> str:
    return f"step:{step}"


def page_delayed_step(step: str) -> str:
    """Return the name under which members are mentioned whose page for *step* PagerDuty has not taken."""
    return f"{step}{_PAGE_DELAYED}"


def is_page_delayed(step: str) -> bool:
    return step.endswith(_PAGE_DELAYED)


def member_name(incident_id: str, step: str = "") -> str:
    """Return the name of a member: the incident's, and the step's where it reached one that is mentioned."""
    return f"{incident_id} {step}".rstrip()


def parse_member_name(name: str) -> tuple[str, str]:
    """Return the incident and the step of a member's name."""
    incident_id, _, step = name.partition(" ")
    return incident_id, step


def find_storm_of(deliveries: Mapping[str, Delivery]) -> str:
    """Return the storm that speaks for an incident with these *deliveries*, empty where none does."""
    keys = ("root", *sorted(key for key in deliveries if key.startswith("page:")))
    return next((deliveries[key].storm for key in keys if key in deliveries and deliveries[key].storm), "")


def channel_target_key(address: str) -> str:
    return f"{CHANNEL}:{address}"


def responder_target_key(name: str) -> str:
    return f"{RESPONDER}:{name}"


def new_storm_id(target_key: str, began_at: float) -> str:
    """Return the id of a storm that begins at *target_key* now: `storm-` and a word that sorts by time."""
    digest = hashlib.sha256(target_key.encode("utf-8", "replace")).digest()
    return STORM + to_base32(int(began_at * 1000), 9) + to_base32(int.from_bytes(digest[:4], "big") >> 2, 6)


def storm_dedup_key(storm_id: str, batch: int) -> str:
    """Return the name under which PagerDuty knows the page of a wave."""
    return f"receiver-{storm_id}-{batch}"


def parse_storm_dedup_key(key: str) -> tuple[str, int] | None:
    """Return the storm and the wave of a page of ours, None for any other key."""
    match = re.fullmatch(r"receiver-(storm-[0-9a-z]{15})-([0-9]{1,6})", key, re.ASCII)
    return (match[1], int(match[2])) if match else None


@dataclass(frozen=True)
class BatchPage:
    """The page of one wave of a storm."""

    storm: Storm
    batch: int

    @property
    def key(self) -> str:
        """The name by which PagerDuty knows it."""
        return storm_dedup_key(self.storm.id, self.batch)

    @property
    def may_be_open(self) -> bool:
        """Tell whether PagerDuty may have it."""
        return self._delivery.may_have_arrived

    @property
    def sent_at(self) -> float:
        return self._delivery.first_attempt_at

    @property
    def response(self) -> StormResponse | None:
        """The last answer that was given for all it counts."""
        return next((one for one in reversed(self.storm.responses) if one.batch >= self.batch), None)

    @property
    def former_until(self) -> float:
        """Until when something may have been about another page: never, for each has its own key."""
        return 0.0

    @property
    def _delivery(self) -> Delivery:
        return self.storm.deliveries.get(page_key(self.batch), Delivery())


@dataclass(frozen=True)
class StormNotification:
    """One message about a storm, with everything its words are made of.

    *summary* counts those the action is about: all members, those open in a page's wave, or all open.
    *without_message* counts, by name, what still fires without a message of its own once the storm is over.
    """

    action: Action
    storm: Storm
    summary: StormSummary
    now: float
    public_url: str = ""
    without_message: tuple[tuple[str, int], ...] = field(default=())


class StormChannel(Protocol):
    """Says what a storm has to say. Raises a DeliveryError; never sleeps to retry."""

    def send_storm(self, notification: StormNotification) -> Receipt: ...

    def find_storm(self, notification: StormNotification, since: float) -> Receipt | None:
        """Return the receipt of an earlier attempt (begun at *since*) that did arrive, if any."""
        ...


class StormRepository(Protocol):
    """Keeps storms; every method may raise StoreError."""

    def start_storm(self, storm: Storm, replacing: str, due: float) -> str:
        """Keep a storm that begins, and return the one that is on at its place: this one, unless there
        is one already other than *replacing*.
        """
        ...

    def find_active(self, target_key: str) -> str:
        """Return the storm that is on at *target_key*, empty where none is."""
        ...

    def load_storm(self, storm_id: str) -> VersionedStorm:
        """Return the storm with its members; else NotFound."""
        ...

    def load_for_join(self, storm_id: str, name: str) -> JoinView | None:
        """Return the storm as the member *name* finds it; None when it is gone."""
        ...

    def load_active_for_join(self, target_key: str, name: str) -> tuple[str, JoinView | None]:
        """Return the storm that is on at *target_key*, empty where none is, and how *name* finds it."""
        ...

    def add_member(self, join_view: JoinView, name: str, member: Member, due: float | None) -> bool:
        """Add a member, and have the storm look at itself at *due*; False where it changed meanwhile."""
        ...

    def save_if_unchanged(
        self, loaded: VersionedStorm, storm: Storm, *, due: float | None = None, if_none_joined: bool = False
    ) -> bool:
        """Keep how the storm stands now; False where it changed since *loaded* was read, or, if asked,
        where somebody joined.
        """
        ...

    def list_unresolved(self) -> list[Storm]:
        """Return the storms that are not resolved, newest first."""
        ...


class IncidentHeads(Protocol):
    """Where members are looked up; may raise StoreError."""

    def load_heads(self, ids: Sequence[str]) -> Mapping[str, Incident]:
        """Return the incidents that are kept, without alerts and deliveries."""
        ...

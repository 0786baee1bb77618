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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zlib import crc32

from msgspec import Struct

from receiver.domain.alert import Severity
from receiver.domain.answers import AT_ONCE_S
from receiver.domain.delivery import STORM, Delivery
from receiver.domain.incident import Incident, to_base32
from receiver.domain.person import Person
from receiver.domain.policy import PAGERDUTY, SLACK

CHANNEL = "channel"
RESPONDER = "responder"
# A storm with as many takes no more: the place gets another one, so none is left uncounted, and one look
# at all of them stays short.
MAX_MEMBERS = 5000
# A mention covers those who reach its step this long after it, as a page those who join while it is open.
# And this long lies between two pages of one storm.
WAVE_PAUSE_S = 120.0
_MAX_NEWEST = 5
_UNREACHED = "#unreached"


class Member(Struct, frozen=True, array_like=True):
    """An incident that the storm speaks for. *about* is which of its notifications was folded."""

    joined_at: float
    wave: int = 1
    about: str = ""


class StormAnswer(Struct, frozen=True, array_like=True):
    """Somebody answered the storm: `acknowledge` or `resolve`, for all it counted in waves up to *wave*.

    An acknowledgement that is given again takes the place of the one before; *former* is who gave that.
    """

    what: str
    wave: int
    by: Person
    at: float
    former: str = ""

    @property
    def key(self) -> str:
        """The delivery key under which it is kept that all members have heard of it."""
        return f"answer:{self.what}:{self.wave}"

    @property
    def about(self) -> str:
        """Which instance of it that is about."""
        return f"{self.at:.3f}"


def may_renew(answer: StormAnswer, now: float) -> bool:
    """Tell whether the same answer at *now* is a new one: not that of a double click."""
    return answer.what == "acknowledge" and abs(now - answer.at) >= AT_ONCE_S


class Storm(Struct, frozen=True, omit_defaults=True):
    """A storm as it stands; its members are kept apart.

    *closed* is the last wave that nobody joins any more. *left* are the incidents that had their own
    message when the storm was over.
    """

    id: str
    place: str
    began_at: float
    is_of_steps: bool = False  # it began with a further step of incidents that were folded before
    closed: int = 0
    answers: tuple[StormAnswer, ...] = ()
    ended_at: float = 0.0  # nobody joins any more
    left: tuple[str, ...] = ()
    resolved_at: float = 0.0  # all its members are resolved, and everything about it is said
    deliveries: dict[str, Delivery] = {}

    @property
    def is_on(self) -> bool:
        return self.ended_at == 0.0

    @property
    def wave(self) -> int:
        """The wave that whoever joins now is of."""
        return self.closed + 1

    @property
    def name(self) -> str:
        """Where it is, as people read it: `#alerts-critical` or `on-call`."""
        return self.place.partition(":")[2]

    @property
    def is_of_channel(self) -> bool:
        return self.place.startswith(f"{CHANNEL}:")

    @property
    def queue(self) -> str:
        return SLACK if self.is_of_channel else PAGERDUTY

    @property
    def acknowledged(self) -> StormAnswer | None:
        """The last acknowledgement of all it counts, if there was one."""
        return next((one for one in reversed(self.answers) if one.what == "acknowledge"), None)

    def acknowledged_about(self, wave: int) -> str:
        """Return which acknowledgement of a wave its page is to show; empty where its members were answered
        one by one.
        """
        return next(
            (one.about for one in reversed(self.answers) if one.what == "acknowledge" and one.wave >= wave),
            "",
        )

    def find_telling(self, field: str, member: Member) -> Delivery:
        """Return the delivery whose arrival tells *member*: the message, a wave's page, a step's mention."""
        step = parse_field(field)[1]
        if not self.is_of_channel:
            return self.deliveries.get(page_key(member.wave), Delivery())
        if not step:
            return self.deliveries.get("root", Delivery())
        mention = self.deliveries.get(mention_key(step), Delivery())
        return mention if covers(mention, member) else Delivery()


@dataclass(frozen=True)
class HeldStorm:
    """A storm as read, with its members, and what a change of it must find."""

    storm: Storm
    version: int
    joins: int  # how often somebody joined
    members: Mapping[str, Member]


@dataclass(frozen=True)
class Door:
    """A storm as somebody finds it who wants to join: how many it has, and the member they are already."""

    storm: Storm
    version: int
    count: int
    member: Member | None


@dataclass(frozen=True)
class Counted:
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
class Tally:
    """A storm's members in numbers; the names are strangers' words."""

    total: int
    open: int
    acknowledged: int
    resolved: int
    severity: Severity  # the worst of what is not resolved, or of all
    severities: tuple[tuple[Severity, int], ...]
    names: tuple[tuple[str, int], ...]  # by how many there are
    takers: tuple[tuple[str, int], ...]  # who has what is acknowledged, by how much
    channels: tuple[str, ...]
    newest: tuple[Incident, ...]

    @property
    def face(self) -> str:
        """A short text that differs whenever the numbers do."""
        newest = self.newest[0].id if self.newest else ""
        takers = crc32(repr(self.takers).encode())
        return f"{self.total}.{self.open}.{self.acknowledged}.{self.resolved}.{newest}.{takers}"


def take_census(held: HeldStorm, heads: Mapping[str, Incident]) -> list[Counted]:
    """Return every member of a storm as its incident, one of *heads*, stands."""
    return [Counted(name, one, heads.get(parse_field(name)[0])) for name, one in held.members.items()]


def list_incident_ids(held: HeldStorm) -> list[str]:
    """Return the incidents that a storm speaks for, each once."""
    return sorted({parse_field(name)[0] for name in held.members})


def split_members(counted: Iterable[Counted]) -> tuple[list[Counted], list[tuple[str, Counted]]]:
    """Return those the storm speaks for, and those that reached a step, each with the step's name."""
    spoken_for, mentioned = [], []
    for one in counted:
        step = parse_field(one.id)[1]
        if step:
            mentioned.append((step, one))
        else:
            spoken_for.append(one)
    return spoken_for, mentioned


def find_counted(counted: Iterable[Counted]) -> list[Counted]:
    """Return those whom a storm's message counts: those it speaks for; where it speaks for none, as in a
    fallback channel, each that is mentioned in its thread.
    """
    spoken_for, mentioned = split_members(counted)
    return spoken_for or list({parse_field(one.id)[0]: one for _, one in mentioned}.values())


def count(members: Iterable[Counted]) -> Tally:
    """Return the numbers of *members*."""
    counted = list(members)
    states = Counter(one.state for one in counted)
    incidents = [one.incident for one in counted if one.incident is not None]
    alive = [one for one in incidents if not one.is_resolved] or incidents
    severities = Counter(one.severity for one in incidents)
    names = Counter(one.alertname for one in incidents)
    takers = Counter(one.acknowledged_by for one in incidents if one.state == "acknowledged")
    return Tally(
        total=len(counted),
        open=states["open"],
        acknowledged=states["acknowledged"],
        resolved=states["resolved"],
        severity=max((one.severity for one in alive), key=lambda s: s.rank, default=Severity.NONE),
        severities=tuple(sorted(severities.items(), key=lambda pair: -pair[0].rank)),
        names=_by_number(names),
        takers=_by_number(takers),
        channels=tuple(sorted({one.channel for one in incidents})),
        newest=tuple(sorted(incidents, key=lambda one: (-one.opened_at, one.id))[:_MAX_NEWEST]),
    )


def _by_number(counter: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counter.items(), key=lambda pair: (-pair[1], pair[0])))


def covers(mention: Delivery, member: Member) -> bool:
    """Tell whether a step's *mention* that was made (or given up) tells *member*, too."""
    at = mention.receipt.at if mention.receipt is not None else mention.failed_at
    return mention.is_settled and member.joined_at <= at + WAVE_PAUSE_S


def page_key(wave: int) -> str:
    return f"page:{wave}"


def hint_key(wave: int) -> str:
    """Return the key of what a webhook told of a wave's page that no person resolved in PagerDuty."""
    return f"hint:{wave}"


def mention_key(step: str) -> str:
    return f"step:{step}"


def unreached_step(step: str) -> str:
    """Return the name under which members are mentioned whose page for *step* PagerDuty has not taken."""
    return f"{step}{_UNREACHED}"


def is_unreached(step: str) -> bool:
    return step.endswith(_UNREACHED)


def field_of(incident_id: str, step: str = "") -> str:
    """Return the name of a member: the incident's, and the step's where it reached one that is mentioned."""
    return f"{incident_id} {step}".rstrip()


def parse_field(field: str) -> tuple[str, str]:
    """Return the incident and the step of a member's name."""
    incident_id, _, step = field.partition(" ")
    return incident_id, step


def find_storm_of(deliveries: Mapping[str, Delivery]) -> str:
    """Return the storm that speaks for an incident with these *deliveries*, empty where none does."""
    keys = ("root", *sorted(key for key in deliveries if key.startswith("page:")))
    return next((deliveries[key].storm for key in keys if key in deliveries and deliveries[key].storm), "")


def place_of_channel(address: str) -> str:
    return f"{CHANNEL}:{address}"


def place_of_responder(name: str) -> str:
    return f"{RESPONDER}:{name}"


def is_storm(name: str) -> bool:
    """Tell a storm's id from an incident's."""
    return name.startswith(STORM)


def new_storm_id(place: str, began_at: float) -> str:
    """Return the id of a storm that begins at *place* now: `storm-` and a word that sorts by time."""
    digest = hashlib.sha256(place.encode("utf-8", "replace")).digest()
    return STORM + to_base32(int(began_at * 1000), 9) + to_base32(int.from_bytes(digest[:4], "big") >> 2, 6)


def storm_dedup_key(storm_id: str, wave: int) -> str:
    """Return the name under which PagerDuty knows the page of a wave."""
    return f"receiver-{storm_id}-{wave}"


def parse_storm_dedup_key(key: str) -> tuple[str, int] | None:
    """Return the storm and the wave of a page of ours, None for any other key."""
    match = re.fullmatch(r"receiver-(storm-[0-9a-z]{15})-([0-9]{1,6})", key, re.ASCII)
    return (match[1], int(match[2])) if match else None

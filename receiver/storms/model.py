"""The values of storms: the storm, its members and its responses, its names and keys.

A storm belongs to one target: a channel or a responder. While it is active, the messages or pages of new
incidents for that target are bundled: the incident becomes a member of the storm, and the receipt of the
storm's message or page is the receipt of all members. Each incident keeps its own state, timers and
transitions.

Members are grouped in batches. One page covers one batch; once that batch is acknowledged or resolved, new
members join the next batch, which has its own page.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from receiver.engine.notification import Notification, SubjectId
from receiver.model.actions import Page
from receiver.model.alert import Severity
from receiver.model.delivery import STORM, Delivery
from receiver.model.delivery_keys import MESSAGE, DeliveryKey, is_page_key
from receiver.model.incident import Incident, Person, to_base32
from receiver.model.routing import PAGERDUTY, SLACK
from receiver.model.transitions import AT_ONCE_S

CHANNEL = "channel"
RESPONDER = "responder"
# A storm with this many members accepts no more, and its target gets another storm: every incident is still
# counted, and evaluating all members of one storm stays fast.
MAX_MEMBERS = 5000
# A mention covers members that reach its step up to this long after it, as an open page covers members that
# join its batch. It is also the pause between two pages of one storm.
BATCH_PAUSE_S = 120.0
_MAX_NEWEST = 5
_PAGE_DELAYED = "#page_delayed"


class Member(Struct, frozen=True, array_like=True):
    """An incident in a storm. `instance` identifies its notification that was bundled; `mention` is the
    number of the mention of its step that covers it, 0 without a step.
    """

    joined_at: float
    batch: int = 1
    instance: str = ""
    mention: int = 0


class StormResponse(Struct, frozen=True, array_like=True):
    """A person's response to a storm: `acknowledge` or `resolve`, for all members of batches up to `batch`.

    A renewed acknowledgement replaces the previous one; `previous_by` is the person who gave that one.
    """

    transition: str
    batch: int
    by: Person
    at: float
    previous_by: str = ""

    @property
    def key(self) -> DeliveryKey:
        """The delivery key that records that the response was applied to all members."""
        return DeliveryKey(f"response:{self.transition}:{self.batch}")

    @property
    def instance(self) -> str:
        """The instance of the response under that key, changed by a renewal."""
        return f"{self.at:.3f}"

    def may_renew(self, now: float) -> bool:
        """Return whether a repeated acknowledgement at *now* renews this one, and is not a double click."""
        return self.transition == "acknowledge" and abs(now - self.at) >= AT_ONCE_S


class Storm(Struct, frozen=True, omit_defaults=True):
    """The state of a storm; its members are stored separately.

    `closed_batch` is the last batch that accepts no more members. `released` lists the incidents that get
    their own message when the storm ends.
    """

    id: str
    target_key: str
    began_at: float
    is_of_steps: bool = False  # started by a later escalation step of incidents bundled before
    closed_batch: int = 0
    responses: tuple[StormResponse, ...] = ()
    ended_at: float = 0.0  # no incident joins from then on
    released: tuple[str, ...] = ()
    resolved_at: float = 0.0  # all members are resolved and all deliveries are done
    deliveries: dict[DeliveryKey, Delivery] = {}

    def find_delivery(self, key: DeliveryKey) -> Delivery:
        return self.deliveries.get(key, Delivery())

    def with_delivery(self, key: DeliveryKey, delivery: Delivery) -> Storm:
        return replace(self, deliveries={**self.deliveries, key: delivery})

    @property
    def is_active(self) -> bool:
        return self.ended_at == 0.0

    @property
    def current_batch(self) -> int:
        """The batch that a new member joins."""
        return self.closed_batch + 1

    @property
    def name(self) -> str:
        """The display name of its target: `#alerts-critical` or `on-call`."""
        return self.target_key.partition(":")[2]

    @property
    def is_of_channel(self) -> bool:
        return self.target_key.startswith(f"{CHANNEL}:")

    @property
    def queue(self) -> str:
        return SLACK if self.is_of_channel else PAGERDUTY

    @property
    def acknowledgement(self) -> StormResponse | None:
        """The latest acknowledgement of the storm, if any."""
        return next((one for one in reversed(self.responses) if one.transition == "acknowledge"), None)

    def acknowledgement_instance(self, batch: int) -> str:
        """Return the instance of the acknowledgement that a batch's page shows; empty where the members were
        acknowledged one by one.
        """
        covering = (one for one in reversed(self.responses) if one.batch >= batch)
        return next((one.instance for one in covering if one.transition == "acknowledge"), "")

    def find_mention_number(self, name: str, now: float) -> int:
        """Return the number of the mention that covers a member *name* that joins at *now*: the one in
        progress, or sent (or failed for good) a short while ago; else the next one. 0 without a step.

        It is stored with the member: later, after the clock was set, their times could not be compared.
        """
        if not (step := parse_member_name(name)[1]):
            return 0
        mention = self.find_delivery(mention_key(step))
        number = int(mention.instance or 0)
        at = mention.receipt.at if mention.receipt is not None else mention.failed_at
        is_over = mention.is_settled and abs(now - at) > BATCH_PAUSE_S
        return number + 1 if is_over or not number else number

    def find_notifying_delivery(self, name: str, member: Member) -> Delivery:
        """Return the delivery that notifies *member*: the message, its batch's page or its step's mention."""
        step = parse_member_name(name)[1]
        if not self.is_of_channel:
            return self.find_delivery(page_key(member.batch))
        if not step:
            return self.find_delivery(MESSAGE)
        mention = self.find_delivery(mention_key(step))
        return mention if covers(mention, member) else Delivery()


@dataclass(frozen=True)
class MemberState:
    """A member with its incident. `incident` is None when it no longer exists, which counts as resolved."""

    name: str
    member: Member
    incident: Incident | None

    @property
    def incident_id(self) -> str:
        return parse_member_name(self.name)[0]

    @property
    def step(self) -> str:
        """The escalation step that the storm's thread mentions for it; empty for a bundled incident."""
        return parse_member_name(self.name)[1]

    @property
    def state(self) -> str:
        return self.incident.state if self.incident is not None else "resolved"

    @property
    def is_resolved(self) -> bool:
        return self.state == "resolved"

    @property
    def is_open(self) -> bool:
        """The incident is firing and unacknowledged."""
        return self.state == "open"


@dataclass(frozen=True)
class VersionedStorm:
    """A loaded storm with its members, and the version and join count for compare-and-set."""

    storm: Storm
    version: int
    joins: int  # how many joins were written
    members: Mapping[str, Member]

    @property
    def incident_ids(self) -> list[str]:
        """The ids of its incidents, sorted, without duplicates."""
        return sorted({parse_member_name(name)[0] for name in self.members})

    def list_members(self, heads: Mapping[str, Incident]) -> list[MemberState]:
        """Return every member with its incident from *heads*."""
        return [
            MemberState(name, member, heads.get(parse_member_name(name)[0]))
            for name, member in self.members.items()
        ]


@dataclass(frozen=True)
class JoinView:
    """A storm as loaded for a join, with its member count and the joining member's entry if it has one."""

    storm: Storm
    version: int
    member_count: int
    member: Member | None


@dataclass(frozen=True)
class StormSummary:
    """A storm's members in numbers; `names` are untrusted text from alerts."""

    total: int
    open: int
    acknowledged: int
    resolved: int
    severity: Severity  # the highest of the unresolved incidents, or of all
    severities: tuple[tuple[Severity, int], ...]
    names: tuple[tuple[str, int], ...]  # most frequent first
    acknowledged_by: tuple[tuple[str, int], ...]  # the person, and how many they acknowledged
    channels: tuple[str, ...]
    newest: tuple[Incident, ...]


def list_counted_members(states: Sequence[MemberState]) -> list[MemberState]:
    """Return the members that a storm's message counts: the bundled ones; where there are none, as in a
    fallback channel, the ones mentioned in its thread.
    """
    bundled = [one for one in states if not one.step]
    return bundled or list({one.incident_id: one for one in states}.values())


def summarize_storm(members: Iterable[MemberState]) -> StormSummary:
    """Return the summary of *members*."""
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
    """Return whether a step's *mention* that was sent (or failed for good) also covers *member*."""
    return mention.is_settled and int(mention.instance or 0) >= member.mention


def page_key(batch: int) -> DeliveryKey:
    """Return the key of a batch's page."""
    return DeliveryKey(f"page:{batch}")


def parse_batch(event_key: DeliveryKey) -> int:
    """Return the batch of a page, or of its acknowledgement or resolve."""
    return int(event_key.partition(":")[2])


def hint_key(batch: int) -> DeliveryKey:
    """Return the key of the hint from a webhook that a batch's page was resolved, but not by a person."""
    return DeliveryKey(f"hint:{batch}")


def mention_key(step: str) -> DeliveryKey:
    return DeliveryKey(f"step:{step}")


def page_delayed_step(step: str) -> str:
    """Return the step name used to mention members whose page for *step* PagerDuty has not accepted."""
    return f"{step}{_PAGE_DELAYED}"


def is_page_delayed(step: str) -> bool:
    return step.endswith(_PAGE_DELAYED)


def member_name(incident_id: str, step: str = "") -> str:
    """Return the name of a member: the incident id, and the step where the member is mentioned for one."""
    return f"{incident_id} {step}".rstrip()


def parse_member_name(name: str) -> tuple[str, str]:
    """Return the incident id and the step (or an empty text) of a member's name."""
    incident_id, _, step = name.partition(" ")
    return incident_id, step


def find_storm_of(deliveries: Mapping[DeliveryKey, Delivery]) -> str:
    """Return the id of the storm that bundles an incident with these *deliveries*, empty where none does."""
    keys = (MESSAGE, *sorted(key for key in deliveries if is_page_key(key)))
    return next((deliveries[key].storm for key in keys if key in deliveries and deliveries[key].storm), "")


def new_storm_id(target_key: str, began_at: float) -> str:
    """Return the id of a storm of *target_key*: `storm-` and base 32 digits that sort by *began_at*."""
    digest = hashlib.sha256(target_key.encode("utf-8", "replace")).digest()
    return STORM + to_base32(int(began_at * 1000), 9) + to_base32(int.from_bytes(digest[:4], "big") >> 2, 6)


def storm_dedup_key(storm_id: str, batch: int) -> str:
    """Return the PagerDuty dedup key of a batch's page."""
    return f"receiver-{storm_id}-{batch}"


def parse_storm_dedup_key(key: str) -> tuple[str, int] | None:
    """Return the storm id and the batch of a storm's dedup key, None for any other key."""
    match = re.fullmatch(r"receiver-(storm-[0-9a-z]{15})-([0-9]{1,6})", key, re.ASCII)
    return (match[1], int(match[2])) if match else None


@dataclass(frozen=True)
class BatchPage:
    """The page of one batch of a storm."""

    storm: Storm
    batch: int
    former_until: ClassVar[float] = 0.0  # no event belongs to an earlier page: each page has its own key

    @property
    def key(self) -> str:
        """Its PagerDuty dedup key."""
        return storm_dedup_key(self.storm.id, self.batch)

    @property
    def may_be_open(self) -> bool:
        """Return whether the page may have reached PagerDuty."""
        return self.storm.find_delivery(page_key(self.batch)).may_have_arrived

    @property
    def sent_at(self) -> float:
        return self.storm.find_delivery(page_key(self.batch)).first_attempt_at

    @property
    def response(self) -> StormResponse | None:
        """The latest response that covers the batch."""
        return next((one for one in reversed(self.storm.responses) if one.batch >= self.batch), None)


@dataclass(frozen=True)
class StormNotification(Notification):
    """The state of a storm at `now`, with everything needed to render a message or page about it.

    `summary` counts the members the action is about: all, those open in a page's batch, or all open.
    `without_message` counts, by alert name, what still fires without its own message after the storm ended.
    """

    storm: Storm
    summary: StormSummary
    now: float
    public_url: str = ""
    without_message: tuple[tuple[str, int], ...] = ()

    @property
    def subject(self) -> SubjectId:
        return SubjectId("storm", self.storm.id)

    @property
    def due_at(self) -> float | None:
        """When the members of its page were gathered."""
        return self.action.ready_at if isinstance(self.action, Page) else None

    def find_notice_title(self, after: Delivery) -> str:  # noqa: ARG002  # that of the base
        """Return the size and the ID: one notice stands for all members."""
        return f"a storm of {self.summary.total} incidents, {self.storm.id}"

"""The board: what is open, most urgent first, in parts of a hundred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from receiver.clock import format_duration
from receiver.domain.escalation import trace_progress
from receiver.domain.incident import Incident
from receiver.domain.policy import EscalationPolicy
from receiver.web.bodies import IncidentRow
from receiver.web.incident_json import delivery_keys
from receiver.web.policies import policy_finder
from receiver.web.rows import format_moment, render_row
from receiver.wiring import Parts

PART = 100


class BoardQuery(Struct, frozen=True):
    """Which of the open incidents to show; as it stands in the address."""

    state: Literal["", "unacknowledged", "acknowledged"] = ""
    severity: Literal["", "critical", "error", "warning", "info", "none"] = ""
    route: Annotated[str, Meta(max_length=300)] = ""
    text: Annotated[str, Meta(max_length=200)] = ""
    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1

    @property
    def is_narrow(self) -> bool:
        return bool(self.state or self.severity or self.route or self.text)

    def fits(self, incident: Incident) -> bool:
        return (
            self.state in ("", "acknowledged" if incident.is_acknowledged else "unacknowledged")
            and self.severity in ("", incident.severity)
            and self.route in ("", incident.route)
            and (not self.text or self.text.casefold() in _words_of(incident))
        )


@dataclass(frozen=True)
class Card:
    """One incident on the board. *why_none* says why no step is waited for."""

    row: IncidentRow
    state: str
    age: str
    marks: tuple[str, ...]
    next: str
    why_none: str


@dataclass(frozen=True)
class Board:
    """One part of what is open; *total* counts all that fit the question."""

    at: str
    total: int
    unacknowledged: int
    page: int
    pages: int
    cards: tuple[Card, ...]

    @property
    def title(self) -> str:
        return f"({self.unacknowledged}) {self.words}" if self.unacknowledged else self.words

    @property
    def words(self) -> str:
        if not self.total:
            return "Nothing open"
        said = f"{self.total} open"
        return f"{said}, {self.unacknowledged} of them nobody has" if self.unacknowledged else said


def build_board(parts: Parts, asked: BoardQuery) -> Board:
    """Return the part of the open incidents that is asked for. Raises StoreError."""
    now = parts.clock()
    found = sorted((one for one in parts.incidents.find_open() if asked.fits(one)), key=urgency)
    pages = max(1, -(-len(found) // PART))
    page = min(asked.page, pages)
    ids = [incident.id for incident in found[(page - 1) * PART : page * PART]]
    heads, find_policy = parts.incidents.read_heads(ids, delivery_keys(parts)), policy_finder(parts, now)
    return Board(
        at=format_moment(now),
        total=len(found),
        unacknowledged=sum(not incident.is_acknowledged for incident in found),
        page=page,
        pages=pages,
        cards=tuple(_card(heads[one], find_policy(heads[one]), now) for one in ids if one in heads),
    )


def urgency(incident: Incident) -> tuple[bool, bool, int, float]:
    """Return what orders incidents: what nobody has first, then the worse, then the older."""
    return (incident.is_acknowledged, incident.is_waiting, -incident.severity.rank, incident.opened_at)


def _card(incident: Incident, policy: EscalationPolicy, now: float) -> Card:
    row = render_row(incident, policy, now)
    step = trace_progress(incident, policy, now).next_step
    waits = step is not None and row.next_step_at is not None and not incident.is_waiting
    return Card(
        row=row,
        state=describe_state(incident),
        age=format_duration(max(0.0, now - incident.opened_at) // 1),
        marks=tuple(list_marks(incident, now)),
        next=step.step.responder.title if step is not None and waits else "",
        why_none=_why_none(incident),
    )


def describe_state(incident: Incident) -> str:
    """Return the state in words, with who has it."""
    if incident.is_resolved:
        return f"resolved by {incident.resolved_by}" if incident.resolved_by else "resolved"
    if not incident.is_acknowledged:
        return "open, nobody has it"
    done = "snoozed" if incident.snoozed_until else "acknowledged"
    return f"{done} by {incident.acknowledged_by}"


def list_marks(incident: Incident, now: float) -> list[str]:
    marks = []
    if incident.held is not None:
        marks.append(incident.held.reason)
    if incident.is_flapping:
        marks.append("flapping")
    if incident.is_stale(now):
        marks.append("stale: its sender is silent")
    return marks


def _why_none(incident: Incident) -> str:
    if not incident.policy:
        return "nobody is paged"
    if incident.is_acknowledged:
        return "steps stopped"
    if incident.is_waiting:
        return "steps wait"
    return "no further step"


def _words_of(incident: Incident) -> str:
    words = (incident.id, incident.alertname, incident.summary, incident.channel, incident.acknowledged_by)
    return " ".join((*words, *(f"{k}={v}" for k, v in incident.group_labels.items()))).casefold()

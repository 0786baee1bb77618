"""The board: what is open, most urgent first, in parts of a hundred."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from receiver.domain.escalation import EscalationState, evaluate_escalation
from receiver.domain.incident import Incident
from receiver.domain.policy import EscalationPolicy
from receiver.domain.severity import describe_unknown_severity
from receiver.web.bodies import IncidentRow, StepStatus
from receiver.web.incident_json import delivery_keys
from receiver.web.part import PartQuery, take_part
from receiver.web.policies import policy_finder
from receiver.web.rows import format_moment, name_state, render_row
from receiver.web.severity_troubles import find_severity_troubles
from receiver.web.troubles import Trouble
from receiver.wiring import Parts


class BoardQuery(PartQuery, frozen=True):
    """Which of the open incidents to show; as it stands in the address."""

    state: Literal["", "unacknowledged", "acknowledged", "stale"] = ""
    severity: Literal["", "critical", "error", "warning", "info", "none"] = ""
    route: Annotated[str, Meta(max_length=300)] = ""
    text: Annotated[str, Meta(max_length=200)] = ""

    @property
    def is_narrow(self) -> bool:
        return bool(self.state or self.severity or self.route or self.text)

    def fits(self, incident: Incident, now: float) -> bool:
        return (
            self._has_state(incident, now)
            and self.severity in ("", incident.severity)
            and self.route in ("", incident.route)
            and (not self.text or self.text.casefold() in _words_of(incident))
        )

    def _has_state(self, incident: Incident, now: float) -> bool:
        if self.state == "stale":
            return incident.is_stale(now)
        return self.state in ("", "acknowledged" if incident.is_acknowledged else "unacknowledged")


@dataclass(frozen=True)
class Card:
    """One incident on the board. *why_none* says why no step is waited for."""

    row: IncidentRow
    state: str
    marks: tuple[str, ...]
    next: str
    why_none: str


@dataclass(frozen=True)
class Board:
    """One part of some incidents; *total* counts all that fit the question."""

    at: str
    total: int
    page: int
    pages: int
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Counts:
    """How many incidents are open at all, whatever is asked for: no filter makes a night look quiet."""

    open: int
    unacknowledged: int
    stale: int
    alarms: tuple[Trouble, ...] = ()  # about the severities of what is open

    @property
    def title(self) -> str:
        return f"({self.unacknowledged}) {self.words}" if self.unacknowledged else self.words

    @property
    def words(self) -> str:
        if not self.open:
            return "Nothing open"
        said = f"{self.open} open"
        if not self.unacknowledged:
            return said
        if self.unacknowledged < self.open:
            return f"{said}, {self.unacknowledged} of them nobody has"
        return f"{said}, nobody has {'it' if self.open == 1 else 'them'}"


def build_board(parts: Parts, asked: BoardQuery) -> tuple[Board, Counts]:
    """Return the part of the open incidents that is asked for, and how many there are. Raises StoreError."""
    now, everything = parts.clock(), list(parts.incidents.list_open())
    counts = Counts(
        open=len(everything),
        unacknowledged=sum(not incident.is_acknowledged for incident in everything),
        stale=sum(incident.is_stale(now) for incident in everything),
        alarms=find_severity_troubles(parts, everything),
    )
    return lay_out(parts, [one for one in everything if asked.fits(one, now)], asked.page), counts


def lay_out(parts: Parts, incidents: Iterable[Incident], page: int) -> Board:
    """Return the part of *incidents* that a page shows, most urgent first. Raises StoreError."""
    now, found = parts.clock(), sorted(incidents, key=urgency)
    part = take_part(found, page)
    ids = [incident.id for incident in part.rows]
    heads, find_policy = parts.incidents.load_heads(ids, delivery_keys(parts)), policy_finder(parts, now)
    return Board(
        at=format_moment(now),
        total=len(found),
        page=part.page,
        pages=part.pages,
        cards=tuple(build_card(heads[one], find_policy(heads[one]), now) for one in ids if one in heads),
    )


def urgency(incident: Incident) -> tuple[bool, bool, bool, int, float]:
    """Return what orders incidents: what nobody has first, then the worse, then the older."""
    return (
        incident.is_resolved,
        incident.is_acknowledged,
        incident.is_paused,
        -incident.severity.rank,
        incident.opened_at,
    )


def build_card(incident: Incident, policy: EscalationPolicy, now: float) -> Card:
    """Return an incident as the board shows it."""
    row = render_row(incident, policy, now)
    escalation = evaluate_escalation(incident, policy, now)
    step = escalation.next_step
    waits = step is not None and row.next_step_at is not None and not incident.is_paused
    return Card(
        row=row,
        state=describe_state(incident),
        marks=tuple(list_marks(incident, now)),
        next=step.step.responder.title if step is not None and waits else "",
        why_none=_why_none(incident, escalation),
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
    if incident.suppression is not None:
        marks.append(incident.suppression.reason)
    if incident.is_flapping:
        marks.append("flapping")
    if incident.is_stale(now):
        marks.append("stale: its sender is silent")
    marks += [describe_unknown_severity(word) for word in incident.unknown_severities]
    return marks


def _why_none(incident: Incident, escalation: EscalationState) -> str:
    if incident.is_resolved:
        return "it is over"
    if not incident.policy:
        return "nobody is paged"
    if incident.is_acknowledged:
        return "nobody, it is taken"
    if incident.is_paused:
        return "waits while it is muted" if incident.is_suppressed else "waits while it is quiet"
    telling = [one.step.responder.title for one in escalation.steps if name_state(one) is StepStatus.TELLING]
    return f"{telling[0]}, being told now" if telling else "nobody further"


def _words_of(incident: Incident) -> str:
    words = (incident.id, incident.alertname, incident.summary, incident.channel, incident.acknowledged_by)
    return " ".join((*words, *(f"{k}={v}" for k, v in incident.group_labels.items()))).casefold()
